/** What a person's word about a restored or copied ledger changes in it: batches that are lost or shared, and the rows in them. */
import { sql, type Queryable, type Reader } from "../../postgres/database.js";
import { OPEN_OF } from "../batches/in-flight.js";

export interface UnfinishedBatch {
  readonly id: string;
  readonly pipelineId: number;
  readonly account: string;
  /** A create may be on its way, or is done: it is not taken back. */
  readonly sent: boolean;
  /** Null: none is known. */
  readonly providerBatchId: string | null;
  /** Requests in it whose answer is not here. */
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

/** Everything that this ledger has at the provider is the other database's too. */
export async function shareBatches(tx: Queryable): Promise<void> {
  await tx.run(sql`update rowmill.batches set shared = true where not shared`);
}

/** Of these requests, those that wait; locked in id order. */
export async function lockWaitingById(
  tx: Queryable,
  pipelineId: number,
  ids: readonly string[],
): Promise<{ id: string; key: string }[]> {
  return tx.rows(sql`
    select id::text as id, key
    from rowmill.requests
    where pipeline_id = ${pipelineId}
      and id = any(${ids}::bigint[])
      and state = 'waiting'
    order by requests.id
    for update`);
}

/** False: a batch of that id is in the ledger, under another provider batch or none. */
export async function isFreeId(tx: Queryable, id: string): Promise<boolean> {
  return (await tx.first(sql`select 1 as one from rowmill.batches where id = ${id}`)) === null;
}

/** A person was told that results of these batches are gone: the collector asks nobody again. */
export async function believeMissing(client: Queryable, ids: readonly string[]): Promise<void> {
  await client.run(sql`
    update rowmill.batches
    set told_at = clock_timestamp()
    where id = any(${ids}::uuid[])`);
}

export async function pipelineIdsOf(client: Reader): Promise<number[]> {
  const rows = await client.rows<{ id: number }>(sql`select id from rowmill.pipelines order by id`);
  return rows.map((row) => row.id);
}
