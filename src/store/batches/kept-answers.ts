/**
 * Answers that cannot be written yet because another transaction holds their target row. Kept in the ledger, so that
 * the provider's files are read once. Each belongs to a request in flight and is deleted when that ends.
 */
import type { AnswerOutcome } from "../../model/provider/outcome.js";
import { sql, type Queryable, type Reader } from "../../postgres/database.js";

export interface AnswerToKeep {
  readonly requestId: string;
  /** The line about this attempt. */
  readonly outcome: AnswerOutcome;
}

/**
 * Keeps them, or notes another try. `failed`: each was written alone, and failed, which counts as a try. Returns the
 * tries by request, only of those in flight in the batch.
 */
export async function keepMany(
  tx: Queryable,
  batch: number,
  { answers, failed }: { answers: readonly AnswerToKeep[]; failed: boolean },
): Promise<ReadonlyMap<string, number>> {
  if (answers.length === 0) return new Map();
  // Text within JSON, so that PostgreSQL never decodes a model's text, which may have characters that it cannot store.
  const kept = answers.map(({ requestId, outcome }) => ({ id: requestId, outcome: JSON.stringify(outcome) }));
  const rows = await tx.rows<{ id: string; tries: number }>(sql`
    insert into rowmill.kept_answers as k (request_id, batch, attempt, outcome, bytes, tries)
    select r.id, r.batch, r.attempt, x.outcome::json, octet_length(x.outcome), ${failed}::boolean::int
    from json_to_recordset(${JSON.stringify(kept)}::json) as x (id bigint, outcome text)
    join rowmill.requests r on r.id = x.id and r.state = 'batched' and r.batch = ${batch}
    on conflict (request_id) do update
    set tries = k.tries + excluded.tries, kept_at = now()
    returning request_id::text as id, tries`);
  return new Map(rows.map((row) => [row.id, row.tries]));
}

export interface KeptAnswer extends AnswerToKeep {
  /** When it was tried last, in the database's text, to the microsecond. */
  readonly keptAt: string;
}

/** Where a pass stands; it skips what was tried since it began. */
export interface KeptPass {
  readonly before: string;
  readonly after: { readonly keptAt: string; readonly requestId: string } | null;
}

/** The database's time, for the beginning of a pass. */
export async function passStart(client: Reader): Promise<string> {
  const row = await client.first<{ at: string }>(sql`select clock_timestamp()::text as at`);
  return row?.at ?? "-infinity";
}

/** The longest untried first: at least one, then as many as fit. */
export async function nextKept(
  client: Reader,
  batch: number,
  { pass, max, bytesMax }: { pass: KeptPass; max: number; bytesMax: number },
): Promise<KeptAnswer[]> {
  const { keptAt, requestId } = pass.after ?? { keptAt: "-infinity", requestId: "0" };
  return client.rows<KeptAnswer>(sql`
    select request_id::text as "requestId", outcome, kept_at::text as "keptAt"
    from (
      select request_id, outcome, kept_at, row_number() over turn as place, sum(bytes) over turn as bytes
      from (
        select request_id, outcome, kept_at, bytes
        from rowmill.kept_answers
        where batch = ${batch}
          and kept_at < ${pass.before}::timestamptz
          and (kept_at, request_id) > (${keptAt}::timestamptz, ${requestId}::bigint)
        order by kept_at, request_id
        limit ${max}) next
      window turn as (order by kept_at, request_id)) measured
    where place = 1 or bytes <= ${bytesMax}
    order by kept_at, request_id`);
}
