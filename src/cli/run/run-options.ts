/** What `rowmill run` does: its options, and the record of the last run for what they leave out. */
import { realpath } from "node:fs/promises";
import { basename, dirname, extname, join, resolve } from "node:path";
import { folderFor, lastRecord, makeState, pipelineNameOf, type RunRecord } from "../../app/run/run-folder.js";
import { identityOf } from "../../app/run/run-config.js";
import { FILE_ENCODINGS, FILE_FORMATS, type FileFormat, type FileLook } from "../../files/file-types.js";
import { formatByName, lookAtFile } from "../../files/look-at-file.js";
import { spoolPipe } from "../../files/spool-pipe.js";
import { hasCode } from "../../model/file-errors.js";
import { RowmillError } from "../../model/errors.js";
import type { LogOptions } from "../cli.js";

export interface RunOptions extends LogOptions {
  readonly prompt?: string;
  readonly columns?: string;
  readonly model?: string;
  readonly answer?: string;
  readonly maxOutputTokens?: number;
  readonly pipeline?: string;
  readonly config?: string;
  readonly key?: string;
  readonly name?: string;
  readonly out?: string;
  readonly format?: string;
  readonly delimiter?: string;
  readonly encoding?: string;
  readonly limit?: number;
  readonly try?: number;
  readonly yes?: true;
  readonly detach?: true;
  readonly partial?: true;
  readonly retry?: true;
  readonly global?: true;
  readonly list?: true;
  readonly forget?: true;
  readonly escape?: boolean;
  readonly force?: true;
  readonly json?: true;
  readonly quiet?: true;
}

/** A file with the question about it, parts of which may be missing. */
export interface Draft {
  readonly folder: string;
  /** Of Rowmill in that folder. */
  readonly state: string;
  readonly look: FileLook;
  readonly identity: string;
  readonly record: RunRecord;
  /** Of its last run. Null: it was not run before. */
  readonly before: RunRecord | null;
  /** It came through a pipe. */
  readonly piped: boolean;
}

