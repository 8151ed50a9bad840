/** Files of ended batches, at the provider and on this machine. */
import type { Json } from "../../model/pipeline.js";
import type { BatchRef } from "../../model/provider/provider.js";
import { sql, type Queryable, type Reader } from "../../postgres/database.js";
import { SUSPICION_VALUE } from "./deployment.js";
import { NO_DATA, type ProviderData } from "../batches/batch-fields.js";

export interface Forgettable {
  readonly id: string;
  readonly pipelineId: number;
  readonly account: string;
  /** Null: it was never created. */
  readonly batch: BatchRef | null;
  readonly staged: Json | null;
}

/** Ended batches of these accounts with files left at the provider; not those shared with another database. */
export async function forgettable(
  client: Reader,
  of: { readonly pipelineIds: readonly number[]; readonly accounts: readonly string[] },
  limit: number,
): Promise<Forgettable[]> {
  const rows = await client.rows<{ providerBatchId: string | null; data: Partial<ProviderData> } & Forgettable>(sql`
    select id, pipeline_id as "pipelineId", account, provider_batch_id as "providerBatchId", provider_data as data
    from rowmill.batches
    where settled_at is not null
      and forgotten_at is null
      and adopted_pattern is null
      and not shared
      and not presumed
      and ${SUSPICION_VALUE} is null
      and pipeline_id = any(${of.pipelineIds}::int[])
      and account = any(${of.accounts}::text[])
    order by settled_at
    limit ${limit}`);
  return rows.map(({ providerBatchId, data, ...batch }) => {
    const { staged, refs } = { ...NO_DATA, ...data };
    return { ...batch, staged, batch: providerBatchId === null ? null : { id: providerBatchId, refs } };
  });
}

export async function noteForgotten(client: Queryable, id: string): Promise<void> {
  await client.run(sql`update rowmill.batches set forgotten_at = now() where id = ${id}`);
}

/** Of these ids, those of batches that still need their spool file. */
export async function needSpool(client: Reader, ids: readonly string[]): Promise<ReadonlySet<string>> {
  const needed = await client.column<string>(sql`
    select id
    from rowmill.batches
    where id::text = any(${ids}::text[])
      and (state in ('planned', 'uploading', 'submitting') or (presumed and settled_at is null))`);
  return new Set(needed);
}
