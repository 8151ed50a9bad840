/** Passes over a pipeline's part of the ledger, for the sweeper: in the order of its keys, for which there is an index. */
import { sql, type Queryable, type Sql } from "./database.js";
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
      select key, state operator(pg_catalog.=) any ('{gone,batched}'::rowmill.request_state[])
        or (state operator(pg_catalog.=) any ('{succeeded,failed}'::rowmill.request_state[]) and row_gone) as skipped
      from rowmill.requests
      where pipeline_id operator(pg_catalog.=) ${pipelineId} and key operator(pg_catalog.>) ${after ?? ""}
        and id operator(pg_catalog.<=) ${lastId}::pg_catalog.int8
      order by key limit ${max})
    select (select case when pg_catalog.count(*) operator(pg_catalog.=) ${max}::pg_catalog.int8 then pg_catalog.max(key) end from part) as "lastKey",
      (select coalesce(pg_catalog.json_agg(p.key), '[]') from part p where not p.skipped and ${missing}) as keys`;
  const found = await tx.first<LedgerChunk>(rows === null ? statement : rows.statement(statement));
  return found ?? { keys: [], lastKey: null };
}
