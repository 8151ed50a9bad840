/** The sweeper's passes over a pipeline's requests, in key order. */
import { sql, type Queryable, type Sql } from "../../postgres/database.js";
import type { RowSql } from "./row-sql.js";

export interface LedgerChunk {
  readonly keys: readonly string[];
  /** Where the next chunk starts; null at the end. */
  readonly lastKey: string | null;
}

export interface ChunkBounds {
  readonly pipelineId: number;
  /** A key; null: from the start. */
  readonly after: string | null;
  /** The id of the newest request that counts. */
  readonly lastId: string;
  readonly max: number;
}

/** Of a request without a row there is nothing to find out. */
const isWithoutRow = (of: Sql): Sql => sql`(${of}.state operator(pg_catalog.=) 'gone'
  or (${of}.state operator(pg_catalog.=) any ('{succeeded,failed}'::rowmill.request_state[]) and ${of}.row_gone))`;

/**
 * A hash of a set of requests, by XOR of their ids, so in any order and pieces. `of`: with id, state and row_gone. A
 * sweep compares the requests whose rows it met with all: one whose row is gone is only in the latter. Requests that
 * move in between make the two differ, which costs a pass over the ledger but hides nothing.
 */
export function metHash(of: Sql, lastId: string): Sql {
  return sql`coalesce(pg_catalog.bit_xor(pg_catalog.hashint8extended(${of}.id, 0)) filter (where ${of}.id
    operator(pg_catalog.<=) ${lastId}::pg_catalog.int8
    and not ${isWithoutRow(of)}),
    0)::pg_catalog.text`;
}

/** The hash of all requests up to this one. */
export async function metByAll(tx: Queryable, pipelineId: number, lastId: string): Promise<string> {
  const row = await tx.first<{ met: string }>(sql`
    select ${metHash(sql`r`, lastId)} as met
    from rowmill.requests r
    where r.pipeline_id = ${pipelineId}`);
  return row?.met ?? "0";
}

/** The next keys without a row (`rows` null: with one or not), except those in flight or known to have none. */
export async function ledgerChunk(tx: Queryable, bounds: ChunkBounds, rows: RowSql | null): Promise<LedgerChunk> {
  const { pipelineId, after, lastId, max } = bounds;
  const missing: Sql = rows === null ? sql`true` : sql`not ${rows.exists(sql`p.key`)}`;
  const statement = sql`
    with part as materialized (
      select key, state operator(pg_catalog.=) 'batched' or ${isWithoutRow(sql`r`)} as skipped
      from rowmill.requests r
      where pipeline_id operator(pg_catalog.=) ${pipelineId}
        and key operator(pg_catalog.>) ${after ?? ""}
        and id operator(pg_catalog.<=) ${lastId}::pg_catalog.int8
      order by key
      limit ${max})
    select (
      select case
        when pg_catalog.count(*) operator(pg_catalog.=) ${max}::pg_catalog.int8 then pg_catalog.max(key) end
      from part) as "lastKey",
      (select coalesce(pg_catalog.json_agg(p.key), '[]') from part p where not p.skipped and ${missing}) as keys`;
  const found = await tx.first<LedgerChunk>(rows === null ? statement : rows.statement(statement));
  return found ?? { keys: [], lastKey: null };
}
