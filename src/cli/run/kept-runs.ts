/** `rowmill run --list` and `--forget`: which files were run with the state of a folder, and how their state goes. */
import { realpath, rm } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { hasDatabase, openProjectDatabase, stateFolder } from "../../app/open/open-database.js";
import { forgetRun } from "../../app/run/forget-run.js";
import { configFileOf, folderFor, listRecords, removeRecord, type RunRecord } from "../../app/run/run-folder.js";
import { readEnvironment } from "../../config/load/environment.js";
import { RowmillError } from "../../model/errors.js";
import type { ProjectConfig } from "../../model/pipeline.js";
import * as uninstallation from "../../store/ledger/uninstallation.js";
import * as overview from "../../store/ledger/overview.js";
import type { PipelineOverview } from "../../store/ledger/overview.js";
import type { Database } from "../../postgres/database.js";
import type { Cli } from "../cli.js";
import { askYesNo, noTerminal } from "../screen/ask.js";
import { EXIT_STATUS } from "../screen/exit-status.js";
import { counted, formatCount, formatTime } from "../screen/text.js";
import { lockRuns } from "./run-lock.js";
import type { RunOptions } from "./run-options.js";
import { shownPath } from "./shown-path.js";

/** Of a file with many lines, beside others. */
const FORGET_MS_MAX = 3_600_000;

function projectIn(folder: string): ProjectConfig {
  return { file: configFileOf(folder), database: { kind: "embedded" }, http: null, pipelines: [] };
}

/** Null: there is no database yet. */
async function withDatabase<T>(folder: string, work: (database: Database) => Promise<T>): Promise<T | null> {
  const config = projectIn(folder);
  if (!(await hasDatabase(config))) return null;
  const opened = await openProjectDatabase(config, readEnvironment(process.env));
  try {
    return (await overview.ledgerExists(opened.database)) ? await work(opened.database) : null;
  } finally {
    await opened.close();
  }
}

export async function listRuns({ terminal }: Cli, options: RunOptions): Promise<number> {
  const folder = folderFor(null, options.global === true);
  const records = await listRecords(folder);
  const rows = (records.length === 0 ? null : await withDatabase(folder, overview.pipelineOverviews)) ?? [];
  const found = records.map((record) => ({ record, row: rows.find(({ name }) => name === record.name) ?? null }));
  if (options.json)
    terminal.data(JSON.stringify({ runs: found.map(({ record, row }) => ({ ...record, ...countsOf(row) })) }));
  else for (const { record, row } of found) for (const line of runLines(record, row)) terminal.print(line);
  if (records.length === 0) terminal.note(`No file was run with the state in ${join(folder, ".rowmill")}.`);
  return EXIT_STATUS.ok;
}

function countsOf(row: PipelineOverview | null) {
  const { waiting = 0, batched = 0, succeeded = 0, failed = 0 } = row ?? {};
  return { waiting, batched, succeeded, failed };
}

function runLines(record: RunRecord, row: PipelineOverview | null): string[] {
  const { waiting, batched, succeeded, failed } = countsOf(row);
  const open = waiting + batched === 0 ? "" : `, ${formatCount(waiting + batched)} not answered yet`;
  const label = record.label === null ? "" : ` (${record.label})`;
  return [
    `${shownPath(record.file)}${label}: ${formatCount(succeeded)} answered, ${formatCount(failed)} failed${open}`,
    `  output ${record.out === "-" ? "stdout" : shownPath(record.out)}, last run at ${formatTime(new Date(record.at))}`,
  ];
}

/** Without a file: of all files. */
export async function forgetRuns(cli: Cli, file: string | undefined, options: RunOptions): Promise<number> {
  const path = file === undefined ? null : await realpath(file).catch(() => resolve(file));
  const folder = folderFor(path, options.global === true);
  const all = await listRecords(folder);
  const meant = path === null ? all : recordsOf(all, path, file ?? "");
  const isOne = file !== undefined;
  if (meant.length === 0)
    throw new RowmillError(
      "not_found",
      `${file ?? "No file"} was ${isOne ? "never " : ""}run with the state in ${join(folder, ".rowmill")}.`,
      {
        hints: ["Files that were run here: rowmill run --list"],
      },
    );
  const release = await lockRuns(projectIn(folder), folder, "rowmill run --forget");
  try {
    return await forget(cli, { folder, all, meant, options });
  } finally {
    release();
  }
}

/** By its path; by its name alone only where one file has it. @throws RowmillError `usage` */
function recordsOf(all: readonly RunRecord[], path: string, given: string): readonly RunRecord[] {
  const exact = all.filter((record) => record.file === path);
  if (exact.length > 0) return exact;
  const named = all.filter((record) => basename(record.file) === given);
  const files = [...new Set(named.map((record) => shownPath(record.file)))].toSorted();
  if (files.length <= 1) return named;
  throw new RowmillError("usage", `${files.length} files are called ${given}: ${files.join(", ")}.`, {
    hints: ["Name one with its folder."],
  });
}

interface Forgetting {
  readonly folder: string;
  readonly all: readonly RunRecord[];
  readonly meant: readonly RunRecord[];
  readonly options: RunOptions;
}

async function forget({ terminal }: Cli, { folder, all, meant, options }: Forgetting): Promise<number> {
  const names = meant.map(({ name }) => name);
  await withDatabase(folder, (database) => requireSettled(database, names));
  const files = [...new Set(meant.map((record) => shownPath(record.file)))].join(", ");
  const question = `Forget ${files}? Its next run pays for all lines again. Files and outputs stay.`;
  if (options.yes !== true) {
    if (!terminal.interactive) throw noTerminal("nothing was forgotten", "To forget without a question: add --yes");
    if (!(await askYesNo(question))) return EXIT_STATUS.blocked;
  }
  const isShared =
    (await withDatabase(folder, overview.pipelineOverviews))?.some(({ name }) => !names.includes(name)) === true;
  const isAlone = !isShared && meant.length === all.length;
  if (isAlone) await dropDatabase(folder);
  else
    await withDatabase(folder, async (database) => {
      for (const name of names) await forgetRun(database, name, AbortSignal.timeout(FORGET_MS_MAX));
    });
  for (const name of names) await removeRecord(folder, name);
  await removePiped(folder, meant);
  terminal.print(`✓ Forgot ${counted(meant.length, "run")} of ${files}.`);
  return EXIT_STATUS.ok;
}

/** @throws RowmillError `refused` while paid answers are on their way */
async function requireSettled(database: Database, names: readonly string[]): Promise<void> {
  const batches = await uninstallation.countInFlightBatches(database, names);
  if (batches === 0) return;
  throw new RowmillError(
    "refused",
    `Nothing was forgotten, because paid answers would be lost: ${counted(batches, "batch")} in flight.`,
    {
      hints: ["Fetch them first: run the file again, with the same command."],
    },
  );
}

/** Copies of what came through a pipe that no run needs any more. */
async function removePiped(folder: string, forgotten: readonly RunRecord[]): Promise<void> {
  const kept = new Set((await listRecords(folder)).map(({ file }) => file));
  const piped = join(stateFolder(projectIn(folder)), "piped");
  for (const { file } of forgotten) if (dirname(file) === piped && !kept.has(file)) await rm(file, { force: true });
}

/** Of a folder in which nothing else has the database. */
async function dropDatabase(folder: string): Promise<void> {
  const { stopEmbedded } = await import("../../embedded/embedded.js");
  const state = stateFolder(projectIn(folder));
  await stopEmbedded({ dataDir: join(state, "database") });
  for (const name of ["database", "spool", "piped"]) await rm(join(state, name), { recursive: true, force: true });
}
