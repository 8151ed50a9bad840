/** The intent to create a provider batch, committed before the call. */
import type { Json } from "../../model/pipeline.js";
import { update, type Lease } from "./batches.js";
import { DatabaseError, sql, type Queryable, type Reader } from "../../postgres/database.js";

const UNIQUE_VIOLATION = "23505";

/** Whether the account has another open create that only circumstance tells apart. */
export async function isOtherOpen(client: Reader, batchId: string): Promise<boolean> {
  const row = await client.first(sql`
    select 1 as one
    from rowmill.batches b
    join rowmill.batches o on o.account = b.account and o.id <> b.id
    where b.id = ${batchId} and o.one_create and o.create_intent_at is not null
    limit 1`);
  return row !== null;
}

export interface WaitingCreates {
  readonly count: number;
  /** Of the open create that they wait for. */
  readonly batchId: string;
  readonly pipeline: string;
}

/** Batches whose create waits for an open one of the account, whose pipeline needs attention. Null: there are none. */
export async function waitingForPerson(client: Reader, pipelineId: number): Promise<WaitingCreates | null> {
  return client.first<WaitingCreates>(sql`
    select count(*)::int as count, o.id as "batchId", p.name as pipeline
    from rowmill.batches b
    join rowmill.batches o on o.account = b.account
      and o.id <> b.id
      and o.one_create
      and o.create_intent_at is not null
    join rowmill.pipelines p on p.id = o.pipeline_id
    where b.pipeline_id = ${pipelineId}
      and b.state = 'submitting'
      and b.create_intent_at is null
      and p.pause_kind not in ('person', 'budget', 'answers', 'deletions')
    group by o.id, p.name`);
}

/** From now on a create may be on its way. "taken": another one of the account is open, and `alone` allows only one. */
export async function intend(
  client: Queryable,
  lease: Lease,
  { baseline, alone }: { baseline: Json | null; alone: boolean },
): Promise<"intended" | "taken" | "lost"> {
  if (alone && (await isOtherOpen(client, lease.batchId))) return "taken";
  try {
    const fields = { providerData: { baseline }, oneCreate: alone, createIntent: true } as const;
    return (await update(client, lease, fields)) ? "intended" : "lost";
  } catch (error) {
    // Two workers saw no open one at the same time.
    if (alone && isTaken(error)) return "taken";
    throw error;
  }
}

export function isTaken(error: unknown): boolean {
  return error instanceof DatabaseError && error.sqlState === UNIQUE_VIOLATION;
}
