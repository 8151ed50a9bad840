/** Answers of a try that become results: a batch of their own, which is settled in the same transaction. */
import { BATCH_BEGINNINGS } from "../../model/batch/batch-transitions.js";
import type { RequestState } from "../../model/request/request-transitions.js";
import { sql, type Queryable } from "../../postgres/database.js";
import { addBatchEvent, ratesValues } from "../batches/batches.js";
import { forgetLines, type InFlight } from "../batches/in-flight.js";
import { USAGE_COLUMNS, usageOf } from "../requests/counts.js";
import { hex } from "../requests/requests.js";
import type { Try } from "./tries.js";

/** Of these keys, those whose answers in the try are not accepted yet; locked. */
export async function lockOpen(tx: Queryable, no: number, keys: readonly string[]): Promise<ReadonlySet<string>> {
  const rows = await tx.rows<{ key: string }>(sql`
    select key
    from rowmill.try_answers
    where try = ${no}
      and key = any(${[...keys]}::text[])
      and accepted_at is null
    order by place
    for update`);
  return new Set(rows.map(({ key }) => key));
}

/** A request in whatever state, as it would be sent next. */
export interface Acceptable extends Omit<InFlight, "contentHash" | "fingerprint" | "customId"> {
  readonly state: RequestState;
}

/** Locked in id order. */
export async function lockRequests(tx: Queryable, pipelineId: number, keys: readonly string[]): Promise<Acceptable[]> {
  return tx.rows<Acceptable>(sql`
    select id::text as "requestId", key, state, attempt, tries, returns, room, alone as "isAlone",
      false as "isSharing", forgotten as "isForgotten",
      ${hex(sql`answered_hash`)} as "answeredHash", ${hex(sql`answered_fingerprint`)} as "answeredFingerprint"
    from rowmill.requests
    where pipeline_id = ${pipelineId}
      and key = any(${[...keys]}::text[])
    order by id
    for update`);
}

/**
 * The batch of accepted answers, after their attempts ended. It counts where they were paid: on the day of the try, at
 * the live price. There is nothing of it at the provider.
 */
export async function insertAccepted(
  tx: Queryable,
  batch: {
    readonly id: string;
    readonly no: number;
    readonly pipelineId: number;
    readonly tried: Try;
    readonly windowHours: number;
    readonly keys: readonly string[];
  },
): Promise<void> {
  const { id, no, tried, keys } = batch;
  const state = BATCH_BEGINNINGS.accepted;
  const rates = ratesValues({ price: tried.price, batchFactor: 1 });
  await tx.run(sql`
    insert into rowmill.batches (id, no, pipeline_id, state, definition_hash, provider, account, model, endpoint,
      price, batch_factor, requests, lines, window_hours, planned_at, submitted_at, settled_at, forgotten_at,
      ${USAGE_COLUMNS})
    overriding system value
    select ${id}::uuid, ${no}::int, ${batch.pipelineId}::int, ${state}, ${tried.definitionHash}, ${tried.provider},
      ${tried.account}, ${tried.model}, ${tried.endpoint}, ${rates}, ${keys.length}::int, ${keys.length}::int,
      ${batch.windowHours}::int, t.asked_at, t.asked_at, now(), now(), u.*
    from rowmill.tries t
    cross join lateral ${usageOf(sql`${no}::int`)} u
    where t.no = ${tried.no}`);
  await forgetLines(tx, no);
  const reason = `${keys.length} answers of try ${tried.no} accepted`;
  await addBatchEvent(tx, id, { from: null, to: state, reason, detail: { try: tried.no } });
  await tx.run(sql`
    update rowmill.try_answers
    set accepted_at = now(), batch = ${no}
    where try = ${tried.no}
      and key = any(${[...keys]}::text[])
      and accepted_at is null`);
}
