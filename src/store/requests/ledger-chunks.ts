/** Passes over a pipeline's part of the ledger, for the sweeper: in the order of its keys, for which there is an index. */
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

/** Of a request that has no row, as far as is known, there is nothing to find out. */
const isWithoutRow = (of: Sql): Sql => sql`(${of}.state operator(pg_catalog.=) 'gone'
  or (${of}.state operator(pg_catalog.=) any ('{succeeded,failed}'::rowmill.request_state[]) and ${of}.row_gone))`;

/**
 * Of a set of requests, by their ids; in whatever order and pieces, since the XOR of two sets that share none is that of both. `of`: with id, state
 * and row_gone. A sweep compares that of the requests whose rows it met with that of all: a request whose row is gone is in the second one alone. What
 * moves meanwhile, or is met twice under two keys, makes the two differ, which costs a pass over the ledger, and never hides another one.
 */
export function metHash(of: Sql, lastId: string): Sql {
  return sql`coalesce(pg_catalog.bit_xor(pg_catalog.hashint8extended(${of}.id, 0)) filter (where ${of}.id
    operator(pg_catalog.<=) ${lastId}::pg_catalog.int8
    and not ${isWithoutRow(of)}),
    0)::pg_catalog.text`;
}

/** What a pass over all rows meets when each request up to this one has its row. */
export async function metByAll(tx: Queryable, pipelineId: number, lastId: string): Promise<string> {
  const row = await tx.first<{ met: string }>(sql`
    select ${metHash(sql`r`, lastId)} as met
    from rowmill.requests r
    where r.pipeline_id = ${pipelineId}`);
  return row?.met ?? "0";
}

/**
 * Keys of the next requests, in these bounds, that are neither in flight nor known to have no row: those that have none now. `rows` null: all
 * of them, for whoever looks at each.
 */
export async function ledgerChunk(
  tx: Queryable,
  bounds: ChunkBounds,
  rows: RowSql | null,
): Promise<LedgerChunk> {
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
