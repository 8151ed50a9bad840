/** Passes over the ledger in id order, for the sweeper. */
import { sql, type Queryable } from "./database.js";

export interface LedgerChunk {
  readonly keys: readonly string[];
  /** Where the next chunk starts; null at the end. */
  readonly lastId: string | null;
}

/** Keys of requests that are neither in flight nor known to have no row, in these bounds. */
export async function ledgerChunk(
  tx: Queryable,
  pipelineId: number,
  { after, last, max }: { readonly after: string | null; readonly last: string; readonly max: number },
): Promise<LedgerChunk> {
  const rows = await tx.rows<{ id: string; key: string; skipped: boolean }>(sql`
    select id::text as id, key, state in ('gone', 'batched') or (state in ('succeeded', 'failed') and row_gone) as skipped from rowmill.requests
    where pipeline_id = ${pipelineId} and id > ${after ?? "0"}::bigint and id <= ${last}::bigint order by id limit ${max}`);
  const keys = rows.filter((row) => !row.skipped).map((row) => row.key);
  return { keys, lastId: rows.length === max ? (rows.at(-1)?.id ?? null) : null };
}
