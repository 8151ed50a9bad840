/** Finds out what a file is, by its first bytes. */
import { stat } from "node:fs/promises";
import { badFile, readFailure } from "./file-failure.js";
import { namedColumns } from "./column-names.js";
import { DELIMITER_WORDS, delimiterOf, recordsOf } from "./delimiter.js";
import { encodingOf } from "./encodings.js";
import type { FileFormat, FileLook, LookOptions } from "./file-types.js";
import { jsonlRecord } from "./jsonl-record.js";
import { lookAtParquet } from "./parquet/read-parquet.js";
import { storedBytes, textBytes, unpacked, type TextLook } from "./read-bytes.js";
import { csvRecords } from "./read-pages.js";

const SAMPLE_BYTES = 1024 * 1024;
const EXAMPLES_MAX = 5;
/** Of JSONL, whose names are gathered. */
const SAMPLE_RECORDS_MAX = 1000;

/** @throws RowmillError if there is no such file, or it is none that can be read */
export async function lookAtFile(path: string, options: LookOptions = {}): Promise<FileLook> {
  try {
    return await looked(path, options);
  } catch (error) {
    throw readFailure(path, error);
  }
}

async function looked(path: string, options: LookOptions): Promise<FileLook> {
  const found = await stat(path);
  if (found.isDirectory()) throw badFile(path, "is a folder, not a file.");
  if (!found.isFile()) throw badFile(path, "is not a regular file.", "Read a pipe with - as the name of the file.");
  const bytes = found.size;
  const { signal } = options;
  const stored = await firstBytes(storedBytes(path, { from: 0, to: bytes, signal }));
  const gzip = isGzip(stored);
  const head = gzip ? await firstBytes(unpacked(storedBytes(path, { from: 0, to: bytes, signal }))) : stored;
  if (isParquet(head)) {
    const found = await lookAtParquet({ path, bytes, gzip }, options);
    const text = { encoding: "utf-8", bom: false, delimiter: null, lineEnd: "\n", head: "" } as const;
    return { path, bytes, gzip, format: "parquet", ...text, ...found, body: { at: 0, line: 1 } };
  }
  refuseOthers(path, head);
  const { encoding, bom } = encodingOf(head, options.encoding);
  const text: TextLook = { path, bytes, gzip, encoding, bom };
  return lookAtText(text, options);
}

const GZIP = Buffer.from([0x1f, 0x8b]);

function isGzip(bytes: Buffer): boolean {
  return bytes.subarray(0, GZIP.length).equals(GZIP);
}

/** What follows is binary; a header may begin so too. */
function isParquet(bytes: Buffer): boolean {
  return /^PAR1[^\t\n\r -~]/.test(bytes.toString("latin1", 0, 5));
}

/** At most SAMPLE_BYTES. */
async function firstBytes(chunks: AsyncIterable<Buffer>): Promise<Buffer> {
  const taken: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of chunks) {
    taken.push(chunk);
    bytes += chunk.length;
    if (bytes >= SAMPLE_BYTES) break;
  }
  return Buffer.concat(taken).subarray(0, SAMPLE_BYTES);
}

/** Files that are often taken for a table of text, by their first bytes. */
const OTHERS: readonly (readonly [string, string, string])[] = [
  ["504b0304", "is a zip archive or an Excel workbook.", "In Excel, save the sheet as CSV UTF-8; unpack an archive."],
  ["d0cf11e0a1b11ae1", "is an old Excel workbook.", "In Excel, save the sheet as CSV UTF-8."],
  ["28b52ffd", "is packed with zstd.", "Unpack it first: zstd -d"],
  ["425a68", "is packed with bzip2.", "Unpack it first: bunzip2"],
  ["fd377a585a00", "is packed with xz.", "Unpack it first: unxz"],
  ["25504446", "is a PDF.", "Export its table as CSV."],
  ["53514c69746520666f726d6174203300", "is an SQLite database.", "Export the table as CSV."],
  ["fffe0000", "is in UTF-32.", "Save it as UTF-8."],
  ["1f8b", "is packed with gzip twice.", "Unpack it first: gunzip"],
];

function refuseOthers(path: string, head: Buffer): void {
  const hex = head.toString("hex", 0, 16);
  const other = OTHERS.find(([magic]) => hex.startsWith(magic));
  if (other !== undefined) throw badFile(path, other[1], other[2]);
}

async function lookAtText(text: TextLook, options: LookOptions): Promise<FileLook> {
  const chunks = textBytes(text, 0, options.signal);
  const sample = await firstBytes(chunks);
  const isWhole = sample.length < SAMPLE_BYTES;
  if (/^\s*$/.test(sample.toString("latin1"))) throw badFile(text.path, "is empty: it has no header and no rows.");
  const format = options.format ?? formatByName(text.path) ?? formatByContent(sample, isWhole);
  if (format === "parquet") throw badFile(text.path, "is not a Parquet file: it does not begin with PAR1.");
  return format === "jsonl"
    ? lookAtJsonl(text, sample, isWhole)
    : lookAtCsv(text, { ...options, format }, sample, isWhole);
}

