/**
 * Delivers answers into a file. A write makes one part next to it, which is on the disk before it is confirmed. When
 * nothing waits, the parts are merged, and the file is replaced as a whole. A crash at any point leaves the file as it
 * was, or as it will be; the next worker continues from what is in the folder.
 */
import { access, constants, lstat, stat } from "node:fs/promises";
import { basename, dirname } from "node:path";
import { hasCode, nullIfGone } from "../../../model/file-errors.js";
import {
  ConnectorError,
  type Change,
  type DeliveryOptions,
  type PrepareOptions,
  type SettleOptions,
  type TargetConnector,
  type Written,
} from "../../../model/connector.js";
import { RowmillError } from "../../../model/errors.js";
import { counted } from "../../../model/words/counted.js";
import { formatByName } from "../../../files/look-at-file.js";
import type { FileFormat } from "../../../files/file-types.js";
import { whyRefused } from "./cell-check.js";
import { again, explained } from "./file-failure.js";
import { KnownFences } from "./known-fences.js";
import { partLine, type PartLine } from "./part-line.js";
import { baseName, PartsFolder } from "./parts-folder.js";
import { isPublished, publish, type Shape } from "./publish.js";

export interface WantedFile {
  /** Absolute. */
  readonly path: string;
  readonly format: FileFormat | undefined;
  readonly escapeFormulas: boolean;
}

const KEY_DEFAULT = [{ name: "key", type: "text" }];
/** Other workers may change the folder at each step. */
const TRIES_MAX = 20;

export type OpenFileTarget = Required<Pick<TargetConnector, "prepare" | "write" | "settle">>;

export function openFileTarget(wanted: WantedFile): OpenFileTarget {
  const folder = new PartsFolder(wanted.path);
  const state: State = { folder, known: new KnownFences(), read: new Set(), ready: null };
  const guarded = async <T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> => {
    try {
      signal.throwIfAborted();
      return await work();
    } catch (error) {
      if (signal.aborted) throw again(`The writing of ${wanted.path} was stopped.`, error);
      state.ready = null;
      throw explained(wanted.path, error);
    }
  };
  return {
    prepare: (of) => guarded(of.signal, () => prepare(state, wanted, of)),
    write: (changes, options) => guarded(options.signal, () => write(state, changes, options)),
    settle: (options) => guarded(options.signal, () => settle(state, options)),
  };
}

interface State {
  readonly folder: PartsFolder;
  readonly known: KnownFences;
  /** Parts and bases whose fences are known. */
  read: ReadonlySet<string>;
  /** Null: not prepared. */
  ready: { readonly pipeline: string; readonly shape: Shape } | null;
}

async function prepare(state: State, wanted: WantedFile, of: PrepareOptions): Promise<void> {
  const { pipeline, delivered = 0, signal } = of;
  const shape = shapeOf(wanted, of);
  await requireFolder(wanted.path);
  const owner = await ownerOf(state.folder, wanted.path, signal);
  if (owner === null) await state.folder.begin(headOf(pipeline));
  else refuseOwner(state.folder, { path: wanted.path, owner, pipeline });
  await learn(state, signal);
  if (state.known.count < delivered) throw incomplete(wanted.path, { pipeline, delivered, held: state.known.count });
  state.ready = { pipeline, shape };
}

/** Another path, or someone removed the parts: without the others, the file would look complete. */
function incomplete(
  path: string,
  { pipeline, delivered, held }: { readonly pipeline: string; readonly delivered: number; readonly held: number },
): ConnectorError {
  return new ConnectorError("stop", `${path} has ${held} of the ${counted(delivered, "answer")} that were delivered.`, {
    hints: [`Deliver all of them to it, at no cost: rowmill deliver ${pipeline} --replay --all.`],
  });
}

/** @throws ConnectorError if it cannot be written as it is wanted */
export function shapeOf(
  wanted: WantedFile,
  { fields, key = KEY_DEFAULT }: Pick<PrepareOptions, "fields" | "key">,
): Shape {
  const { path, escapeFormulas } = wanted;
  if (/[*?]/.test(basename(path)))
    throw new ConnectorError("stop", `${path} is a pattern. Name one file for the answers.`);
  const format = wanted.format ?? formatByName(path);
  if (format === null)
    throw new ConnectorError("stop", `The name of ${path} does not say its format.`, {
      hints: ["End it in .jsonl, .csv, .tsv or .parquet, each also with .gz, or set `format`."],
    });
  const clash = fields.find(({ field }) => key.some(({ name }) => name === field));
  if (clash !== undefined)
    throw new ConnectorError(
      "stop",
      `The answer's "${clash.field}" is also a key column of ${path}. Rename one of them.`,
    );
  return { path, format, gzip: /\.gz$/i.test(path), key, fields, escapeFormulas };
}

/** @throws ConnectorError */
export async function requireFolder(path: string): Promise<void> {
  const found = await stat(dirname(path));
  if (!found.isDirectory()) throw again(`Answers cannot be written to ${path}: ${dirname(path)} is no folder.`);
  await access(dirname(path), constants.W_OK | constants.X_OK);
  const there = await stat(path).catch(nullIfGone);
  if (there?.isDirectory() === true)
    throw again(`Answers cannot be written to ${path}: a folder has its name. Move that away.`);
}

const HEAD = "rowmill";

function headOf(pipeline: string): string {
  return JSON.stringify({ [HEAD]: "answers", pipeline });
}

