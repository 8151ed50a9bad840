/** Writes the file that is read by others: whole, from one base, and never an older one after a newer one. */
import { chmod, readFile, rename, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { temporarySuffix } from "../../../files/leftovers.js";
import { openWriter } from "../../../files/open-writer.js";
import { WholeFile } from "../../../files/whole-file.js";
import type { AnsweredRecord, FileFormat, FileLook } from "../../../files/file-types.js";
import type { AnswerColumn } from "../../../model/answer/answer-columns.js";
import type { KeyColumn } from "../../../model/connector.js";
import { hasCode, nullIfGone } from "../../../model/file-errors.js";
import { syncFolder } from "../../../model/file-sync.js";
import type { Json } from "../../../model/pipeline.js";
import { cellsOf, type PartLine } from "./part-line.js";
import { baseName, outputName, type PartsFolder } from "./parts-folder.js";

/** How the file looks. */
export interface Shape {
  readonly path: string;
  readonly format: FileFormat;
  readonly gzip: boolean;
  readonly key: readonly KeyColumn[];
  readonly fields: readonly AnswerColumn[];
  readonly escapeFormulas: boolean;
}

const PAGE_RECORDS = 1_000;
const RECORD = "published.json";

/** Is the file what this generation makes of it? */
export async function isPublished(folder: PartsFolder, shape: Shape, generation: number): Promise<boolean> {
  const [record, present] = await Promise.all([readRecord(folder), presentAt(shape.path)]);
  return record !== null && present !== null && record === recordOf(shape, generation, present);
}

/** False: another worker is further, or took it away; nothing was changed. */
export async function publish(
  folder: PartsFolder,
  shape: Shape,
  { generation, signal }: { readonly generation: number; readonly signal: AbortSignal },
): Promise<boolean> {
  const out = folder.in(outputName(generation, temporarySuffix()));
  await writeAll(folder, shape, { generation, out, signal });
  const before = await presentAt(shape.path);
  if (before !== null) await chmod(out, before.mode & 0o777);
  // A newer generation removes older outputs before it publishes its own, so one that was made since then must not be.
  if ((await folder.list()).generation !== generation) return false;
  await folder.clean(generation);
  const made = await stat(out).catch(nullIfGone);
  if (made === null) return false;
  try {
    await rename(out, shape.path);
  } catch (error) {
    if (hasCode(error, "ENOENT") && (await presentAt(dirname(shape.path))) !== null) return false;
    throw error;
  }
  await syncFolder(dirname(shape.path));
  const record = await WholeFile.open(folder.in(RECORD), { overwrite: true });
  await record.write(Buffer.from(recordOf(shape, generation, made)));
  await record.commit();
  return true;
}

async function writeAll(
  folder: PartsFolder,
  shape: Shape,
  { generation, out, signal }: { readonly generation: number; readonly out: string; readonly signal: AbortSignal },
): Promise<void> {
  const { format, gzip, fields, escapeFormulas } = shape;
  // Parquet has typed columns for answers only, so there the key is written as if it were one.
  const key = format === "parquet" ? [] : shape.key;
  const answer = format === "parquet" ? [...shape.key.map(keyAnswer), ...fields] : fields;
  const options = { format, gzip, answer, escapeFormulas, errors: false, overwrite: true, signal };
  const writer = await openWriter(out, lookOf(key, format), options);
  try {
    let page: AnsweredRecord[] = [];
    for await (const line of folder.linesOf(baseName(generation), signal)) {
      const cells = cellsOf(line);
      if (cells === null) continue;
      page.push(recordFor(line, cells, shape));
      if (page.length < PAGE_RECORDS) continue;
      await writer.write(page);
      page = [];
    }
    await writer.write(page);
    await writer.commit();
  } catch (error) {
    await writer.discard();
    throw error;
  }
}

function recordFor(line: PartLine, cells: Readonly<Record<string, Json>>, { key, format }: Shape): AnsweredRecord {
  const named = Object.fromEntries(key.map(({ name }, index) => [name, keyCells(line.key, key.length)[index] ?? null]));
  const record = { line: 1, raw: null, cells: named };
  return { record, answer: format === "parquet" ? { ...cells, ...named } : cells, error: null };
}

/** A composite key is a JSON array as text. */
function keyCells(key: string, count: number): readonly (string | null)[] {
  if (count === 1) return [key];
  const cells = JSON.parse(key) as readonly Json[];
  return cells.map((cell) => (cell === null || typeof cell === "string" ? cell : JSON.stringify(cell)));
}

const INTEGERS: readonly string[] = ["smallint", "integer", "bigint"];

function keyAnswer({ name, type }: KeyColumn): AnswerColumn {
  return { field: name, type: INTEGERS.includes(type) ? "bigint" : "text", nullable: false, check: null };
}

/** As of an input of another format, whose bytes cannot be kept. */
function lookOf(key: readonly KeyColumn[], format: FileFormat): FileLook {
  const isCsv = format === "csv";
  return {
    path: "",
    bytes: 0,
    format: isCsv ? "tsv" : "csv",
    gzip: false,
    encoding: "utf-8",
    bom: false,
    delimiter: isCsv ? "\t" : ",",
    lineEnd: "\n",
    columns: key.map(({ name }) => name),
    kinds: key.map(({ type }) => (INTEGERS.includes(type) ? "number" : "text")),
    examples: [],
    notes: [],
    rows: null,
    head: "",
    body: { at: 0, line: 1 },
  };
}

interface Present {
  readonly mode: number;
  readonly ino: number;
  readonly size: number;
  readonly mtimeMs: number;
}

function presentAt(path: string): Promise<Present | null> {
  return stat(path).catch(nullIfGone);
}

/** A file that someone else changed or replaced is another one. */
function recordOf(shape: Shape, generation: number, { ino, size, mtimeMs }: Present): string {
  const { format, gzip, key, fields, escapeFormulas } = shape;
  const columns = fields.map(({ field, type }) => [field, type]);
  return JSON.stringify({
    generation,
    file: [ino, size, mtimeMs],
    looks: [format, gzip, key, columns, escapeFormulas],
  });
}

function readRecord(folder: PartsFolder): Promise<string | null> {
  return readFile(folder.in(RECORD), "utf8").catch(nullIfGone);
}
