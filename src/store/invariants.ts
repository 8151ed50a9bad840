/**
 * The invariants of the ledger, as queries that must find nothing. `rowmill doctor --audit` and every test that touches the store
 * run the very same. Numbers are those of docs/state-machine.md. Each query is one statement, so that a worker may go on beside it.
 */
import { listPrice } from "../model/pricing.js";
import { raw, sql, type Queryable } from "./database.js";

/** Of each invariant; one is enough to know, some help to find the cause. */
const VIOLATIONS_MAX = 5;

interface Invariant {
  /** As in docs/state-machine.md. */
  readonly number: number;
  /** What holds. */
  readonly title: string;
  /** Rows with one column `violation`: which row it is, and what is wrong with it. `priced`: models whose price is known. */
  readonly query: string;
}

const request = `(select p.name || ' ' || q.key from rowmill.requests q join rowmill.pipelines p on p.id = q.pipeline_id where q.id = `;

const invariants: readonly Invariant[] = [
  {
    number: 1,
    title: "a request is batched exactly when it is in flight",
    query: `
      select ${request}r.id) || ' is ' || r.state || case when f.request_id is null then ', but in no batch' else ', but in batch ' || f.batch_id end as violation
      from rowmill.requests r left join rowmill.in_flight f on f.request_id = r.id where (r.state = 'batched') <> (f.request_id is not null)`,
  },
  {
    number: 1,
    title: "a request waits exactly when it is queued",
    query: `
      select ${request}r.id) || ' is ' || r.state || case when w.request_id is null then ', but not queued' else ', but queued' end as violation
      from rowmill.requests r left join rowmill.waiting w on w.request_id = r.id where (r.state = 'waiting') <> (w.request_id is not null)`,
  },
  {
    number: 1,
    title: "nothing is in flight in a batch that ended",
    query: `
      select ${request}f.request_id) || ' in ' || b.id as violation from rowmill.in_flight f join rowmill.batches b on b.id = f.batch_id
      where b.settled_at is not null`,
  },
  {
    number: 1,
    title: "an answer is kept only for a request in flight, of its batch and attempt",
    query: `
      select coalesce(${request}k.request_id), k.request_id::text) || ' attempt ' || k.attempt || ' of ' || k.batch_id as violation
      from rowmill.kept_answers k left join rowmill.in_flight f
        on f.request_id = k.request_id and f.batch_id = k.batch_id and f.attempt = k.attempt
      where f.request_id is null`,
  },
  {
    number: 1,
    title: "every row of a queue, a batch or an attempt has its request and batch",
    query: `
      select 'waiting ' || w.request_id as violation from rowmill.waiting w left join rowmill.requests r on r.id = w.request_id where r.id is null
      union all select 'in flight ' || f.request_id from rowmill.in_flight f left join rowmill.requests r on r.id = f.request_id
        left join rowmill.batches b on b.id = f.batch_id where r.id is null or b.id is null
      union all select 'attempt ' || a.request_id from rowmill.attempts a left join rowmill.requests r on r.id = a.request_id
        left join rowmill.batches b on b.id = a.batch_id where r.id is null or b.id is null
      union all select 'request ' || r.id from rowmill.requests r left join rowmill.pipelines p on p.id = r.pipeline_id where p.id is null`,
  },
  {
    number: 2,
    title: "an ended batch accounts for every request",
    query: `
      select b.id || ': ' || b.requests || ' planned, ' || count(a.*) || ' ended' as violation
      from rowmill.batches b left join rowmill.attempts a on a.batch_id = b.id
      where b.settled_at is not null group by b.id having count(a.*) <> b.requests`,
  },
  {
    number: 2,
    title: "a batch in flight accounts for every request",
    query: `
      select b.id || ': ' || b.requests || ' planned, ' || ended.n || ' ended, ' || flying.n || ' in flight' as violation from rowmill.batches b
      cross join lateral (select count(*) as n from rowmill.attempts a where a.batch_id = b.id) ended
      cross join lateral (select count(*) as n from rowmill.in_flight f where f.batch_id = b.id) flying
      where b.settled_at is null and b.requests <> ended.n + flying.n`,
  },
  {
    number: 3,
    title: "a succeeded request has exactly one accepted answer for its content",
    query: `
      select ${request}r.id) as violation from rowmill.requests r where r.state = 'succeeded' and (r.answered_hash is distinct from r.content_hash
        or not exists (select 1 from rowmill.attempts a where a.request_id = r.id and (a.ending = 'succeeded' or a.written_at is not null)))`,
  },
  {
    number: 5,
    title: "one provider batch belongs to one batch",
    query: `
      select account || ' ' || provider_batch_id as violation from rowmill.batches where provider_batch_id is not null
      group by account, provider_batch_id having count(*) > 1`,
  },
  {
    number: 5,
    title: "no batch of ours is taken for a second one",
    query: `
      select b.account || ' ' || b.provider_batch_id as violation from rowmill.batches b join rowmill.duplicate_batches s
        on s.account = b.account and s.provider_batch_id = b.provider_batch_id
      where s.batch_id is not null and b.adopted_pattern is null`,
  },
  {
    number: 6,
    title: "an ended batch reserves nothing",
    query: `
      select id::text as violation from rowmill.batches where settled_at is not null and (reserved_nano_usd > 0 or reserved_tokens > 0)`,
  },
  {
    number: 6,
    title: "every attempt that used tokens of a batch with a price has its cost",
    query: `
      select ${request}a.request_id) || ' attempt ' || a.attempt as violation from rowmill.attempts a join rowmill.batches b on b.id = a.batch_id
      where a.input_tokens > 0 and a.cost_nano_usd is null
        and (b.price is not null or (b.batch_factor is null and b.model = any(priced.models)))`,
  },
  {
    number: 6,
    title: "every attempt costs what its batch's own price says",
    query: `
      select ${request}a.request_id) || ' attempt ' || a.attempt || ' is booked at ' || coalesce(a.cost_nano_usd::text, 'nothing') || ', not ' || due.cost as violation
      from rowmill.attempts a join rowmill.batches b on b.id = a.batch_id
      cross join lateral (
        select s.step from jsonb_array_elements(b.price -> 'steps') as s (step)
        where (s.step ->> 'fromInputTokens')::bigint <= a.input_tokens order by (s.step ->> 'fromInputTokens')::bigint desc limit 1) reached
      cross join lateral (
        select ceil((a.output_tokens * (reached.step ->> 'outputPicoUsd')::numeric
          + greatest(a.input_tokens - a.cached_input_tokens, 0) * (reached.step ->> 'inputPicoUsd')::numeric
          + least(a.cached_input_tokens, a.input_tokens) * (reached.step ->> 'cachedInputPicoUsd')::numeric) * b.batch_factor / 1000) as cost) due
      where b.batch_factor is not null and a.cost_nano_usd is distinct from due.cost`,
  },
];

export interface AuditedInvariant extends Pick<Invariant, "number" | "title"> {
  /** In words, the first few. */
  readonly violations: readonly string[];
}

/** Every invariant in order. Reads the whole ledger; writes nothing. */
export async function audit(client: Queryable): Promise<AuditedInvariant[]> {
  const asked = await client.rows<{ provider: string; model: string }>(
    sql`select distinct provider, model from rowmill.batches`,
  );
  const priced = asked
    .filter(({ provider, model }) => listPrice(provider, model, new Date()) !== null)
    .map(({ model }) => model);
  const audited: AuditedInvariant[] = [];
  for (const { number, title, query } of invariants) {
    const rows = await client.rows<{ violation: string | null }>(
      sql`select v.violation from (select ${priced}::text[] as models) priced cross join lateral (${raw(query)}) v limit ${VIOLATIONS_MAX}`,
    );
    audited.push({
      number,
      title,
      violations: rows.map((row) => row.violation ?? "(a row without its request)"),
    });
  }
  return audited;
}