const NAMES: readonly (readonly [RegExp, FileFormat])[] = [
  [/\.csv$/i, "csv"],
  [/\.(?:tsv|tab)$/i, "tsv"],
  [/\.(?:jsonl|ndjson|json)$/i, "jsonl"],
  [/\.(?:parquet|pq)$/i, "parquet"],
];

export function formatByName(path: string): FileFormat | null {
  const name = path.replace(/\.gz$/i, "");
  return NAMES.find(([pattern]) => pattern.test(name))?.[1] ?? null;
}

function formatByContent(sample: Buffer, isWhole: boolean): FileFormat {
  const [first] = recordsOf(sample, null, { isWhole, max: 1, hasQuotes: false });
  return first !== undefined && "cells" in jsonlRecord(first) ? "jsonl" : "csv";
}

const ENCODING_WORDS = { "utf-8": "", "utf-16le": "UTF-16", "utf-16be": "UTF-16", latin1: "Latin-1 (Windows-1252)" };

function encodingNotes({ encoding }: TextLook): string[] {
  return encoding === "utf-8" ? [] : [`It is read as ${ENCODING_WORDS[encoding]}. Outputs are in UTF-8.`];
}

function lookAtJsonl(text: TextLook, sample: Buffer, isWhole: boolean): FileLook {
  const cuts = recordsOf(sample, null, { isWhole, max: SAMPLE_RECORDS_MAX, hasQuotes: false });
  const all = cuts.map(jsonlRecord);
  const [first] = all;
  if (first !== undefined && "problem" in first && /^\s*\[/.test(first.raw?.toString() ?? "")) {
    const hint = "Convert it: jq -c '.[]' FILE > FILE.jsonl";
    throw badFile(text.path, "is a JSON list, not one object on each line.", hint);
  }
  const records = all.filter((record) => "cells" in record);
  if (first !== undefined && records.length === 0) {
    const hint = "JSONL has one object on each line: jq -c . FILE > FILE.jsonl";
    throw badFile(text.path, "has no line that is a JSON object.", hint);
  }
  const columns = [...new Set(records.flatMap(({ cells }) => Object.keys(cells)))];
  const examples = records.slice(0, EXAMPLES_MAX).map(({ cells }) => columns.map((name) => cells[name] ?? null));
  const lineEnd = cuts[0]?.lineEnd ?? "\n";
  const common = { ...text, format: "jsonl", delimiter: null, rows: null, head: "" } as const;
  return { ...common, lineEnd, columns, examples, notes: encodingNotes(text), body: { at: 0, line: 1 } };
}

/** What Excel writes and reads before a header: `sep=;`. */
const SEPARATOR_LINE = /^sep=([^\r\n])(?:\r\n|\n|\r)/i;

type CsvOptions = LookOptions & { readonly format: FileFormat };

function lookAtCsv(text: TextLook, options: CsvOptions, sample: Buffer, isWhole: boolean): FileLook {
  const named = SEPARATOR_LINE.exec(sample.toString("latin1", 0, 16));
  const start = named?.[0].length ?? 0;
  const tab = options.format === "tsv" ? "\t" : undefined;
  const found = options.delimiter ?? named?.[1] ?? tab ?? delimiterOf(sample.subarray(start), isWhole);
  const delimiter = options.delimiter === null ? null : found;
  if (delimiter !== null && !/^[^"\r\n\u0080-\uffff]$/.test(delimiter)) {
    throw badFile(
      text.path,
      `cannot be read with the separator ${JSON.stringify(delimiter)}: it must be one ASCII character.`,
    );
  }
  const place = { at: start, line: start === 0 ? 1 : 2 };
  const cuts = recordsOf(sample, delimiter, { isWhole, max: EXAMPLES_MAX + 1, ...place });
  const [header] = cuts;
  if (header === undefined)
    throw badFile(text.path, "has a header longer than 1 MiB.", "Check its line ends and its quotes.");
  if (header.problem !== null || header.raw === null)
    throw badFile(text.path, `has a broken header, line ${header.line}. ${header.problem}`);
  const { names: columns, notes } = namedColumns(header.cells);
  const toRecord = csvRecords(columns);
  const examples = cuts.slice(1).flatMap((cut) => {
    const record = toRecord(cut);
    return "cells" in record ? [cut.cells] : [];
  });
  return {
    ...text,
    format: options.format,
    delimiter,
    lineEnd: header.lineEnd ?? "\n",
    columns,
    examples,
    notes: [...encodingNotes(text), ...delimiterNotes(delimiter, options), ...notes],
    rows: null,
    head: sample.toString("utf8", 0, header.next.at - (header.lineEnd?.length ?? 0)),
    body: header.next,
  };
}

function delimiterNotes(delimiter: string | null, { format, delimiter: given }: CsvOptions): string[] {
  if (given !== undefined || format === "tsv" || delimiter === ",") return [];
  if (delimiter === null) return ["It has a single column."];
  return [`Its cells are separated by ${DELIMITER_WORDS[delimiter] ?? delimiter}.`];
}
