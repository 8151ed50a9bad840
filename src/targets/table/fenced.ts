/**
 * Writes answers into a table whose ledger is elsewhere: each carries a fence, and loses to a row with a greater one.
 * So a repeated or late write changes nothing, however it was interrupted. A deleted answer leaves its row with the
 * fence and without cells, since other columns of the row are not ours to delete.
 */
import type { RowCells } from "../../model/pipeline.js";
import { bisect } from "../../postgres/bisect.js";
import {
  DatabaseError,
  identifier,
  isDataError,
  raw,
  sentAhead,
  sql,
  underRolePath,
  join,
  type Queryable,
} from "../../postgres/database.js";
import { fateOf, type LockedRow } from "../../model/write-back.js";
import type { TableColumn } from "../../sources/table/columns.js";
import { keyEquals, textOf } from "../../sources/table/inspection.js";
import {
  createTableTarget,
  recordsetOf,
  upsertStatement,
  updateStatement,
  type TargetTable,
  type WrittenResult,
} from "./table-target.js";

/** Each may last as long as a lock may. */
const LOCK_WAITS_MAX = 10;
/** Of the transaction. */
export const LOCK_MS_MAX = 1_000;
/** Why a row has no answer although the database reported no error. */
const NOT_HELD = "a trigger or rule of the table did something else";

/** The table's columns include the fence. */
export interface FencedTable {
  readonly table: TargetTable;
  readonly fence: string;
  /** Of the source's own rows, into which answers are written back: what they were asked with. Null: other rows. */
  readonly content: readonly TableColumn[] | null;
}

export interface FencedResult {
  readonly key: string;
  /** Decimal digits of a bigint. */
  readonly fence: string;
  readonly cells: WrittenResult["cells"];
  /** Null: deleted. */
  readonly model: string | null;
  /** Where answers are written back: what the row was asked with. */
  readonly expect?: RowCells | null;
}

interface FencedWrite {
  /** The table holds these answers, also from an earlier write. */
  readonly written: string[];
  readonly stale: { readonly key: string; readonly fence: string }[];
  /** Where answers are written back: rows that are not as they were asked. */
  readonly changed: string[];
  readonly busy: string[];
  readonly failed: { readonly key: string; readonly reason: string }[];
  /** Where answers are written back: the rows as this write leaves them. */
  readonly rows: { readonly key: string; readonly row: RowCells }[];
}

function withFence(column: string): (result: FencedResult) => WrittenResult {
  return ({ key, fence, cells, model }) => ({ key, model, version: null, cells: { ...cells, [column]: fence } });
}

/** One result a key. The caller bounds their number, and repeats the transaction if it fails. */
export async function writeFenced(
  tx: Queryable,
  fenced: FencedTable,
  results: readonly FencedResult[],
): Promise<FencedWrite> {
  const found: FencedWrite = { written: [], stale: [], changed: [], busy: [], failed: [], rows: [] };
  // In one order, so that two workers with new keys wait for each other one way only.
  const sorted = results.toSorted((a, b) => (a.key < b.key ? -1 : 1));
  let waits = 0;
  await bisect(
    tx,
    sorted,
    async (part) => {
      if (waits >= LOCK_WAITS_MAX) found.busy.push(...part.map(({ key }) => key));
      else if (fenced.content === null) await writePart(tx, fenced, part, found);
      else await writePartBack(tx, { ...fenced, content: fenced.content }, part, found);
    },
    ({ key }, error) => {
      if (isLockTimeout(error)) found.busy.push(key);
      else found.failed.push({ key, reason: error.message });
      return Promise.resolve();
    },
    (error) => {
      const isLocked = isLockTimeout(error);
      if (isLocked) waits++;
      return isLocked || isOfRow(error);
    },
  );
  return found;
}

/** A key that another transaction inserts has no row yet that could be locked. */
function isLockTimeout(error: Error): boolean {
  return error instanceof DatabaseError && error.sqlState === "55P03";
}

/** P0001: a trigger raised it. 21000: two keys are equal for the table. */
function isOfRow(error: Error): boolean {
  return isDataError(error) || (error instanceof DatabaseError && /^(P0001|21000)$/.test(error.sqlState ?? ""));
}

