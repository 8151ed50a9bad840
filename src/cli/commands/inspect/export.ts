/** `rowmill export`: the answered rows of a pipeline as a file. Needs no key, and only reads. */
import { dirname, resolve } from "node:path";
import { examineSource } from "../../../app/open/bind-pipeline.js";
import { stateFolder } from "../../../app/open/open-database.js";
import { exportAnswers } from "../../../app/export/export-answers.js";
import { requireNoSource } from "../../../app/export/require-no-source.js";
import { listRecords } from "../../../app/run/run-folder.js";
import { FILE_FORMATS } from "../../../files/file-types.js";
import { requireWritable } from "../../../files/whole-file.js";
import { exists } from "../../../model/file-errors.js";
import type { Cli, ProjectOptions } from "../../cli.js";
import { configOf, loadProject, notInConfig, registeredPipeline, withExistingLedger } from "../../project.js";
import { oneOf } from "../../run/run-options.js";
import { shownPath } from "../../run/shown-path.js";
import { EXIT_STATUS } from "../../screen/exit-status.js";
import { interruptible } from "../../screen/interruption.js";
import { counted, formatCount } from "../../screen/text.js";

export interface ExportOptions extends ProjectOptions {
  readonly out: string;
  readonly where?: string;
  readonly format?: string;
  readonly escape?: boolean;
  readonly json?: true;
}

export async function runExport({ terminal }: Cli, name: string, options: ExportOptions): Promise<number> {
  const project = await loadProject(terminal, options.config);
  const format = options.format === undefined ? undefined : oneOf(options.format, FILE_FORMATS, "--format");
  return interruptible(terminal, "Stopping: no file is written.", (signal) =>
    withExistingLedger(project, async ({ database }) => {
      const row = await registeredPipeline(database, name);
      const config = configOf(project, row.name);
      if (config === undefined) throw notInConfig(project, name);
      const out = resolve(options.out);
      await requireNoInput(out, dirname(project.config.file));
      requireNoSource(out, project.config, shownPath(out));
      const { rows, notes } = await exportAnswers({
        database,
        pipelineId: row.id,
        examined: await examineSource(database, config),
        where: options.where ?? null,
        out,
        format,
        escapeFormulas: options.escape !== false,
        scratch: stateFolder(project.config),
        signal,
        onPage: (written) => {
          if (terminal.drawsOver) terminal.live([`${name}: ${formatCount(written)} rows written`]);
        },
      }).finally(() => terminal.endLive());
      for (const note of notes) terminal.note(`! ${note}`);
      if (options.json) terminal.data(JSON.stringify({ pipeline: row.name, out, rows }));
      else terminal.print(`✓ Wrote ${shownPath(out)}: ${counted(rows, "answered row")} of ${name}`);
      return EXIT_STATUS.ok;
    }),
  );
}

/** @throws RowmillError `refused` where the output would replace a file that was run */
async function requireNoInput(out: string, folder: string): Promise<void> {
  for (const { file } of await listRecords(folder))
    if (await exists(file)) await requireWritable(out, { overwrite: true, input: file });
}
