/** Reads the records of CSV and JSONL by pages. */
import { byteOf } from "./delimiter.js";
import { counted } from "../model/words/counted.js";
import type { FileLook, FileRecord, Place, RecordPage } from "./file-types.js";
import { jsonlRecord } from "./jsonl-record.js";
import { textBytes } from "./read-bytes.js";
import { RecordCutter, type CutRecord } from "./record-cutter.js";

const PAGE_RECORDS_MAX = 1000;
const PAGE_BYTES_MAX = 1024 * 1024;

interface ReadFrom {
  readonly after: Place;
  readonly signal: AbortSignal | undefined;
}

/** @throws RowmillError after the pages before it, if the file is cut off, damaged, or became shorter */
export async function* readText(look: FileLook, from: ReadFrom): AsyncGenerator<RecordPage> {
  const toRecord = look.format === "jsonl" ? jsonlRecord : csvRecords(look.columns);
  for await (const cuts of cutsOf(look, from)) {
    yield { records: cuts.map(toRecord), place: cuts.at(-1)?.next ?? from.after };
  }
}

/** The records as bytes, by pages of at least one. */
export async function* cutsOf(look: FileLook, { after, signal }: ReadFrom): AsyncGenerator<readonly CutRecord[]> {
  const cutter = new RecordCutter({ delimiter: byteOf(look.delimiter), hasQuotes: look.format !== "jsonl", ...after });
  const page = new PageInProgress(cutter);
  for await (const chunk of textBytes(look, after.at, signal)) {
    cutter.push(chunk);
    yield* page.full();
  }
  cutter.end();
  yield* page.full();
  yield* page.rest();
}

class PageInProgress {
  readonly #cutter: RecordCutter;
  #cuts: CutRecord[] = [];
  #bytes = 0;

  constructor(cutter: RecordCutter) {
    this.#cutter = cutter;
  }

  *full(): Generator<readonly CutRecord[]> {
    for (let cut = this.#cutter.next(); cut !== null; cut = this.#cutter.next()) {
      this.#cuts.push(cut);
      this.#bytes += cut.raw?.length ?? 0;
      if (this.#cuts.length >= PAGE_RECORDS_MAX || this.#bytes >= PAGE_BYTES_MAX) yield this.#taken();
    }
  }

  *rest(): Generator<readonly CutRecord[]> {
    if (this.#cuts.length > 0) yield this.#taken();
  }

  #taken(): readonly CutRecord[] {
    const cuts = this.#cuts;
    [this.#cuts, this.#bytes] = [[], 0];
    return cuts;
  }
}

/** A record of CSV with these columns. */
export function csvRecords(columns: readonly string[]): (cut: CutRecord) => FileRecord {
  const hasPrototypeName = columns.includes("__proto__");
  return ({ line, raw, cells: texts, problem, width }) => {
    if (problem !== null) return { line, raw, problem, width };
    if (width !== columns.length) return { line, raw, problem: raggedProblem(width, columns.length), width };
    const cells: Record<string, string> = {};
    for (const [index, name] of columns.entries()) cells[name] = texts[index] ?? "";
    if (!hasPrototypeName) return { line, raw, cells };
    return { line, raw, cells: Object.fromEntries(columns.map((name, index) => [name, texts[index] ?? ""])) };
  };
}

function raggedProblem(found: number, expected: number): string {
  const fix = found > expected ? "Put quotes around a cell that holds the separator." : "Add the missing separators.";
  return `It has ${counted(found, "cell")}, and the header has ${expected}. ${fix}`;
}
