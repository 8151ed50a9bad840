/**
 * `rowmill run`: a file in, the same file with new columns out. Owns the order in which things are opened, and closes
 * them. Nothing new works inside: the file is a source like any other, in an embedded database next to it.
 */
import { hasDatabase, openProjectDatabase } from "../../../app/open/open-database.js";
import { openProject, type ProjectParts } from "../../../app/open/open-project.js";
import { openProviders } from "../../../app/open/providers.js";
import { FileReading } from "../../../app/run/file-reading.js";
import { runConfig, shapeFor, type RunFile } from "../../../app/run/run-config.js";
import { withoutQuestion, writeRecord } from "../../../app/run/run-folder.js";
import { completeFromDotenv } from "../../../config/load/dotenv.js";
import { readEnvironment } from "../../../config/load/environment.js";
import { loadConfig } from "../../../config/load/load.js";
import { RowmillError } from "../../../model/errors.js";
import type { PipelineConfig } from "../../../model/pipeline.js";
import { ADAPTERS } from "../../../providers/adapters.js";
import type { Cli } from "../../cli.js";
import { hideVariables, unknownPipeline, type Project } from "../../project.js";
import { settleNewColumns } from "../../run/new-columns.js";
import { forgetRuns, listRuns } from "../../run/kept-runs.js";
import { runFile, type FileRun } from "../../run/run-file.js";
import { lockRuns } from "../../run/run-lock.js";
import { draftOf, type Draft, type RunOptions } from "../../run/run-options.js";
import { requireFreeOut } from "../../run/run-output.js";
import { completed } from "../../run/run-questions.js";
import { keepHeapSmall } from "../../run/small-heap.js";
import { runWords } from "../../run/run-words.js";
import { writePartial } from "../../run/write-partial.js";
import { openLog } from "../../screen/command-log.js";
import { interruptible } from "../../screen/interruption.js";

/** A server on this machine answers in seconds. */
const LOCAL = /^http:\/\/(?:localhost|127\.\d+\.\d+\.\d+|\[::1\])(?:[:/]|$)/;
const LOCAL_POLLING = { min: "200ms", max: "2s" } as const;

export async function runRun(cli: Cli, file: string | undefined, options: RunOptions): Promise<number> {
  if (options.list) return listRuns(cli, options);
  if (options.forget) return forgetRuns(cli, file, options);
  if (file === undefined)
    throw new RowmillError("usage", "Name the file to run.", {
      hints: ["For example: rowmill run films.csv", "Files that were run here: rowmill run --list"],
    });
  keepHeapSmall();
  hideVariables(cli.terminal);
  await completeFromDotenv(process.env, process.cwd());
  hideVariables(cli.terminal);
  const confirmation = "Stopping after the current steps. The same command continues where it stops.";
  return interruptible(cli.terminal, confirmation, async (signal) => {
    const draft = await draftOf(file, options, signal);
    const prepared = await prepare(cli, { draft, options, signal });
    return options.partial ? writePartial(prepared) : runLocked(cli, prepared);
  });
}

/** A run before its database is opened. */
export type PreparedRun = Omit<FileRun, "context" | "pipeline" | "log"> & {
  readonly config: PipelineConfig;
  readonly providers: NonNullable<ProjectParts["providers"]>;
};

async function prepare(
  cli: Cli,
  { draft, options, signal }: { readonly draft: Draft; readonly options: RunOptions; readonly signal: AbortSignal },
): Promise<PreparedRun> {
  const { terminal } = cli;
  terminal.words = runWords([draft.record], options.global === true);
  const complete = await completed(terminal, draft);
  await requireFreeOut(draft, complete, options.force === true);
  const theirs = complete.pipeline === null ? null : await pipelineOf(complete.pipeline, options);
  const shape = shapeFor(complete, draft.look, theirs);
  const record = { ...complete, reads: shape.columns };
  const reading = new FileReading(record.file, shape);
  const limit = options.limit ?? null;
  const file: RunFile = {
    look: draft.look,
    identity: `${draft.identity} ${limit ?? ""}`,
    limit,
    reading,
  };
  const environment = readEnvironment(process.env);
  const account = (theirs?.provider ?? ADAPTERS[0].choice).account(environment.provider);
  const { config, pipeline } = runConfig(draft.folder, record, file, {
    theirs,
    shape,
    ...(LOCAL.test(account) ? { polling: LOCAL_POLLING } : {}),
    // At a terminal each cost is asked about; elsewhere, as for `up`, only one above the default.
    ...(cli.terminal.interactive && options.yes !== true ? { approveAboveUsd: 0 } : {}),
  });
  const project: Project = { config, environment, terminal };
  // First: what is missing here is known without a database.
  const providers = await openProviders(project);
  return { project, terminal, draft, record, shape, reading, options, signal, config: pipeline, providers };
}

async function pipelineOf(name: string, { config: file }: RunOptions): Promise<PipelineConfig> {
  const loaded = await loadConfig({ ...(file === undefined ? {} : { file }), cwd: process.cwd(), env: process.env });
  const found = loaded.pipelines.find((pipeline) => pipeline.name === name);
  if (found !== undefined) return found;
  const known = loaded.pipelines.map((pipeline) => pipeline.name);
  throw unknownPipeline(name, known, loaded.file);
}

async function runLocked(cli: Cli, prepared: PreparedRun): Promise<number> {
  const { project, draft, record, options, providers, signal, terminal } = prepared;
  const release = await lockRuns(project.config, draft.folder, "rowmill run");
  try {
    signal.throwIfAborted();
    const isFirst = !(await hasDatabase(project.config));
    const opening = isFirst ? "Making the database, which only the first run here does" : "Opening the database";
    const opened = await terminal.during(opening, () => openProjectDatabase(project.config, project.environment));
    try {
      signal.throwIfAborted();
      await settleNewColumns(prepared, opened.database);
      // The question is remembered once it is agreed to.
      if (draft.before === null) await writeRecord(draft.folder, withoutQuestion(record));
      const log = openLog(terminal, options.logLevel);
      const parts = { ...project, providers, database: opened.database, log };
      const context = await terminal.during("Setting up the tables", () => openProject(parts));
      const [pipeline] = context.pipelines.values();
      if (pipeline === undefined) throw new RowmillError("internal", "The run has no pipeline.");
      try {
        return await runFile(cli, { ...prepared, context, pipeline, log });
      } finally {
        terminal.endLive();
        context.leases.stop();
      }
    } finally {
      await opened.close();
    }
  } finally {
    release();
  }
}
