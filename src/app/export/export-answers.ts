/**
 * Writes the answered rows of a pipeline into a file: key, columns and answer, page by page. The output appears as a
 * whole, or not at all. Only reads the database.
 */
import type { AnsweredRecord, FileFormat, FileLook } from "../../files/file-types.js";
import { formatByName } from "../../files/look-at-file.js";
import { openWriter } from "../../files/open-writer.js";
import { RowmillError } from "../../model/errors.js";
import type { Json, PipelineConfig } from "../../model/pipeline.js";
import { DatabaseError, type Database, type Queryable } from "../../postgres/database.js";
import { contentsOf, type Source } from "../../sources/source.js";
import { createTableSource } from "../../sources/table/table-source.js";
import * as rowEndings from "../../store/requests/row-endings.js";
import { readAnswers } from "../../targets/table/read-answers.js";
import type { ExaminedSource } from "../open/bind-pipeline.js";

/** Rows of one transaction. */
const PAGE_ROWS = 1_000;

export interface Exporting {
  readonly database: Database;
  readonly pipelineId: number;
  readonly examined: ExaminedSource;
  /** An SQL condition over the source. Null: all answered rows. */
  readonly where: string | null;
  readonly out: string;
  readonly format: FileFormat | undefined;
  readonly escapeFormulas: boolean;
  readonly scratch: string;
  readonly signal: AbortSignal;
  readonly onPage: (rows: number) => void;
}

/** @throws RowmillError `usage` for a condition that the database refuses, `refused` where the output cannot be made */
export async function exportAnswers(
  exporting: Exporting,
): Promise<{ readonly rows: number; readonly notes: readonly string[] }> {
  const { examined, out, escapeFormulas, scratch, signal, onPage } = exporting;
  const format = exporting.format ?? formatByName(out) ?? "csv";
  const { columns: answer } = examined.answer;
  const look = tableLook(examined.config.source, format);
  const writer = await openWriter(out, look, {
    format,
    answer,
    errors: false,
    escapeFormulas,
    overwrite: true,
    scratch,
    signal,
  });
  let rows = 0;
  try {
    for await (const records of pagesOf(exporting)) {
      signal.throwIfAborted();
      await writer.write(records);
      rows += records.length;
      onPage(rows);
    }
    await writer.commit();
  } catch (error) {
    await writer.discard();
    throw error;
  }
  return { rows, notes: writer.notes };
}

/** Rows that never were a file: of another format, so that the writer makes their text itself. */
function tableLook({ key, columns }: PipelineConfig["source"], format: FileFormat): FileLook {
  return {
    path: process.execPath,
    bytes: 0,
    format: format === "tsv" ? "csv" : "tsv",
    gzip: false,
    encoding: "utf-8",
    bom: false,
    delimiter: format === "tsv" ? "," : "\t",
    lineEnd: "\n",
    columns: [...new Set([...key, ...columns])],
    examples: [],
    notes: [],
    rows: null,
    head: "",
    body: { at: 0, line: 1 },
  };
}

async function* pagesOf(exporting: Exporting): AsyncGenerator<AnsweredRecord[]> {
  const { database, pipelineId, examined, where } = exporting;
  const own = examined.config.source.where;
  const both = where === null ? own : own === null ? where : `(${own}\n) and (${where}\n)`;
  const source = createTableSource(examined.table, { pipelineId, where: both, skipBefore: null });
  for (let after = "0"; ;) {
    const page = await rowEndings.answeredPage(database, pipelineId, { after, max: PAGE_ROWS });
    const last = page.at(-1);
    if (last === undefined) return;
    after = last.id;
    const keys = page.map(({ key }) => key);
    yield await explained(where, () =>
      database.transaction((tx) => readPage(tx, exporting, { source, keys }), { readOnly: true }),
    );
  }
}

async function explained<T>(where: string | null, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (where === null || !(error instanceof DatabaseError) || error.sqlState === null) throw error;
    throw new RowmillError("usage", `--where: ${error.message}`, { cause: error });
  }
}

async function readPage(
  tx: Queryable,
  { examined }: Exporting,
  { source, keys }: { readonly source: Source; readonly keys: readonly string[] },
): Promise<AnsweredRecord[]> {
  const { config, table, answer } = examined;
  const { table: target, trustOwner, columns } = config.target;
  const fields = answer.columns.map(({ field }) => ({ field, column: columns?.[field] ?? field }));
  const answers = await readAnswers(tx, { table: target, trustOwner, source: table, fields }, keys);
  const records: AnsweredRecord[] = [];
  for await (const rows of contentsOf(source, tx, keys)) {
    for (const { key, cells } of rows) {
      const found = answers.get(key);
      if (found === undefined) continue;
      const record = { line: 0, raw: null, cells: { ...keyCells(config.source.key, key), ...cells } };
      records.push({ record, answer: JSON.parse(found.json) as Record<string, Json>, error: null });
    }
  }
  return records;
}

/** As the ledger spells it: a composite key is a JSON array. */
function keyCells(names: readonly string[], key: string): Record<string, string> {
  const parts = names.length === 1 ? [key] : (JSON.parse(key) as unknown[]).map(String);
  return Object.fromEntries(names.map((name, at) => [name, parts[at] ?? ""]));
}
