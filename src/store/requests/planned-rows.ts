/**
 * What would be asked next, for `rowmill plan`: why requests wait, and what was asked before. Only reads; large ledgers
 * are sampled.
 */
import type { Json } from "../../model/pipeline.js";
import { sql, type Reader } from "../../postgres/database.js";
import { hex } from "./requests.js";

/** Of waiting requests; exact where all of them were read. */
export interface WaitingReasons {
  readonly read: number;
  /** Never asked. */
  readonly fresh: number;
  /** Answered before, with another content. */
  readonly changed: number;
  /** Answered before, with the same content: a definition asks something else. */
  readonly redefined: number;
  /** Asked before, without an answer that counts. */
  readonly again: number;
}

const NOTHING_WAITS: WaitingReasons = { read: 0, fresh: 0, changed: 0, redefined: 0, again: 0 };

/** About `max` of the `waiting` requests, by chance; all of them where there are no more. */
export async function waitingReasons(
  client: Reader,
  pipelineId: number,
  { waiting, max }: { readonly waiting: number; readonly max: number },
): Promise<WaitingReasons> {
  if (waiting === 0) return NOTHING_WAITS;
  const share = Math.min(1, max / waiting);
  const row = await client.first<WaitingReasons>(sql`
    select count(*)::int as read,
      count(*) filter (where r.attempt = 0)::int as fresh,
      count(*) filter (where r.attempt > 0 and r.answered_hash <> r.content_hash)::int as changed,
      count(*) filter (where r.attempt > 0 and r.answered_hash = r.content_hash)::int as redefined,
      count(*) filter (where r.attempt > 0 and r.answered_hash is null)::int as again
    from (
      select distinct x.id
      from rowmill.queue q
      cross join unnest(q.ids) x (id)
      where q.pipeline_id = ${pipelineId}
        and (${share === 1}::boolean or random() < ${share}::float8)
      limit ${2 * max}) x
    join rowmill.requests r on r.id = x.id and r.state = 'waiting'`);
  return row ?? NOTHING_WAITS;
}

/** As a definition's sweep compares them. */
export interface AskedRequest {
  readonly requestId: string;
  readonly key: string;
  readonly state: "succeeded" | "failed" | "waiting";
  readonly contentHash: string | null;
  readonly fingerprint: string | null;
  readonly answeredFingerprint: string | null;
}

/** Pages of a table hold different numbers of rows, so a few more are read. */
const SAMPLE_MARGIN = 1.2;
const PERCENT = 100;

/** Of `asked` requests at most `max`, in any order: all of them where there are no more, else of pages by chance. */
export async function askedRequests(
  client: Reader,
  pipelineId: number,
  { asked, max }: { readonly asked: number; readonly max: number },
): Promise<AskedRequest[]> {
  if (asked === 0) return [];
  const percent = Math.min(PERCENT, (PERCENT * SAMPLE_MARGIN * max) / asked);
  const pages = asked <= max ? sql`` : sql`tablesample system (${percent}::float8)`;
  return client.rows<AskedRequest>(sql`
    select r.id::text as "requestId", r.key, r.state, ${hex(sql`r.content_hash`)} as "contentHash",
      ${hex(sql`r.fingerprint`)} as fingerprint, ${hex(sql`r.answered_fingerprint`)} as "answeredFingerprint"
    from rowmill.requests as r ${pages}
    where r.pipeline_id = ${pipelineId}
      and (r.state in ('succeeded', 'failed') or (r.state = 'waiting' and r.answered_hash = r.content_hash))
    order by random()
    limit ${max}`);
}

/** Requests whose answer or failure is the demo model's, by another account than this one. */
export async function demoAnswers(client: Reader, pipelineId: number, account: string): Promise<number> {
  const row = await client.first<{ count: number }>(sql`
    select count(*)::int as count
    from rowmill.requests r
    join rowmill.batches b on b.no = r.batch
    where r.pipeline_id = ${pipelineId}
      and r.demo
      and b.account <> ${account}`);
  return row?.count ?? 0;
}

/** The definition of the last sweep that compared every row; null: there was none. */
export async function sweptDefinition(client: Reader, pipelineId: number): Promise<string | null> {
  const row = await client.first<{ hash: string | null }>(sql`
    select swept_hash as hash
    from rowmill.sweeps
    where pipeline_id = ${pipelineId}`);
  return row?.hash ?? null;
}

/** Whether an approval would still stand after `up` with this definition, account and price. */
export async function isApproved(
  client: Reader,
  pipelineId: number,
  wanted: { readonly definitionHash: string; readonly account: string; readonly price: Json },
): Promise<boolean> {
  const priced = JSON.stringify({ price: wanted.price });
  const row = await client.first<{ approved: boolean }>(sql`
    select coalesce(approved_hash = ${wanted.definitionHash}, false)
      and (definition ->> 'price') is not distinct from (${priced}::jsonb ->> 'price')
      and not (${wanted.account.startsWith("https:")}::boolean
        and coalesce(starts_with(approved_account, 'http:'), false)) as approved
    from rowmill.pipelines
    where id = ${pipelineId}`);
  return row?.approved ?? false;
}
