/** Paid answers that the target refused: kept in the attempts until retention ends, and written later. */
import { sql, type Queryable, type Reader } from "../../postgres/database.js";
import { VERSION_OF_BATCH } from "../pipelines/definitions.js";
import { countChanges } from "./counts.js";
import { hex } from "./requests.js";
import { isMeant, KEPT_ATTEMPT, type FailedRows } from "./failures.js";

/** Of answers in memory at once. */
const ANSWER_BYTES_MAX = 8 * 1024 * 1024;

/** The next ones in id order; empty: there are none. */
export async function nextKept(
  client: Reader,
  meant: FailedRows,
  { after, max }: { after: string; max: number },
): Promise<string[]> {
  return client.column<string>(sql`
    select id::text as id
    from (
      select id, sum(bytes) over (order by id) - bytes as before
      from (
        select r.id, octet_length(a.answer) as bytes
        from rowmill.requests r
        join rowmill.attempts a on ${KEPT_ATTEMPT}
        where ${isMeant(meant)} and r.id > ${after}::bigint
        order by r.id
        limit ${max}) next) weighed
    where before < ${ANSWER_BYTES_MAX}
    order by weighed.id`);
}

export interface KeptAnswer {
  readonly id: string;
  readonly key: string;
  /** What was asked. */
  readonly contentHash: string | null;
  readonly fingerprint: string | null;
  /** JSON of the answer's cells. */
  readonly answer: string;
  readonly model: string;
  /** Of the config that asked. Null: it is not known. */
  readonly version: number | null;
  /** Who gave it. */
  readonly account: string;
  readonly demo: boolean;
  /** The row was gone; it is written anyway. */
  readonly rowGone: boolean;
}

/** Those that are still failed and have one; locked in id order. */
export async function lockKept(tx: Queryable, ids: readonly string[]): Promise<KeptAnswer[]> {
  return tx.rows<KeptAnswer>(sql`
    select r.id::text as id, r.key, ${hex(sql`r.content_hash`)} as "contentHash",
      ${hex(sql`r.fingerprint`)} as fingerprint, a.answer, coalesce(a.model, b.model) as model,
      ${VERSION_OF_BATCH} as version, b.account, r.demo, r.row_gone as "rowGone"
    from rowmill.requests r
    join rowmill.attempts a on ${KEPT_ATTEMPT}
    join rowmill.batches b on b.no = a.batch
    where r.id = any(${[...ids]}::bigint[]) and r.state = 'failed'
    order by r.id
    for update of r`);
}

/** The target has these answers now. The caller holds the requests. */
export async function endKept(tx: Queryable, pipelineId: number, ids: readonly string[]): Promise<void> {
  if (ids.length === 0) return;
  const ended = await tx.run(sql`
    with ended as (
      update rowmill.attempts a
      set written_at = now(), answer = null
      from rowmill.requests r
      where r.id = any(${[...ids]}::bigint[])
        and r.state = 'failed'
        and a.request_id = r.id
        and a.attempt = r.attempt
      returning a.request_id, a.batch)
    update rowmill.requests r
    set state = 'succeeded', answered_hash = r.content_hash, answered_fingerprint = r.fingerprint,
      answered_batch = e.batch, error_code = null, error = null, changed_at = now()
    from ended e
    where r.id = e.request_id and r.state = 'failed'`);
  await countChanges(tx, pipelineId, { failed: -ended, succeeded: ended });
}

/** Why it could not be written this time. */
export async function noteRefusals(tx: Queryable, refused: readonly { id: string; message: string }[]): Promise<void> {
  if (refused.length === 0) return;
  await tx.run(sql`
    update rowmill.requests r
    set error = x.message, changed_at = now()
    from json_to_recordset(${JSON.stringify(refused)}::json) as x (id bigint, message text)
    where r.id = x.id and r.state = 'failed' and r.error_code = 'unwritable'`);
}
