/**
 * `rowmill try`: asks a few rows at the provider's live endpoint, now, or shows, compares and accepts earlier tries.
 * Registers no pipeline and installs no trigger, so it never disturbs a worker.
 */
import { TRY_ROWS_MAX } from "../../../app/try/choose-rows.js";
import { RowmillError } from "../../../model/errors.js";
import type { PipelineConfig } from "../../../model/pipeline.js";
import type { Cli, ProjectOptions } from "../../cli.js";
import { interruptible } from "../../screen/interruption.js";
import { configOf, loadProject, unknownPipeline, type Project } from "../../project.js";
import { acceptAnswers } from "../../try/accept.js";
import { askRows, type Wanted } from "../../try/ask-rows.js";
import { listTries, showComparison } from "../../try/history.js";

const ROWS_DEFAULT = 5;

export interface TryOptions extends ProjectOptions {
  readonly rows?: number;
  readonly where?: string;
  readonly key?: readonly string[];
  readonly random?: true;
  readonly model?: string;
  readonly promptFile?: string;
  /** True: the last one. */
  readonly accept?: number | true;
  readonly list?: true;
  readonly compare?: readonly number[];
  readonly yes?: true;
  readonly json?: true;
}

export async function runTry({ terminal }: Cli, name: string | undefined, options: TryOptions): Promise<number> {
  checkOptions(options);
  const project = await loadProject(terminal, options.config);
  const json = options.json === true;
  if (options.list) return listTries(project, name === undefined ? null : pipelineOf(project, name).name, json);
  const [first, second] = options.compare ?? [];
  if (first !== undefined && second !== undefined) return showComparison(project, [first, second], json);
  const config = pipelineOf(project, name);
  const confirmation = "Stopping after the calls that are on their way: they are paid for, so their answers are kept.";
  return interruptible(terminal, confirmation, (signal) => {
    const { accept } = options;
    if (accept === undefined) return askRows(project, config, wantedOf(options, signal));
    return acceptAnswers(project, config, { no: accept === true ? null : accept, json, signal });
  });
}

function wantedOf(options: TryOptions, signal: AbortSignal): Wanted {
  const { rows = ROWS_DEFAULT, key = [], where = null, random, model = null, promptFile = null } = options;
  return {
    choice: { rows, keys: key, where, random: random === true },
    model,
    promptFile,
    yes: options.yes === true,
    json: options.json === true,
    signal,
  };
}

function checkOptions({ rows, key = [], compare }: TryOptions): void {
  const count = rows ?? key.length;
  if (count > TRY_ROWS_MAX)
    throw new RowmillError("usage", `A try has at most ${TRY_ROWS_MAX} rows, but ${count} were asked for.`, {
      hints: ["To send all rows, at half the price: rowmill up"],
    });
  if (compare !== undefined && compare.length !== 2)
    throw new RowmillError("usage", `--compare: expected the numbers of two tries, found ${compare.length}.`, {
      hints: ["For example: rowmill try --compare 1 2"],
    });
}

/** Without a name: the only one. */
function pipelineOf(project: Project, name: string | undefined): PipelineConfig {
  const { pipelines } = project.config;
  const names = pipelines.map((pipeline) => pipeline.name);
  const [only] = pipelines;
  if (name === undefined && pipelines.length === 1 && only !== undefined) return only;
  if (name === undefined)
    throw new RowmillError("usage", "The config has several pipelines: name the one to try.", {
      hints: [`There are: ${names.join(", ")}.`],
    });
  const found = configOf(project, name);
  if (found === undefined) throw unknownPipeline(name, names, "the config");
  return found;
}
