/** What you want cancelled: recorded here, and done by the batch's next turn, whichever worker takes it. */
import type { CancelFacts, CancelWish } from "../../model/batch/cancelling.js";
import { sql, type Queryable, type Reader } from "../../postgres/database.js";
import * as wake from "../ledger/wake.js";
import { OPEN_OF } from "./in-flight.js";
import { addBatchEvent } from "./batches.js";
import type { BatchState } from "../../model/batch/batch-transitions.js";

export interface CancelCandidate extends CancelFacts {
  readonly id: string;
  readonly cancel: CancelWish | null;
  readonly pipeline: string;
  readonly provider: string;
  readonly account: string;
  readonly providerBatchId: string | null;
  /** Rows without an ending; while it is planned, those that are queued for it too. */
  readonly rows: number;
  /** Of them, while none has ended: those that share the line of another one. */
  readonly sharing: number;
  /** Lines that the provider had done at the last look. */
  readonly done: number;
  readonly reservedNanoUsd: number;
  /** By the attempts that have ended. */
  readonly costNanoUsd: number;
}

/** Of these batches, or of a pipeline the unfinished ones, oldest first. */
export async function candidates(
  client: Reader,
  which: { readonly id: string } | { readonly pipelineId: number },
  max: number,
): Promise<CancelCandidate[]> {
  const meant =
    "id" in which ? sql`b.id = ${which.id}::uuid` : sql`b.pipeline_id = ${which.pipelineId} and b.settled_at is null`;
  return client.rows<CancelCandidate>(sql`
    select b.id, p.name as pipeline, b.provider, b.account, b.provider_batch_id as "providerBatchId", b.state,
      b.create_intent_at is not null as "isCreateOpen", b.shared, b.presumed,
      case
        when b.cancel_wanted_at is not null
          then json_build_object('drops', b.cancel_drops, 'asked', b.cancel_asked_at is not null) end as cancel,
      case
        when b.settled_at is not null then 0
        else ${OPEN_OF} + (select coalesce(sum(q.n), 0) from rowmill.queue q where q.batch = b.no)::int end as rows,
      b.sharing,
      coalesce((b.provider_counts ->> 'completed')::int, 0) + coalesce((b.provider_counts ->> 'failed')::int, 0)
        as done,
      b.reserved_nano_usd::float8 as "reservedNanoUsd",
      (b.cost_nano_usd + coalesce(
        (select sum(u.cost_nano_usd) from rowmill.usage u where u.batch = b.no), 0))::float8 as "costNanoUsd"
    from rowmill.batches b
    join rowmill.pipelines p on p.id = b.pipeline_id
    where ${meant}
    order by b.planned_at, b.id
    limit ${max}`);
}

/**
 * Records the wish and makes the batch due at once. Needs no lease: no turn writes these columns but to note that the
 * provider was asked. A wish is never taken back; `drops` may be added to it. False: it ended, is another database's
 * too, is not proved to be ours, or was wanted so before.
 */
export async function want(
  tx: Queryable,
  id: string,
  { by, drops }: { readonly by: string; readonly drops: boolean },
): Promise<boolean> {
  const row = await tx.first<{ state: BatchState }>(sql`
    update rowmill.batches
    set cancel_wanted_at = coalesce(cancel_wanted_at, clock_timestamp()),
      cancel_wanted_by = coalesce(cancel_wanted_by, ${by}), cancel_drops = cancel_drops or ${drops}::boolean,
      next_at = clock_timestamp()
    where id = ${id}
      and settled_at is null
      and not shared
      and not presumed
      and (cancel_wanted_at is null or (${drops}::boolean and not cancel_drops))
    returning state`);
  if (row === null) return false;
  const reason = `${by} wants it canceled${drops ? ", and its rows without an answer dropped" : ""}`;
  await addBatchEvent(tx, id, { from: row.state, to: row.state, reason });
  await wake.schedule(tx, id, 0);
  return true;
}
