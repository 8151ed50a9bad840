/**
 * `rowmill adopt`: sets the pipeline up as `up` would, without sending anything, shows which rows a batch of your own
 * code is about, asks, and gives the batch to the pipeline. A worker collects it.
 */
import {
  adoptBatch,
  openForAdoption,
  prepareAdoption,
  type Adopted,
  type Adoption,
  type OpenedForAdoption,
} from "../../../app/adopt/adopt-batch.js";
import { openProjectDatabase } from "../../../app/open/open-database.js";
import { sweepAll } from "../../../app/open/round.js";
import type { Json, PipelineConfig } from "../../../model/pipeline.js";
import { askYesNo, noTerminal } from "../../screen/ask.js";
import type { Cli, ProjectOptions } from "../../cli.js";
import { openLog } from "../../screen/command-log.js";
import { EXIT_STATUS } from "../../screen/exit-status.js";
import { interruptible } from "../../screen/interruption.js";
import { configOf, loadProject, unknownPipeline } from "../../project.js";
import { SweepProgress } from "../../screen/live/progress.js";
import { counted, fit, formatCount } from "../../screen/text.js";

const NAME_CHARACTERS = 80;

export interface AdoptOptions extends ProjectOptions {
  readonly pipeline: string;
  readonly customId: string;
  readonly yes?: true;
  readonly json?: true;
}

export async function runAdopt(cli: Cli, batchId: string, options: AdoptOptions): Promise<number> {
  const project = await loadProject(cli.terminal, options.config);
  const config = configOf(project, options.pipeline);
  if (config === undefined) {
    const known = project.config.pipelines.map(({ name }) => name);
    throw unknownPipeline(options.pipeline, known, project.config.file);
  }
  if (options.yes !== true && !cli.terminal.interactive)
    throw noTerminal("nothing was adopted", "To adopt without a question: add --yes");
  return interruptible(cli.terminal, "Stopping. Nothing is adopted.", async (signal) => {
    const opened = await openProjectDatabase(project.config, project.environment);
    try {
      const parts = { ...project, database: opened.database, log: openLog(cli.terminal, options.logLevel) };
      const adopting = await openForAdoption(parts, config);
      try {
        return await adopt(cli, adopting, { ...options, batchId, config, signal });
      } finally {
        adopting.context.leases.stop();
      }
    } finally {
      await opened.close();
    }
  });
}

interface Wanted extends Omit<AdoptOptions, "config"> {
  readonly batchId: string;
  readonly config: PipelineConfig;
  readonly signal: AbortSignal;
}

async function adopt(cli: Cli, { context, worker }: OpenedForAdoption, wanted: Wanted): Promise<number> {
  const { terminal } = cli;
  const { signal, config, batchId, customId: pattern } = wanted;
  const [pipeline] = context.pipelines.values();
  if (pipeline === undefined) throw new Error(`The pipeline ${config.name} was not opened.`);
  const progress = new SweepProgress(terminal);
  await sweepAll(context, signal, progress.onChunk);
  progress.end();
  const adoption = await terminal.during(`Reading ${batchId}`, () =>
    prepareAdoption(context, pipeline, { batchId, pattern, signal }),
  );
  for (const line of describeAdoption(adoption, config)) terminal.note(line);
  if (wanted.yes !== true && !(await askToAdopt(adoption, signal))) {
    terminal.note("Nothing was adopted.");
    return EXIT_STATUS.blocked;
  }
  signal.throwIfAborted();
  const adopted = await adoptBatch(context, pipeline, adoption);
  if (wanted.json) terminal.data(JSON.stringify(adoptedJson(adoption, adopted, config)));
  else for (const line of describeAdopted(adopted, { adoption, config, worker })) terminal.print(line);
  return EXIT_STATUS.ok;
}

function askToAdopt({ batch, expected }: Adoption, signal: AbortSignal): Promise<boolean> {
  const rows = expected.adopted === 1 ? "this row" : "these rows";
  return askYesNo(`Use the answers of ${batch.id} for ${rows}?`, signal);
}

function describeAdoption({ batch, lines, expected }: Adoption, config: PipelineConfig): string[] {
  const { source, request } = config;
  const others = lines.models.filter((model) => model !== request.model);
  const example = lines.unreadableExample;
  const such = example === null ? "" : `, such as "${fit(example, NAME_CHARACTERS)}"`;
  const rows: readonly (readonly [number, string])[] = [
    [expected.adopted, "waiting for an answer: adopted"],
    [expected.ended, "already answered, failed or excluded: left alone"],
    [expected.inFlight, "in another batch: left alone"],
    [expected.noRow, `not in ${source.table}`],
    [lines.repeated, "duplicates of an earlier line"],
    [lines.unreadable, `with a name that does not match the pattern${such}`],
  ];
  const shown = rows.filter(([count]) => count > 0);
  const width = Math.max(...shown.map(([count]) => formatCount(count).length));
  const note =
    `! The batch asked ${others.join(", ")}, but the config says ${request.model}. ` +
    `Costs are counted at the price of ${request.model}.`;
  return [
    `${batch.id} is ${batch.statusText}: ${counted(lines.lines, "line")} for ${config.name}`,
    ...shown.map(([count, what]) => `  ${formatCount(count).padStart(width)} ${what}`),
    ...(others.length === 0 ? [] : [note]),
  ];
}

function describeAdopted(
  { adopted }: Adopted,
  of: { adoption: Adoption; config: PipelineConfig; worker: OpenedForAdoption["worker"] },
): string[] {
  const { adoption, config, worker } = of;
  const rows = `${counted(adopted, "row")} of ${adoption.batch.id}`;
  const done = `✓ ${config.name}: adopted ${rows}. Nothing was sent or paid again.`;
  if (worker === null) return [done, "Next, to collect the answers and send only what is left: rowmill up"];
  return [
    done,
    `If ${config.name} is in the config of the running worker (process ${worker.pid} on ${worker.host}), ` +
      "it collects the answers. See its progress: rowmill status",
    "If not: rowmill up",
  ];
}

function adoptedJson({ batch, lines }: Adoption, adopted: Adopted, config: PipelineConfig): Json {
  return {
    pipeline: config.name,
    batch: adopted.batchId,
    providerBatchId: batch.id,
    status: batch.statusText,
    lines: lines.lines,
    adopted: adopted.adopted,
    ended: adopted.ended,
    inFlight: adopted.inFlight,
    noRow: adopted.noRow,
    repeated: lines.repeated,
    unreadable: lines.unreadable,
  };
}
