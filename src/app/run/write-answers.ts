/**
 * Reads the file a second time, joins each record with its answer, and writes the output: as a whole, or not at all. A
 * crash leaves what stood there before. Only reads the ledger and the answers.
 */
import { rowOf, type FileRow, type RowShape } from "../../connectors/files/file-row.js";
import { recordsOf } from "../../connectors/files/source.js";
import type { AnsweredRecord, FileFormat, FileLook, FileRecord, RecordWriter } from "../../files/file-types.js";
import { openWriter } from "../../files/open-writer.js";
import { RowmillError } from "../../model/errors.js";
import type { Json, RowCells } from "../../model/pipeline.js";
import type { Database, Queryable } from "../../postgres/database.js";
import { contentsOf } from "../../sources/source.js";
import { createTableSource } from "../../sources/table/table-source.js";
import * as rowEndings from "../../store/requests/row-endings.js";
import type { RowEnding } from "../../store/requests/row-endings.js";
import { readAnswers, type StoredAnswer } from "../../targets/table/read-answers.js";
import type { Pipeline } from "../../worker/context.js";

export interface Writing {
  readonly database: Database;
  readonly pipeline: Pick<Pipeline, "id" | "config" | "table" | "answer">;
  readonly look: FileLook;
  readonly shape: RowShape;
  readonly limit: number | null;
  readonly out: string;
  readonly format: FileFormat | undefined;
  readonly escapeFormulas: boolean;
  /** A column for the reasons of records without an answer. */
  readonly errors: boolean;
  /** Nothing is written where a record has neither an answer nor an error. */
  readonly whole: boolean;
  /** For what is unpacked on the way. */
  readonly scratch: string;
  readonly signal: AbortSignal;
  readonly onPage: (records: number) => void;
}

export interface Written {
  readonly records: number;
  readonly answered: number;
  readonly failed: number;
  /** Neither: not sent, or on its way. */
  readonly open: number;
  /** The first ones. */
  readonly failures: readonly { readonly line: number; readonly error: string }[];
  readonly notes: readonly string[];
  /** The column that has them all. Null: none failed, or none was wanted. */
  readonly errorColumn: string | null;
}

const FAILURES_SHOWN = 5;

export async function writeAnswers(writing: Writing): Promise<Written> {
  const { look, limit, signal } = writing;
  const writer = await openOutput(writing);
  const sum = { records: 0, answered: 0, failed: 0, failures: [] as { line: number; error: string }[] };
  try {
    for await (const records of recordsOf({ look: () => Promise.resolve(look), limit }, signal)) {
      const joined = await joinPage(writing, records);
      await writer.write(joined);
      for (const { record, answer, error } of joined) {
        sum.records += 1;
        if (answer !== null) sum.answered += 1;
        if (error === null) continue;
        sum.failed += 1;
        if (sum.failures.length < FAILURES_SHOWN) sum.failures.push({ line: record.line, error });
      }
      writing.onPage(sum.records);
    }
    signal.throwIfAborted();
    const missing = sum.records - sum.answered - sum.failed;
    if (writing.whole && missing > 0) throw changedMeanwhile(look.path, missing);
    await writer.commit();
  } catch (error) {
    await writer.discard();
    throw error;
  }
  return {
    ...sum,
    open: sum.records - sum.answered - sum.failed,
    notes: writer.notes,
    errorColumn: writing.errors ? (writer.added.at(-1) ?? null) : null,
  };
}

function changedMeanwhile(path: string, records: number): RowmillError {
  const lines = records === 1 ? "1 line has" : `${records} lines have`;
  return new RowmillError("refused", `${path} changed during the run: ${lines} no answer yet.`, {
    hints: ["Run the same command again: it sends only these."],
  });
}

function openOutput({ out, look, pipeline, ...options }: Writing): Promise<RecordWriter> {
  const { format, errors, escapeFormulas, scratch, signal } = options;
  const { columns: answer } = pipeline.answer;
  return openWriter(out, look, { format, answer, errors, escapeFormulas, overwrite: true, scratch, signal });
}

async function joinPage(writing: Writing, records: readonly FileRecord[]): Promise<AnsweredRecord[]> {
  const rows = records.map((record) => ({ record, row: rowOf(record, writing.shape) }));
  const keys = [...new Set(rows.flatMap(({ row }) => ("problem" in row ? [] : [row.key])))];
  const known = await writing.database.transaction((tx) => readKnown(tx, writing, keys), { readOnly: true });
  return rows.map(({ record, row }) => {
    if ("problem" in row) return { record, answer: null, error: row.problem };
    const { ending, answer } = known(row);
    if (ending?.state === "succeeded" && answer !== undefined) return { record, answer: cellsOf(answer), error: null };
    const isOver = ending?.state === "failed" || ending?.state === "cancelled";
    return { record, answer: null, error: isOver ? (ending.error ?? ending.state) : null };
  });
}

type GoodRow = Exclude<FileRow, { readonly problem: string }>;
/** Nothing is known of a row that is not as it was asked about. */
type Known = (row: GoodRow) => { readonly ending?: RowEnding | undefined; readonly answer?: StoredAnswer | undefined };

async function readKnown(tx: Queryable, writing: Writing, keys: readonly string[]): Promise<Known> {
  const { config, table, answer, id } = writing.pipeline;
  const fields = answer.columns.map(({ field }) => ({ field, column: config.target.columns?.[field] ?? field }));
  const { table: target, trustOwner } = config.target;
  const endings = new Map((await rowEndings.ofKeys(tx, id, keys)).map((ending) => [ending.key, ending]));
  const answers = await readAnswers(tx, { table: target, trustOwner, source: table, fields }, keys);
  // Any other key is a hash of what was asked.
  const asked = writing.shape.keyColumn === null ? null : await readAsked(tx, writing, keys);
  return (row) => {
    if (asked !== null && !isAsAsked(row, asked, writing.shape)) return {};
    return { ending: endings.get(row.key), answer: answers.get(row.key) };
  };
}

/** By key. Null: too large to be asked. */
type Asked = ReadonlyMap<string, RowCells | null>;

/** The cells as they were read for the questions: the file may have changed since. */
async function readAsked(
  tx: Queryable,
  { pipeline: { id, config, table } }: Writing,
  keys: readonly string[],
): Promise<Asked> {
  const source = createTableSource(table, { pipelineId: id, where: config.source.where, skipBefore: null });
  const asked = new Map<string, RowCells | null>();
  for await (const rows of contentsOf(source, tx, keys)) for (const { key, cells } of rows) asked.set(key, cells);
  return asked;
}

function isAsAsked(row: GoodRow, asked: Asked, { columns }: RowShape): boolean {
  const cells = asked.get(row.key);
  if (cells == null) return cells === null;
  return columns.every((name) => (cells[name] ?? null) === (row.cells[name] ?? null));
}

function cellsOf({ json }: StoredAnswer): Readonly<Record<string, Json>> {
  return JSON.parse(json) as Record<string, Json>;
}
