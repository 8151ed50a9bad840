/**
 * `rowmill adopt`: sets the pipeline up as `up` would, without sending anything, shows which rows the batch of other code is about,
 * asks, and gives the batch to the pipeline. A worker collects it.
 */
import { adoptBatch, prepareAdoption, type Adoption } from "../../app/adopt/adopt-batch.js";
import { openForAdoption, type OpenedForAdoption } from "../../app/adopt/adopt-project.js";
import { openProjectDatabase } from "../../app/open/open-database.js";
import { sweepAll } from "../../app/open/round.js";
import { RowmillError } from "../../model/errors.js";
import { nearMatch } from "../../model/words/near-match.js";
import type { PipelineConfig } from "../../model/pipeline.js";
import { adoptedJson, describeAdopted, describeAdoption } from "../words/adopt-text.js";
import { askYesNo } from "../screen/ask.js";
import type { Cli, ProjectOptions } from "../cli.js";
import { openLog } from "../screen/command-log.js";
import { EXIT_STATUS } from "../screen/exit-status.js";
import { listenForInterruption } from "../screen/interruption.js";
import { configOf, loadProject, type Project } from "../project.js";
import { SweepProgress } from "../screen/sweep-progress.js";

export interface AdoptOptions extends ProjectOptions {
  readonly pipeline: string;
  readonly customId: string;
  readonly yes?: true;
  readonly json?: true;
}

export async function runAdopt(cli: Cli, batchId: string, options: AdoptOptions): Promise<number> {
  const project = await loadProject(cli.terminal, options.config);
  const config = configOf(project, options.pipeline);
  if (config === undefined) throw unknownPipeline(project, options.pipeline);
  if (options.yes !== true && !cli.terminal.interactive) throw nobodyToAsk();
  const interruption = listenForInterruption(() => cli.terminal.note("Stopping: nothing is adopted."));
  const opened = await openProjectDatabase(project.config, project.environment);
  try {
    const parts = { ...project, database: opened.database, log: openLog(cli.terminal, options.logLevel) };
    const adopting = await openForAdoption(parts, config);
    try {
      return await adopt(cli, adopting, { ...options, batchId, config, signal: interruption.signal });
    } finally {
      adopting.context.leases.stop();
    }
  } finally {
    await opened.close();
    interruption.dispose();
  }
}

interface Wanted extends Omit<AdoptOptions, "config"> {
  readonly batchId: string;
  readonly config: PipelineConfig;
  readonly signal: AbortSignal;
}

async function adopt(cli: Cli, { context, worker }: OpenedForAdoption, wanted: Wanted): Promise<number> {
  const { terminal } = cli;
  const { signal, config } = wanted;
  const [pipeline] = context.pipelines.values();
  if (pipeline === undefined) throw new Error(`The pipeline ${config.name} was not opened.`);
  const progress = new SweepProgress(terminal);
  await sweepAll(context, signal, progress.onChunk);
  progress.end();
  const adoption = await prepareAdoption(context, pipeline, {
    batchId: wanted.batchId,
    pattern: wanted.customId,
    signal,
  });
  for (const line of describeAdoption(adoption, config)) terminal.note(line);
  if (wanted.yes !== true && !(await askToAdopt(adoption, signal))) {
    terminal.note("Nothing was adopted.");
    return EXIT_STATUS.blocked;
  }
  signal.throwIfAborted();
  const adopted = await adoptBatch(context, pipeline, adoption);
  if (wanted.json) terminal.print(JSON.stringify(adoptedJson(adoption, adopted, config)));
  else for (const line of describeAdopted(adopted, { adoption, config, worker })) terminal.print(line);
  return EXIT_STATUS.ok;
}

function askToAdopt({ batch, expected }: Adoption, signal: AbortSignal): Promise<boolean> {
  const rows = expected.adopted === 1 ? "this row" : "these rows";
  return askYesNo(`Take the answers of ${batch.id} for ${rows}?`, signal);
}

function nobodyToAsk(): RowmillError {
  return new RowmillError("refused", "There is no terminal to ask on.", {
    hints: ["To adopt without a question: add --yes", "Nothing was adopted."],
  });
}

function unknownPipeline(project: Project, name: string): RowmillError {
  const known = project.config.pipelines.map((pipeline) => pipeline.name);
  const near = nearMatch(name, known);
  const meant = near === null ? "." : `; did you mean "${near}"?`;
  return new RowmillError("not_found", `There is no pipeline "${name}" in ${project.config.file}${meant}`, {
    hints: [`There are: ${known.join(", ")}.`],
  });
}
