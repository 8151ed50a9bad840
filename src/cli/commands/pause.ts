/** `rowmill pause`: nothing more is sent until a person resumes it. What is paid for is collected all the same. */
import type { Database } from "../../postgres/database.js";
import * as pipelines from "../../store/pipelines/pipelines.js";
import type { PipelineRow } from "../../store/pipelines/pipelines.js";
import type { Cli, ProjectOptions } from "../cli.js";
import { EXIT_STATUS } from "../screen/exit-status.js";
import { loadProject, registeredPipeline, withExistingLedger } from "../project.js";

const REASON_DEFAULT = "paused by a person";

export interface PauseOptions extends ProjectOptions {
  readonly reason?: string;
}

export async function runPause(cli: Cli, name: string, options: PauseOptions): Promise<number> {
  const project = await loadProject(cli.terminal, options.config);
  return withExistingLedger(project, async ({ database }) => {
    const row = await registeredPipeline(database, name);
    const before = await pauseByPerson(database, row, options.reason ?? REASON_DEFAULT);
    if (before?.pauseKind === "person") {
      cli.terminal.print(`${name} was paused already: ${before.pauseReason}`);
      return EXIT_STATUS.ok;
    }
    cli.terminal.print(`${name} is paused. To go on: rowmill resume ${name}`);
    if (before !== null)
      cli.terminal.note(
        `It was held back before, and will be again if that still holds: ${before.pauseReason}`,
      );
    return EXIT_STATUS.ok;
  });
}

/** A person's word goes before a pause of ours, which may end by itself. Returns the former pause, or null. */
async function pauseByPerson(
  database: Database,
  row: PipelineRow,
  reason: string,
): Promise<PipelineRow | null> {
  return database.transaction(async (tx) => {
    const now = await pipelines.lock(tx, row.id);
    if (now?.pauseKind === "person") return now;
    await pipelines.resume(tx, row.id);
    await pipelines.pause(tx, row.id, { kind: "person", reason });
    return now === null || now.pauseKind === null ? null : now;
  });
}
