/** Reads the rows of Parquet by pages: parts of one row group at a time, so that a large group does not fill memory. */
import type { FileLook, FileRecord, Place, RecordPage } from "../file-types.js";
import { namedColumns } from "../column-names.js";
import { openParquet, parquetFailure, type OpenOptions, type OpenParquet, type ParquetFile } from "./open-parquet.js";
import { kindOf } from "./stored-schema.js";
import { storedText } from "./stored-text.js";

const PAGE_ROWS_MAX = 1000;
const PAGE_CHARACTERS_MAX = 1024 * 1024;
/** Of a row group, unpacked, that are in memory at once. A dictionary makes them look smaller than they become. */
const PART_BYTES = 16 * 1024 * 1024;
/** The row groups of DuckDB, which has pages as large as they are: each part would unpack the whole page. */
const PART_ROWS_MAX = 122_880;
const EXAMPLES_MAX = 5;

type ParquetLook = Pick<FileLook, "columns" | "examples" | "notes" | "rows" | "kinds">;

export async function lookAtParquet(file: ParquetFile, options: OpenOptions): Promise<ParquetLook> {
  const opened = await openParquet(file, options);
  try {
    const { names, notes } = namedColumns(opened.columns.map(({ element }) => element.name));
    const rows = Number(opened.metadata.num_rows);
    const examples = [];
    for await (const record of recordsOf(opened, names, { from: 0, to: Math.min(rows, EXAMPLES_MAX) })) {
      if ("cells" in record) examples.push(names.map((name) => record.cells[name] ?? null));
    }
    return { columns: names, examples, notes, rows, kinds: opened.columns.map(kindOf) };
  } catch (error) {
    throw parquetFailure(file.path, error);
  } finally {
    await opened.close();
  }
}

/** @throws RowmillError after the pages before it, if the file is damaged */
export async function* readParquet(
  look: FileLook,
  { after, ...options }: OpenOptions & { readonly after: Place },
): AsyncGenerator<RecordPage> {
  const opened = await openParquet(look, options);
  try {
    let records: FileRecord[] = [];
    let characters = 0;
    const taken = (): RecordPage => {
      const { line } = records.at(-1) ?? after;
      const page = { records, place: { at: line, line: line + 1 } };
      [records, characters] = [[], 0];
      return page;
    };
    for await (const record of recordsOf(opened, look.columns, { from: after.at, to: look.rows ?? 0 })) {
      options.signal?.throwIfAborted();
      records.push(record);
      characters += sizeOf(record);
      if (records.length >= PAGE_ROWS_MAX || characters >= PAGE_CHARACTERS_MAX) yield taken();
    }
    if (records.length > 0) yield taken();
  } catch (error) {
    throw options.signal?.aborted === true ? error : parquetFailure(look.path, error);
  } finally {
    await opened.close();
  }
}

function sizeOf(record: FileRecord): number {
  if ("problem" in record) return 0;
  return Object.values(record.cells).reduce((sum, cell) => sum + (cell?.length ?? 0), 0);
}

interface RowRange {
  readonly from: number;
  readonly to: number;
}

async function* recordsOf(opened: OpenParquet, names: readonly string[], range: RowRange): AsyncGenerator<FileRecord> {
  for (const { from, to } of partsOf(opened, range)) {
    const columns = await opened.rows(from, to);
    for (let row = from; row < to; row++) {
      yield recordOf(
        opened,
        names,
        columns.map((values) => values[row - from]),
        row + 1,
      );
    }
  }
}

/** Parts of row groups that hold the range. */
function* partsOf({ metadata }: OpenParquet, range: RowRange): Generator<RowRange> {
  let start = 0;
  for (const group of metadata.row_groups) {
    const rows = Number(group.num_rows);
    const bytesPerRow = Number(group.total_byte_size) / Math.max(1, rows);
    const step = Math.min(PART_ROWS_MAX, Math.max(PAGE_ROWS_MAX, Math.floor(PART_BYTES / Math.max(1, bytesPerRow))));
    const to = Math.min(start + rows, range.to);
    for (let from = Math.max(start, range.from); from < to; from += step) {
      yield { from, to: Math.min(from + step, to) };
    }
    start += rows;
  }
}

function recordOf(opened: OpenParquet, names: readonly string[], value: readonly unknown[], line: number): FileRecord {
  const cells: [string, string | null][] = [];
  for (const [index, column] of opened.columns.entries()) {
    try {
      const text = storedText(column, value[index]);
      if (text?.includes("\0") === true) throw new Error("It holds the character U+0000, which a table cannot store.");
      cells.push([names[index] ?? "", text]);
    } catch (error) {
      const reason =
        error instanceof RangeError ? "It holds a date that cannot be read." : String((error as Error).message);
      return { line, raw: null, value, problem: `Column ${names[index]}: ${reason}` };
    }
  }
  return { line, raw: null, value, cells: Object.fromEntries(cells) };
}
