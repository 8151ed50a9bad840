/**
 * The ledger's invariants, as queries that must find nothing: run by `rowmill doctor --audit` and by every test that
 * touches the store. Each is one statement, so workers need not stop.
 */
import { UNREAD_OUTCOMES, type AttemptOutcome } from "../../model/words/what-next.js";
import { raw, sql, type Queryable } from "../../postgres/database.js";
import { MONEY_INVARIANTS, requestOf, type Invariant } from "./money-invariants.js";

/** Of each invariant. */
const VIOLATIONS_MAX = 5;

const UNREAD = listOf(UNREAD_OUTCOMES);
/** Of requests that share a line and saved nothing by it: those that are asked alone are paid then. */
const UNSAVED = listOf([...UNREAD_OUTCOMES, "unshared"]);

function listOf(outcomes: readonly AttemptOutcome[]): string {
  return `array[${outcomes.map((outcome) => `'${outcome}'`).join(", ")}]`;
}

const INVARIANTS: readonly Invariant[] = [
  {
    number: 1,
    title: "a request is batched exactly when it is an open line of its batch",
    query: `
      with line as (select l.batch, x.id from rowmill.lines l cross join unnest(l.ids) x (id))
      select ${requestOf("r.id")} || ' is batched, but is no line of batch ' || r.batch as violation
      from rowmill.requests r
      left join line l on l.id = r.id and l.batch = r.batch
      where r.state = 'batched' and l.id is null
      union all
      select ${requestOf("l.id")} || ' is a line of batch ' || l.batch || ' twice'
      from line l
      group by l.batch, l.id
      having count(*) > 1
      union all
      select ${requestOf("l.id")} || ' is a line of batch ' || l.batch || ', and neither in it nor ended'
      from line l
      join rowmill.requests r on r.id = l.id
      where not (r.state = 'batched' and r.batch = l.batch)
        and not exists (select from rowmill.attempts a where a.request_id = l.id and a.batch = l.batch)`,
  },
  {
    number: 1,
    title: "a request that waits is queued",
    query: `
      with queued as (select x.id from rowmill.queue q cross join unnest(q.ids) x (id))
      select ${requestOf("r.id")} || ' waits, but is not queued' as violation
      from rowmill.requests r
      left join queued q on q.id = r.id
      where r.state = 'waiting' and q.id is null`,
  },
  {
    number: 1,
    title: "nothing is in flight in a batch that ended",
    query: `
      select ${requestOf("r.id")} || ' in ' || b.id as violation
      from rowmill.requests r
      join rowmill.batches b on b.no = r.batch
      where r.state = 'batched' and b.settled_at is not null
      union all
      select 'lines of ' || b.id
      from rowmill.lines l
      join rowmill.batches b on b.no = l.batch
      where b.settled_at is not null
      union all
      select 'queued for ' || b.id
      from rowmill.queue q
      join rowmill.batches b on b.no = q.batch
      where b.state <> 'planned'`,
  },
  {
    number: 1,
    title: "an answer is kept only for a request in flight, of its batch and attempt",
    query: `
      select coalesce(${requestOf("k.request_id")}, k.request_id::text) || ' attempt ' || k.attempt || ' of batch '
        || k.batch as violation
      from rowmill.kept_answers k
      left join rowmill.requests r on r.id = k.request_id
        and r.state = 'batched'
        and r.batch = k.batch
        and r.attempt = k.attempt
      where r.id is null`,
  },
  {
    number: 1,
    title: "every row of a queue, a batch or an attempt has its request and batch",
    query: `
      select 'queued ' || x.id as violation
      from rowmill.queue q
      cross join unnest(q.ids) x (id)
      left join rowmill.requests r on r.id = x.id
      where r.id is null
      union all
      select 'line ' || x.id
      from rowmill.lines l
      cross join unnest(l.ids) x (id)
      left join rowmill.requests r on r.id = x.id
      left join rowmill.batches b on b.no = l.batch
      where r.id is null or b.no is null
      union all
      select 'in flight ' || r.id
      from rowmill.requests r
      left join rowmill.batches b on b.no = r.batch
      where r.state = 'batched' and b.no is null
      union all
      select 'attempt ' || a.request_id
      from rowmill.attempts a
      left join rowmill.requests r on r.id = a.request_id
      left join rowmill.batches b on b.no = a.batch
      where r.id is null or b.no is null
      union all
      select 'request ' || r.id
      from rowmill.requests r
      left join rowmill.pipelines p on p.id = r.pipeline_id
      where p.id is null`,
  },
  {
    number: 2,
    title: "an ended batch accounts for every request",
    query: `
      select b.id || ': ' || b.requests || ' planned, ' || count(a.*) || ' ended' as violation
      from rowmill.batches b
      left join rowmill.attempts a on a.batch = b.no
      where b.settled_at is not null
      group by b.id
      having count(a.*) <> b.requests`,
  },
  {
    number: 2,
    title: "a batch in flight accounts for every request",
    query: `
      select b.id || ': ' || b.requests || ' entered, ' || ended.n || ' ended, ' || flying.n || ' in flight'
        as violation
      from rowmill.batches b
      cross join lateral (select count(*) as n from rowmill.attempts a where a.batch = b.no) ended
      cross join lateral (
        select count(*) as n
        from rowmill.requests r
        where r.state = 'batched' and r.batch = b.no) flying
      where b.settled_at is null and b.state <> 'planned' and b.requests <> ended.n + flying.n`,
  },
  {
    number: 2,
    title: "the counts of states are those of the requests",
    query: `
      select p.name || ' ' || s.state || ': counted ' || coalesce(counted.n, 0) || ', found ' || coalesce(found.n, 0)
        as violation
      from rowmill.pipelines p
      cross join unnest(enum_range(null::rowmill.request_state)) s (state)
      left join lateral (
        select sum((to_jsonb(c) ->> s.state::text)::bigint) as n
        from rowmill.counts c
        where c.pipeline_id = p.id) counted on true
      left join lateral (
        select count(*) as n
        from rowmill.requests r
        where r.pipeline_id = p.id and r.state = s.state) found on true
      where coalesce(counted.n, 0) <> coalesce(found.n, 0)`,
  },
  {
    number: 2,
    title: "the totals of a batch and of an hour are those of their attempts",
    query: `
      with attempt as (
        select b.pipeline_id, a.batch, date_trunc('hour', a.at, 'UTC') as hour,
          count(*) filter (where a.ending = 'succeeded') as succeeded,
          count(*) filter (where a.ending = 'failed') as failed,
          count(*) filter (where a.ending = 'returned') as returned, sum(a.input_tokens) as input,
          sum(a.output_tokens) as output, coalesce(sum(a.cost_nano_usd), 0) as cost
        from rowmill.attempts a
        join rowmill.batches b on b.no = a.batch
        group by 1, 2, 3),
      hours as (
        select pipeline_id, hour, sum(succeeded) as succeeded, sum(failed) as failed, sum(returned) as returned,
          sum(input) as input, sum(output) as output, sum(cost) as cost
        from attempt
        group by 1, 2),
      counted as (
        select pipeline_id, hour, sum(succeeded) as succeeded, sum(failed) as failed, sum(returned) as returned,
          sum(input_tokens) as input, sum(output_tokens) as output, sum(cost_nano_usd) as cost
        from rowmill.usage
        group by 1, 2)
      select 'pipeline ' || coalesce(h.pipeline_id, t.pipeline_id) || ', hour ' || coalesce(h.hour, t.hour) as violation
      from hours h full join counted t on t.pipeline_id = h.pipeline_id and t.hour = h.hour
      where (h.succeeded, h.failed, h.returned, h.input, h.output, h.cost)
        is distinct from (t.succeeded, t.failed, t.returned, t.input, t.output, t.cost)
      union all
      select 'batch ' || b.id
      from rowmill.batches b
      left join (
        select batch, sum(succeeded) as succeeded, sum(failed) as failed, sum(returned) as returned,
          sum(input) as input, sum(output) as output, sum(cost) as cost
        from attempt
        group by 1) a on a.batch = b.no
      where b.settled_at is not null
        and (coalesce(a.succeeded, 0), coalesce(a.failed, 0), coalesce(a.returned, 0), coalesce(a.input, 0),
          coalesce(a.output, 0), coalesce(a.cost, 0))
          <> (b.succeeded, b.failed, b.returned, b.input_tokens, b.output_tokens, b.cost_nano_usd)`,
  },
  {
    number: 2,
    title: "an attempt without a line of its own shares that of an equal request of its batch, at no cost",
    query: `
      select ${requestOf("a.request_id")} || ' attempt ' || a.attempt as violation
      from rowmill.attempts a
      where a.shared_from is not null
        and (a.cost_nano_usd <> 0 or a.input_tokens + a.output_tokens > 0
          or not exists (
            select from rowmill.attempts l
            where l.request_id = a.shared_from and l.batch = a.batch and l.shared_from is null
            union all
            select from rowmill.requests r
            where r.id = a.shared_from and r.state = 'batched' and r.batch = a.batch))
      union all
      select b.id::text || ': ' || b.lines || ' lines, ' || b.sharing || ' that share them, of ' || b.requests
      from rowmill.batches b
      where b.lines + b.sharing > b.requests and b.adopted_pattern is null and not b.recovered
      union all
      select b.id::text || ': ' || b.sharing || ' share lines, ' || ended.n || ' of them ended, ' || flying.n
        || ' in flight'
      from rowmill.batches b
      left join (
        select batch, count(*) as n
        from rowmill.attempts
        where shared_from is not null
        group by batch) shared on shared.batch = b.no
      cross join lateral (select coalesce(shared.n, 0) as n) ended
      cross join lateral (
        select count(*) as n
        from rowmill.named_lines l
        join rowmill.requests r on r.id = l.request_id and r.state = 'batched' and r.batch = l.batch
        where l.batch = b.no and l.sharing) flying
      where b.state <> 'planned' and b.sharing <> ended.n + flying.n`,
  },
  {
    number: 2,
    title: "sharing a line saved what the line cost",
    // A batch may be abandoned when only some of those that share a line have read it: the others saved nothing, and
    // the cost of a line that its own request never read is not known.
    query: `
      with shared as (
        select b.pipeline_id, b.no, b.settled_at, date_trunc('hour', a.at, 'UTC') as hour,
          coalesce(sum(l.cost_nano_usd) filter (where a.outcome <> all (${UNSAVED})), 0) as saved,
          bool_or(a.outcome <> all (${UNSAVED}) and l.outcome = any (${UNREAD})) is true as unknown
        from rowmill.attempts a
        join rowmill.batches b on b.no = a.batch
        left join rowmill.attempts l on l.request_id = a.shared_from and l.batch = a.batch
        where a.shared_from is not null
        group by 1, 2, 3, 4)
      select 'batch ' || b.id || ': ' || b.sharing_saved_nano_usd || ', not ' || coalesce(s.saved, 0) as violation
      from rowmill.batches b
      left join (select no, sum(saved) as saved, bool_or(unknown) as unknown from shared group by no) s on s.no = b.no
      where b.settled_at is not null
        and s.unknown is not true
        and b.sharing_saved_nano_usd <> coalesce(s.saved, 0)
      union all
      select 'pipeline ' || coalesce(h.pipeline_id, u.pipeline_id) || ', hour ' || coalesce(h.hour, u.hour)
      from (
        select pipeline_id, hour, sum(saved) as saved, bool_or(unknown) as unknown
        from shared
        where settled_at is not null
        group by 1, 2) h
      full join (
        select pipeline_id, hour, sum(sharing_saved_nano_usd) as saved
        from rowmill.usage
        where batch is null
        group by 1, 2) u on u.pipeline_id = h.pipeline_id and u.hour = h.hour
      where h.unknown is not true
        and coalesce(h.saved, 0) <> coalesce(u.saved, 0)`,
  },
  {
    number: 3,
    title: "a succeeded request has exactly one accepted answer for its content",
    query: `
      select ${requestOf("r.id")} as violation
      from rowmill.requests r
      where r.state = 'succeeded'
        and (r.answered_hash is distinct from r.content_hash
          or not exists (
            select 1
            from rowmill.attempts a
            where a.request_id = r.id and (a.ending = 'succeeded' or a.written_at is not null)))`,
  },
  {
    number: 3,
    title: "every answer to a pushed row is among the results, and every result is of a request",
    query: `
      with listed as (select c.pipeline_id, x.id from rowmill.result_chunks c cross join unnest(c.ids) x (id))
      select ${requestOf("r.id")} || ' is not among the results' as violation
      from rowmill.requests r
      join rowmill.pipelines p on p.id = r.pipeline_id
      join rowmill.replicas t on t.pipeline = p.name
      join rowmill.attempts a on a.request_id = r.id and a.batch = r.answered_batch
      left join listed l on l.pipeline_id = r.pipeline_id and l.id = r.id
      where r.answered_hash is not null
        -- Earlier ones are of a table that was the source then.
        and coalesce(a.written_at, a.at) >= t.created_at
        and (a.ending = 'succeeded' or a.written_at is not null)
        and l.id is null
      union all
      select 'result ' || l.id || ' of pipeline ' || l.pipeline_id
      from listed l
      left join rowmill.requests r on r.id = l.id and r.pipeline_id = l.pipeline_id
      where r.id is null`,
  },
  {
    number: 3,
    title: "every answer of a pipeline whose target is elsewhere is to be delivered, or was",
    query: `
      select ${requestOf("r.id")} || ' has no delivery' as violation
      from rowmill.requests r
      join rowmill.deliverers d on d.pipeline_id = r.pipeline_id
      join rowmill.attempts a on a.request_id = r.id and a.batch = r.answered_batch
      left join rowmill.deliveries l on l.pipeline_id = r.pipeline_id and l.key = r.key
      where r.answered_hash is not null
        and not r.forgotten
        -- Earlier ones are of a table that was the target then.
        and coalesce(a.written_at, a.at) >= d.created_at
        and (a.ending = 'succeeded' or a.written_at is not null)
        and l.key is null`,
  },
  {
    number: 3,
    title: "a row as the write of its answer leaves it is kept until that is confirmed, and no longer",
    query: `
      select 'the delivery of ' || l.key || ' in pipeline ' || l.pipeline_id || ' keeps a row' as violation
      from rowmill.deliveries l
      where l.state <> 'waiting' and l.read_back is not null`,
  },
  {
    number: 5,
    title: "one provider batch belongs to one batch",
    query: `
      select account || ' ' || provider_batch_id as violation
      from rowmill.batches
      where provider_batch_id is not null
      group by account, provider_batch_id
      having count(*) > 1`,
  },
  {
    number: 5,
    title: "no batch of ours is taken for a second one",
    query: `
      select b.account || ' ' || b.provider_batch_id as violation
      from rowmill.batches b
      join rowmill.duplicate_batches s on s.account = b.account and s.provider_batch_id = b.provider_batch_id
      where s.batch_id is not null and b.adopted_pattern is null`,
  },
  ...MONEY_INVARIANTS,
];

export interface AuditedInvariant extends Pick<Invariant, "number" | "title"> {
  /** The first few. */
  readonly violations: readonly string[];
}

/** Reads the whole ledger; writes nothing. */
export async function audit(client: Queryable): Promise<AuditedInvariant[]> {
  const audited: AuditedInvariant[] = [];
  for (const { number, title, query } of INVARIANTS) {
    const found = await client.column<string | null>(
      sql`select v.violation from (${raw(query)}) v limit ${VIOLATIONS_MAX}`,
    );
    audited.push({ number, title, violations: found.map((one) => one ?? "(a row without its request)") });
  }
  return audited;
}
