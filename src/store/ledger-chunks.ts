/** Passes over the ledger in id order, for the sweeper. */
import { sql, type Queryable } from "./database.js";

export interface LedgerChunk {
  readonly keys: readonly string[];
  /** Where the next chunk starts; null at the end. */
  readonly lastId: string | null;
}

/** Keys of requests that are neither gone nor in flight, after this id. */
export async function ledgerChunk(
  tx: Queryable,
  pipelineId: number,
  after: string | null,
  max: number,
): Promise<LedgerChunk> {
  const rows = await tx.rows<{ id: string; key: string; state: string }>(sql`
    select id::text as id, key, state from rowmill.requests
    where pipeline_id = ${pipelineId} and id > ${after ?? "0"}::bigint order by id limit ${max}`);
  const keys = rows.filter((row) => row.state !== "gone" && row.state !== "batched").map((row) => row.key);
  return { keys, lastId: rows.length === max ? (rows.at(-1)?.id ?? null) : null };
}
