/**
 * `rowmill run`: a file in, the same file with new columns out. Owns the order in which things are opened, and closes
 * them. Nothing new works inside: the file is a source like any other, in an embedded database next to it.
 */
import { openProjectDatabase } from "../../../app/open/open-database.js";
import { openProject, type ProjectParts } from "../../../app/open/open-project.js";
import { openProviders } from "../../../app/open/providers.js";
import { FileReading } from "../../../app/run/file-reading.js";
import { runConfig, shapeFor, type RunFile } from "../../../app/run/run-config.js";
import { writeRecord } from "../../../app/run/run-folder.js";
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
import { titled } from "../../run/run-screen.js";
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
  const record = await completed(cli.terminal, draft);
  await requireFreeOut(draft, record, options.force === true);
  const theirs = record.pipeline === null ? null : await pipelineOf(record.pipeline, options);
  const shape = shapeFor(record, draft.look, theirs);
  const reading = new FileReading(record.file, shape);
  const limit = options.limit ?? null;
  const file: RunFile = {
    look: draft.look,
    identity: `${draft.identity} ${limit ?? ""}`,
    limit,
    onRecord: reading.onRecord,
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
  const terminal = titled(cli.terminal, record);
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
    const opened = await terminal.during("Opening the database", () =>
      openProjectDatabase(project.config, project.environment),
    );
    try {
      signal.throwIfAborted();
      await settleNewColumns(prepared, opened.database);
      await writeRecord(draft.folder, record);
      const log = openLog(terminal, options.logLevel);
      const context = await openProject({ ...project, providers, database: opened.database, log });
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