/** Adds to what was found once nothing can fail any more. */
async function writePart(
  tx: Queryable,
  fenced: FencedTable,
  results: readonly FencedResult[],
  found: FencedWrite,
): Promise<void> {
  const { table, fence } = fenced;
  const target = createTableTarget(table);
  const { busy } = await target.lockFree(
    tx,
    results.map(({ key }) => key),
  );
  const free = results.filter(({ key }) => !busy.has(key));
  const column = identifier(fence);
  await tx.run(
    sentAhead(
      underRolePath(sql`
        ${upsertStatement(table, recordsetOf(table, free.map(withFence(fence))))}
        where coalesce(t.${column}, 0) operator(pg_catalog.<) excluded.${column}`),
    ),
  );
  const fences = await fencesOf(
    tx,
    fenced,
    free.map(({ key }) => key),
  );
  found.busy.push(...busy);
  for (const { key, fence: ours } of free) {
    const theirs = fences.get(key) ?? 0n;
    if (theirs === BigInt(ours)) found.written.push(key);
    else if (theirs > BigInt(ours)) found.stale.push({ key, fence: String(theirs) });
    else found.failed.push({ key, reason: NOT_HELD });
  }
}

/** What the rows hold tells more than what a statement returns: a trigger may write elsewhere. */
async function fencesOf(
  tx: Queryable,
  { table, fence }: FencedTable,
  keys: readonly string[],
): Promise<ReadonlyMap<string, bigint>> {
  const rows = await tx.rows<{ key: string; fence: string }>(sql`
    select k.key, t.${identifier(fence)}::text as fence
    from unnest(${[...keys]}::text[]) as k (key)
    join ${raw(table.from)} t on ${keyEquals("t", table.key, sql`k.key`)}
    where t.${identifier(fence)} is not null`);
  return new Map(rows.map((row) => [row.key, BigInt(row.fence)]));
}

type SourceTable = FencedTable & { readonly content: readonly TableColumn[] };

/**
 * Into the source's own rows: only where a row still has the content that it was asked with, which is compared as the
 * texts that a reading gives, while the row is locked. Then the row is read again: a trigger of the user may have
 * changed it. No row is ever inserted or deleted. Adds to what was found once nothing can fail any more.
 */
async function writePartBack(
  tx: Queryable,
  source: SourceTable,
  results: readonly FencedResult[],
  found: FencedWrite,
): Promise<void> {
  const keys = results.map(({ key }) => key);
  const { busy } = await createTableTarget(source.table).lockFree(tx, keys);
  const free = results.filter(({ key }) => !busy.has(key));
  const before = await readRows(tx, source, free);
  const writable = free.filter((result) => fateOf(result, before.get(result.key)) === "write");
  const after = writable.length === 0 ? before : await update(tx, source, writable);
  found.busy.push(...busy);
  for (const result of free) {
    const row = before.get(result.key);
    const decided = fateOf(result, row);
    if (decided === "write") noteWritten(result, after.get(result.key), found);
    else if (decided === "stale") found.stale.push({ key: result.key, fence: row?.fence ?? "0" });
    else found[decided].push(result.key);
  }
}

function noteWritten({ key, fence, model }: FencedResult, row: LockedRow | undefined, found: FencedWrite): void {
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
): Promise<ReadonlyMap<string, LockedRow>> {
  const { table, fence } = source;
  await tx.run(sentAhead(underRolePath(updateStatement(table, recordsetOf(table, results.map(withFence(fence)))))));
  await tx.run(sentAhead(underRolePath(sql`set constraints all immediate`)));
  return readRows(tx, source, results);
}

async function readRows(
  tx: Queryable,
  { table, fence, content }: SourceTable,
  results: readonly FencedResult[],
): Promise<ReadonlyMap<string, LockedRow>> {
  const cells = content.map((column) => sql`${column.name}::text, ${raw(textOf("t", column))}`);
  const rows = await tx.rows<LockedRow & { key: string }>(sql`
    select k.key, json_build_object(${join(cells)}) as cells, coalesce(t.${identifier(fence)}, 0)::text as fence
    from unnest(${results.map(({ key }) => key)}::text[]) as k (key)
    join ${raw(table.from)} t on ${keyEquals("t", table.key, sql`k.key`)}`);
  return new Map(rows.map((row) => [row.key, row]));
}
