/** What your decision about a restored or copied ledger changes: lost and shared batches, and their rows. */
import { sql, type Queryable, type Reader } from "../../postgres/database.js";
import { OPEN_OF } from "../batches/in-flight.js";

export interface UnfinishedBatch {
  readonly id: string;
  readonly pipelineId: number;
  readonly account: string;
  /** A create is done or may be on its way. */
  readonly sent: boolean;
  /** Null: none is known. */
  readonly providerBatchId: string | null;
  /** Requests in it without an answer. */
  readonly rows: number;
}

/** Oldest first. */
export async function unfinishedBatches(client: Reader): Promise<UnfinishedBatch[]> {
  return client.rows<UnfinishedBatch>(sql`
    select b.id, b.pipeline_id as "pipelineId", b.account, b.provider_batch_id as "providerBatchId",
      b.provider_batch_id is not null or b.create_intent_at is not null as sent,
      (${OPEN_OF} - (select count(*) from rowmill.kept_answers k where k.batch = b.no))::int as rows
    from rowmill.batches b
    where b.settled_at is null
    order by b.planned_at, b.id`);
}

/** Everything at the provider also belongs to the other database. */
export async function shareBatches(tx: Queryable): Promise<void> {
  await tx.run(sql`update rowmill.batches set shared = true where not shared`);
}

/** False: the ledger has a batch of that id. */
export async function isFreeId(tx: Queryable, id: string): Promise<boolean> {
  return (await tx.first(sql`select 1 as one from rowmill.batches where id = ${id}`)) === null;
}

/** You know that the results of these batches are gone: the collector does not ask again. */
export async function believeMissing(client: Queryable, ids: readonly string[]): Promise<void> {
  await client.run(sql`update rowmill.batches set told_at = clock_timestamp() where id = any(${ids}::uuid[])`);
}

export async function pipelineIdsOf(client: Reader): Promise<number[]> {
  return client.column<number>(sql`select id from rowmill.pipelines order by id`);
}
