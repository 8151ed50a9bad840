/**
 * Owns where `rowmill run` keeps its state: `.rowmill/` next to the file, or the user's state folder, with a record of
 * each file that was run. A record is the question as it was typed, so that the same file can be run again without it.
 */
import { createHash, randomUUID } from "node:crypto";
import { mkdir, open, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { basename, dirname, join, resolve } from "node:path";
import { exists, hasCode, isSystemError } from "../../model/file-errors.js";
import { RowmillError } from "../../model/errors.js";
import { nameFor } from "../init/config-text.js";

/** What a run asks, and of which file. */
export interface RunRecord {
  /** Of the pipeline. */
  readonly name: string;
  /** Absolute. */
  readonly file: string;
  /** One of several questions about the file, as typed. */
  readonly label: string | null;
  readonly key: string | null;
  readonly delimiter: string | null;
  readonly encoding: string | null;
  /** Of the config in the folder, from which request and answer are. */
  readonly pipeline: string | null;
  /** These are null where `pipeline` has them. */
  readonly prompt: string | null;
  readonly columns: readonly string[] | null;
  readonly model: string | null;
  readonly answer: string | null;
  /** Missing: the default of a config. */
  readonly maxOutputTokens?: number;
  /** The columns that the question reads, by their names in prompts. Null: nothing was agreed to yet. */
  readonly reads: readonly string[] | null;
  /** Absolute, or `-`. */
  readonly out: string;
  readonly format: string | null;
  /** When it was last run: an ISO date. */
  readonly at: string;
}

const STATE = ".rowmill";
const HASH_CHARACTERS = 8;
/** A pipeline's name has at most 40 characters. */
const STEM_CHARACTERS_MAX = 40 - 1 - HASH_CHARACTERS;
const RECORD_BYTES_MAX = 4 * 1024 * 1024;

/** The folder whose `.rowmill/` has the state of this file. */
export function folderFor(file: string | null, isGlobal: boolean): string {
  if (!isGlobal) return file === null ? process.cwd() : dirname(file);
  const home = process.env["XDG_STATE_HOME"] ?? "";
  return resolve(home === "" ? join(homedir(), ".local", "state") : home, "rowmill");
}

/** In whose name the state is found: no config is there, but `.rowmill/` stands next to it as if it were. */
export function configFileOf(folder: string): string {
  return join(folder, "rowmill.config.ts");
}

/** The same for a file, a label and what names its rows, whatever is asked. */
export function pipelineNameOf({ file, label, key }: Pick<RunRecord, "file" | "label" | "key">): string {
  const hash = createHash("sha256")
    .update(JSON.stringify([file, label, key]))
    .digest("hex")
    .slice(0, HASH_CHARACTERS);
  const stem = stemOf(file);
  return `${nameFor(label === null ? stem : `${stem}-${label}`).slice(0, STEM_CHARACTERS_MAX)}-${hash}`;
}

/** `films` of `/tmp/films.csv.gz`. */
export function stemOf(file: string): string {
  return basename(file).replace(/(?:\.[A-Za-z0-9]{1,8}){1,2}$/, "");
}

/** The table of the answers, which are in the same database. */
export function answersOf(name: string): string {
  return `${name.replaceAll("-", "_")}_answers`;
}

/** Makes the folder, which git ignores as a whole. @throws RowmillError `usage` where it cannot be made */
export async function makeState(folder: string): Promise<string> {
  const state = join(folder, STATE);
  try {
    await mkdir(join(state, "runs"), { recursive: true, mode: 0o700 });
    if (!(await exists(join(state, ".gitignore")))) await writeFile(join(state, ".gitignore"), "*\n");
  } catch (cause) {
    if (!isSystemError(cause)) throw cause;
    throw new RowmillError("usage", `Rowmill cannot keep its state in ${state}: ${cause.message}`, {
      cause,
      hints: ["Keep it in your own state folder instead: add --global"],
    });
  }
  return state;
}

function recordFile(folder: string, name: string): string {
  return join(folder, STATE, "runs", `${name}.json`);
}

/** A crash leaves the record of before, or this one. */
export async function writeRecord(folder: string, record: RunRecord): Promise<void> {
  const path = recordFile(folder, record.name);
  const temporary = `${path}.${randomUUID()}.new`;
  const opened = await open(temporary, "wx", 0o600);
  try {
    await opened.writeFile(`${JSON.stringify(record, null, 2)}\n`);
    await opened.sync();
  } finally {
    await opened.close();
  }
  await rename(temporary, path);
}

/** Null: it was never run, or its record cannot be read. */
async function readRecord(folder: string, name: string): Promise<RunRecord | null> {
  try {
    const text = await readFile(recordFile(folder, name), "utf8");
    if (text.length > RECORD_BYTES_MAX) return null;
    const parsed: unknown = JSON.parse(text);
    return isRecord(parsed) && parsed.name === name ? parsed : null;
  } catch (error) {
    if (error instanceof SyntaxError || hasCode(error, "ENOENT", "ENOTDIR")) return null;
    throw error;
  }
}

const TEXTS = ["name", "file", "out", "at"] as const;
const TEXTS_OR_NULL = [
  "label",
  "key",
  "delimiter",
  "encoding",
  "pipeline",
  "prompt",
  "model",
  "answer",
  "format",
] as const;

function isRecord(value: unknown): value is RunRecord {
  if (typeof value !== "object" || value === null) return false;
  const fields: Partial<Record<keyof RunRecord, unknown>> = value;
  const isNames = (value: unknown) =>
    value === null || (Array.isArray(value) && value.every((name) => typeof name === "string"));
  return (
    TEXTS.every((name) => typeof fields[name] === "string") &&
    TEXTS_OR_NULL.every((name) => fields[name] === null || typeof fields[name] === "string") &&
    ["undefined", "number"].includes(typeof fields.maxOutputTokens) &&
    isNames(fields.columns) &&
    isNames(fields.reads)
  );
}

/** Of all files that were run with this state, by name. */
export async function listRecords(folder: string): Promise<RunRecord[]> {
  const names = await readdir(join(folder, STATE, "runs")).catch((error: unknown) => {
    if (hasCode(error, "ENOENT", "ENOTDIR")) return [];
    throw error;
  });
  const read = names
    .filter((name) => name.endsWith(".json"))
    .toSorted()
    .map((name) => readRecord(folder, name.slice(0, -".json".length)));
  return (await Promise.all(read)).filter((record) => record !== null);
}

/** Of a file whose question no one has agreed to yet: it shows that the database knows the file. */
export function withoutQuestion(record: RunRecord): RunRecord {
  const { maxOutputTokens: _, ...rest } = record;
  return { ...rest, pipeline: null, prompt: null, columns: null, model: null, answer: null, reads: null };
}

/** The last run of a file under this label that was agreed to, else that was begun; with a key: only by that. */
export async function lastRecord(
  folder: string,
  { file, label, key }: Pick<RunRecord, "file" | "label" | "key">,
): Promise<RunRecord | null> {
  const records = (await listRecords(folder)).filter(
    (record) => record.file === file && record.label === label && (key === null || record.key === key),
  );
  const agreed = records.filter(({ reads }) => reads !== null);
  return (agreed.length > 0 ? agreed : records).toSorted((a, b) => (a.at < b.at ? -1 : 1)).at(-1) ?? null;
}

export async function removeRecord(folder: string, name: string): Promise<void> {
  await rm(recordFile(folder, name), { force: true });
}
