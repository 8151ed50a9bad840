/** Which of a provider's batches this ledger knows. Only reads. */
import { sql, type Queryable } from "./database.js";

/** Of these ids, those of a batch of ours, or of one that was noted as astray. */
export async function knownProviderBatches(
  client: Queryable,
  ids: readonly string[],
): Promise<ReadonlySet<string>> {
  const rows = await client.rows<{ id: string }>(sql`
    select provider_batch_id as id from rowmill.batches where provider_batch_id = any(${[...ids]}::text[])
    union select provider_batch_id from rowmill.stray_batches where provider_batch_id = any(${[...ids]}::text[])`);
  return new Set(rows.map((row) => row.id));
}
