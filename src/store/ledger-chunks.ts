/** Passes over the ledger in id order, for the sweeper. */
import { sql, type Queryable, type Sql } from "./database.js";
import type { RowSql } from "./row-sql.js";

export interface LedgerChunk {
  readonly keys: readonly string[];
  /** Where the next chunk starts; null at the end. */
  readonly lastId: string | null;
}

export interface ChunkBounds {
  readonly pipelineId: number;
  readonly after: string | null;
  readonly last: string;
  readonly max: number;
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
  const { pipelineId, after, last, max } = bounds;
  const missing: Sql = rows === null ? sql`true` : sql`not ${rows.exists(sql`p.key`)}`;
  const statement = sql`
    with part as materialized (
      select id, key, state operator(pg_catalog.=) any ('{gone,batched}'::rowmill.request_state[])
        or (state operator(pg_catalog.=) any ('{succeeded,failed}'::rowmill.request_state[]) and row_gone) as skipped
      from rowmill.requests
      where pipeline_id operator(pg_catalog.=) ${pipelineId} and id operator(pg_catalog.>) ${after ?? "0"}::pg_catalog.int8
        and id operator(pg_catalog.<=) ${last}::pg_catalog.int8
      order by id limit ${max})
    select (select case when pg_catalog.count(*) operator(pg_catalog.=) ${max}::pg_catalog.int8 then pg_catalog.max(id)::pg_catalog.text end from part) as "lastId",
      (select coalesce(pg_catalog.json_agg(p.key), '[]') from part p where not p.skipped and ${missing}) as keys`;
  const found = await tx.first<LedgerChunk>(rows === null ? statement : rows.statement(statement));
  return found ?? { keys: [], lastId: null };
}