/** The pipeline that writes this file. Null: none does yet. @throws ConnectorError if the file is not Rowmill's */
export async function ownerOf(folder: PartsFolder, path: string, signal: AbortSignal): Promise<string | null> {
  const { generation } = await folder.list();
  if (generation === null) {
    if (await isThere(path)) throw notOurs(path);
    return null;
  }
  try {
    const { pipeline } = JSON.parse(await folder.headOf(generation, signal)) as { pipeline: string };
    return pipeline;
  } catch (cause) {
    if (!(cause instanceof SyntaxError)) throw cause;
    throw new ConnectorError("stop", `${folder.in(baseName(generation))} is damaged.`, { cause });
  }
}

/** Also a link to nowhere. */
async function isThere(path: string): Promise<boolean> {
  return (await lstat(path).catch(nullIfGone)) !== null;
}

function notOurs(path: string): ConnectorError {
  return new ConnectorError("stop", `${path} is there already, and Rowmill did not make it.`, {
    hints: [
      "Move it away, or name another file.",
      "If only its folder of parts is gone, also deliver all answers again: rowmill deliver --replay --all",
    ],
  });
}

/** @throws ConnectorError if it is another pipeline */
export function refuseOwner(
  folder: PartsFolder,
  { path, owner, pipeline }: { readonly path: string; readonly owner: string; readonly pipeline: string },
): void {
  if (owner === pipeline) return;
  throw new ConnectorError("stop", `${path} has the answers of the pipeline "${owner}".`, {
    hints: [`Name another file for each pipeline. If "${owner}" was renamed, remove ${path} and ${folder.path}.`],
  });
}

/** Reads the fences of what is new in the folder. */
async function learn(state: State, signal: AbortSignal): Promise<void> {
  for (let tries = 0; tries < TRIES_MAX; tries++) {
    const { generation, parts } = await state.folder.list();
    if (generation === null) throw again(`${state.folder.path} has no base any more.`);
    const names = [baseName(generation), ...parts];
    if (await unlessGone(() => learnOf(state, names, signal))) {
      state.read = new Set(names);
      return;
    }
  }
  throw again(`${state.folder.path} changed at each of ${TRIES_MAX} tries to read it.`);
}

async function learnOf({ folder, known, read }: State, names: readonly string[], signal: AbortSignal): Promise<true> {
  for (const name of names) {
    if (read.has(name)) continue;
    for await (const { key, fence } of folder.linesOf(name, signal)) known.add(key, fence);
  }
  return true;
}

/** False: another worker removed a file that was about to be read. */
async function unlessGone(work: () => Promise<boolean>): Promise<boolean> {
  try {
    return await work();
  } catch (error) {
    if (hasCode(error, "ENOENT")) return false;
    throw error;
  }
}

async function write(
  state: State,
  changes: readonly Change[],
  { pipeline, signal }: DeliveryOptions,
): Promise<Written> {
  const { shape } = readyFor(state, pipeline);
  await requireFolder(shape.path);
  await learn(state, signal);
  const { fresh, ...said } = judged(state.known, changes, shape);
  if (fresh.size > 0) {
    const lines = [...fresh.values()].toSorted((a, b) => (a.key < b.key ? -1 : 1));
    signal.throwIfAborted();
    const name = await state.folder.writePart(lines);
    for (const { key, fence } of lines) state.known.add(key, fence);
    state.read = new Set([...state.read, name]);
    await unlessGone(async () => (await state.folder.compact(signal), true));
  }
  return { ...said, changed: [], busy: [] };
}

function judged(
  known: KnownFences,
  changes: readonly Change[],
  { fields }: Shape,
): Pick<Written, "written" | "stale" | "failed"> & { readonly fresh: ReadonlyMap<string, PartLine> } {
  const [written, stale, failed] = [
    [] as string[],
    [] as Written["stale"][number][],
    [] as Written["failed"][number][],
  ];
  const fresh = new Map<string, PartLine>();
  for (const change of changes) {
    const { key, fence } = change;
    const newest = known.get(key);
    const reason = "deleted" in change ? null : whyRefused(change.cells, fields);
    if (newest !== null && newest > BigInt(fence)) stale.push({ key, fence: String(newest) });
    else if (reason !== null) failed.push({ key, reason });
    else {
      written.push(key);
      if (newest !== BigInt(fence)) fresh.set(key, partLine(change));
    }
  }
  return { written, stale, failed, fresh };
}

function readyFor({ ready }: State, pipeline: string): NonNullable<State["ready"]> {
  if (ready?.pipeline === pipeline) return ready;
  throw new RowmillError("internal", `The file was not prepared for "${pipeline}".`);
}

async function settle(state: State, { pipeline, signal }: SettleOptions): Promise<void> {
  const { shape } = readyFor(state, pipeline);
  await requireFolder(shape.path);
  for (let tries = 0; tries < TRIES_MAX; tries++) if (await unlessGone(() => settleOnce(state, shape, signal))) return;
  throw again(`Other workers changed ${state.folder.path} at each of ${TRIES_MAX} tries.`);
}

/** False: another worker came first. */
async function settleOnce(state: State, shape: Shape, signal: AbortSignal): Promise<boolean> {
  const { folder } = state;
  signal.throwIfAborted();
  await folder.compact(signal);
  const listed = await folder.list();
  const { generation, parts } = listed;
  if (generation === null) throw again(`${folder.path} has no base any more.`);
  if (parts.length > 0) {
    const isMerged = await folder.merge({ ...listed, generation }, signal);
    // What is in it is known then.
    if (isMerged && [baseName(generation), ...parts].every((name) => state.read.has(name)))
      state.read = new Set([baseName(generation + 1)]);
    return false;
  }
  await folder.removeOlder(generation);
  await folder.clean(generation);
  if (await isPublished(folder, shape, generation)) return true;
  return publish(folder, shape, { generation, signal });
}