/** @throws RowmillError `usage` for options that do not go together */
function requireFitting({ prompt, columns, ...options }: RunOptions, record: RunRecord): void {
  if (columns !== undefined && /\{\{|\{%/.test(prompt ?? record.prompt ?? ""))
    throw new RowmillError("usage", "--columns is for a prompt that names no columns: this one does.");
  const [printing] = (["try", "json"] as const).filter((name) => options[name] !== undefined);
  if (record.out === "-" && printing !== undefined)
    throw new RowmillError("usage", `--${printing} prints to stdout, where the output goes.`, {
      hints: ["Name a file for the output: --out"],
    });
}

export async function draftOf(given: string, options: RunOptions, signal: AbortSignal): Promise<Draft> {
  const piped = given === "-";
  const asked = piped ? null : await pathOf(given);
  const folder = folderFor(asked, options.global === true);
  const state = await makeState(folder);
  const file = asked ?? (await pipedFile(join(state, "piped"), signal));
  const [key, label] = [options.key ?? null, options.name ?? null];
  const before = await lastRecord(folder, { file, label, key });
  const { delimiter, encoding } = { ...before, ...definedOf(options) };
  const look = await lookAtFile(file, {
    ...(delimiter == null ? {} : { delimiter: delimiterOf(delimiter) }),
    ...(encoding == null ? {} : { encoding: oneOf(encoding, FILE_ENCODINGS, "--encoding") }),
    scratch: state,
    signal,
  });
  const record = recordOf(options, { file, before, piped });
  requireFitting(options, record);
  return {
    folder,
    state,
    look,
    identity: await identityOf(file),
    record,
    before,
    piped,
  };
}

/** @throws RowmillError `usage` where nothing is piped */
async function pipedFile(folder: string, signal: AbortSignal): Promise<string> {
  if (!process.stdin.isTTY) return (await spoolPipe(process.stdin, folder, { signal })).path;
  throw new RowmillError("usage", "- reads a file from a pipe, and there is none.", {
    hints: ["For example: cat films.csv | rowmill run - --prompt …"],
  });
}

/** A link is the file that it leads to. @throws RowmillError `usage` */
async function pathOf(given: string): Promise<string> {
  try {
    return await realpath(resolve(given));
  } catch (cause) {
    if (!hasCode(cause, "ENOENT", "ENOTDIR", "EACCES", "ELOOP")) throw cause;
    throw new RowmillError("usage", `${given} cannot be read: there is no such file.`, { cause });
  }
}

const DELIMITERS: Readonly<Record<string, string>> = { tab: "\t", "\\t": "\t", comma: ",", semicolon: ";", pipe: "|" };

function delimiterOf(text: string): string {
  const delimiter = DELIMITERS[text] ?? text;
  if (/^[^\r\n"]$/u.test(delimiter)) return delimiter;
  throw new RowmillError("usage", `--delimiter: expected one character, or tab; found ${JSON.stringify(text)}.`);
}

export function oneOf<T extends string>(text: string, all: readonly T[], option: string): T {
  const found = all.find((one) => one === text);
  if (found !== undefined) return found;
  throw new RowmillError("usage", `${option}: expected ${all.join(", ")}, found ${JSON.stringify(text)}.`);
}

export function formatOf({ format }: Pick<RunRecord, "format">): FileFormat | undefined {
  return format === null ? undefined : oneOf(format, FILE_FORMATS, "--format");
}

function definedOf({ delimiter, encoding }: RunOptions): { delimiter?: string; encoding?: string } {
  return { ...(delimiter === undefined ? {} : { delimiter }), ...(encoding === undefined ? {} : { encoding }) };
}

interface RecordParts {
  readonly file: string;
  readonly before: RunRecord | null;
  readonly piped: boolean;
}

/** What an option leaves out is as at the last run. */
function recordOf(options: RunOptions, { file, before, piped }: RecordParts): RunRecord {
  const { key = before?.key ?? null, name: label = null, pipeline } = options;
  const own = [options.prompt, options.model, options.answer, options.maxOutputTokens];
  const ownsQuestion = pipeline === undefined && own.some((one) => one !== undefined);
  const theirs = pipeline ?? (ownsQuestion ? null : (before?.pipeline ?? null));
  const question =
    theirs === null
      ? {
          prompt: options.prompt ?? before?.prompt ?? null,
          columns: options.columns?.split(",").map((one) => one.trim()) ?? before?.columns ?? null,
          model: options.model ?? before?.model ?? null,
          answer: options.answer ?? before?.answer ?? null,
          ...tokensOf(options.maxOutputTokens ?? before?.maxOutputTokens),
        }
      : { prompt: null, columns: null, model: null, answer: null };
  return {
    name: pipelineNameOf({ file, label, key }),
    file,
    label,
    key,
    delimiter: options.delimiter ?? before?.delimiter ?? null,
    encoding: options.encoding ?? before?.encoding ?? null,
    pipeline: theirs,
    ...question,
    reads: null,
    ...outOf(options, { file, before, piped, label }),
    at: new Date().toISOString(),
  };
}

function tokensOf(maxOutputTokens: number | undefined): Pick<RunRecord, "maxOutputTokens"> {
  return maxOutputTokens === undefined ? {} : { maxOutputTokens };
}

interface OutParts extends RecordParts {
  readonly label: string | null;
}

/** The format is as at the last run only where the output is too: its name says which one it has. */
function outOf({ out, format }: RunOptions, parts: OutParts): Pick<RunRecord, "out" | "format"> {
  const { before, piped } = parts;
  if (out !== undefined) return { out: out === "-" ? out : resolve(out), format: format ?? null };
  const isAsBefore = before !== null && (format === undefined || format === formatOfOutput(before));
  if (isAsBefore || before?.out === "-") return { out: before.out, format: format ?? before.format };
  return { out: piped ? "-" : defaultOut(parts, format), format: format ?? null };
}

function formatOfOutput({ out, format }: RunRecord): string | null {
  return format ?? formatByName(out) ?? null;
}

/** `films.csv` → `films.answers.csv`, in the same folder; with `--name`: `films.NAME.answers.csv`. */
function defaultOut({ file, label }: OutParts, format: string | undefined): string {
  const name = basename(file);
  const zipped = /\.gz$/i.exec(name)?.[0] ?? "";
  const plain = name.slice(0, name.length - zipped.length);
  const own = extname(plain);
  const ending = format === undefined || format === formatByName(plain) ? own : `.${format}`;
  const named = label === null ? "" : `.${label.replaceAll(/[^\p{L}\p{N}_-]+/gu, "-")}`;
  return join(dirname(file), `${plain.slice(0, plain.length - own.length)}${named}.answers${ending}${zipped}`);
}
