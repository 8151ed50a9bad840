/**
 * Writes answers into the rows that they were asked with, in the source's own table elsewhere: only where a row still
 * has that content, which is compared as the texts that a reading gives, while the row is locked. Then the row is read
 * again: a trigger of the user may have changed it. No row is ever inserted or deleted.
 */
import type { RowCells } from "../../model/pipeline.js";
import { identifier, join, raw, sentAhead, sql, underRolePath, type Queryable } from "../../postgres/database.js";
import type { TableColumn } from "../../sources/table/columns.js";
import { keyEquals, textOf } from "../../sources/table/inspection.js";
import { NOT_HELD, withFence, type FencedResult, type FencedTable, type FencedWrite } from "./fenced.js";
import { createTableTarget, recordsetOf, updateStatement } from "./table-target.js";

type SourceTable = FencedTable & { readonly content: readonly TableColumn[] };

/** Adds to what was found once nothing can fail any more. */
export async function writePartBack(
  tx: Queryable,
  source: SourceTable,
  results: readonly FencedResult[],
  found: FencedWrite,
): Promise<void> {
  const keys = results.map(({ key }) => key);
  const { busy } = await createTableTarget(source.table).lockFree(tx, keys);
  const free = results.filter(({ key }) => !busy.has(key));
  const before = await readRows(tx, source, free);
  const writable = free.filter((result) => fate(result, before.get(result.key)) === "write");
  const after = writable.length === 0 ? before : await update(tx, source, writable);
  found.busy.push(...busy);
  for (const result of free) {
    const row = before.get(result.key);
    const decided = fate(result, row);
    if (decided === "write") noteWritten(result, after.get(result.key), found);
    else if (decided === "stale") found.stale.push({ key: result.key, fence: row?.fence ?? "0" });
    else found[decided].push(result.key);
  }
}

/** Of a row that is locked. */
interface Row {
  readonly cells: RowCells;
  readonly fence: string;
}

/** `written`: it has this answer from an earlier write, or there is nothing to delete. */
function fate(
  { fence, model, expect = null }: FencedResult,
  row: Row | undefined,
): "write" | "written" | "stale" | "changed" {
  const isDeletion = model === null;
  if (row === undefined) return isDeletion ? "written" : "changed";
  const [theirs, ours] = [BigInt(row.fence), BigInt(fence)];
  if (theirs > ours) return "stale";
  if (theirs === ours) return "written";
  const isAsAsked = Object.entries(row.cells).every(([name, text]) => text === expect?.[name]);
  return isDeletion || isAsAsked ? "write" : "changed";
}

function noteWritten({ key, fence, model }: FencedResult, row: Row | undefined, found: FencedWrite): void {
  if (row?.fence !== fence) found.failed.push({ key, reason: NOT_HELD });
  else {
    found.written.push(key);
    // A row without an answer is asked again anyway.
    if (model !== null) found.rows.push({ key, row: row.cells });
  }
}

/** The rows afterwards. Deferred triggers run at once: the COMMIT is too late to read what they do. */
async function update(
  tx: Queryable,
  source: SourceTable,
  results: readonly FencedResult[],
): Promise<ReadonlyMap<string, Row>> {
  const { table, fence } = source;
  await tx.run(sentAhead(underRolePath(updateStatement(table, recordsetOf(table, results.map(withFence(fence)))))));
  await tx.run(sentAhead(underRolePath(sql`set constraints all immediate`)));
  return readRows(tx, source, results);
}

async function readRows(
  tx: Queryable,
  { table, fence, content }: SourceTable,
  results: readonly FencedResult[],
): Promise<ReadonlyMap<string, Row>> {
  const cells = content.map((column) => sql`${column.name}::text, ${raw(textOf("t", column))}`);
  const rows = await tx.rows<Row & { key: string }>(sql`
    select k.key, json_build_object(${join(cells)}) as cells, coalesce(t.${identifier(fence)}, 0)::text as fence
    from unnest(${results.map(({ key }) => key)}::text[]) as k (key)
    join ${raw(table.from)} t on ${keyEquals("t", table.key, sql`k.key`)}`);
  return new Map(rows.map((row) => [row.key, row]));
}
