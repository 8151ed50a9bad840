/**
 * Writes answers into a table whose ledger is elsewhere: each carries a fence, and loses to a row with a greater one.
 * So a repeated or late write changes nothing, however it was interrupted. A deleted answer leaves its row with the
 * fence and without cells, since other columns of the row are not ours to delete.
 */
import { bisect } from "../../postgres/bisect.js";
import {
  DatabaseError,
  identifier,
  isDataError,
  raw,
  sentAhead,
  sql,
  underRolePath,
  type Queryable,
} from "../../postgres/database.js";
import { keyEquals } from "../../sources/table/inspection.js";
import { NOT_HELD, withFence, type FencedResult, type FencedTable, type FencedWrite } from "./fenced.js";
import { createTableTarget, recordsetOf, upsertStatement } from "./table-target.js";
import { writePartBack } from "./write-back.js";

/** Each may last as long as a lock may. */
const LOCK_WAITS_MAX = 10;

/** Of the transaction. */
export const LOCK_MS_MAX = 1_000;

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
