/**
 * The invariants of the ledger, as one script of queries that must find nothing. Run after every test that touches the store.
 * Numbers are those of docs/state-machine.md.
 */
import { raw, type Database } from "../../src/store/database.js";

const script: Readonly<Record<string, string>> = {
  "1. a request is batched exactly when it is in flight": `
    select r.id::text || ' is ' || r.state as violation from rowmill.requests r
    left join rowmill.in_flight f on f.request_id = r.id where (r.state = 'batched') <> (f.request_id is not null)`,
  "1. a request waits exactly when it is queued": `
    select r.id::text || ' is ' || r.state as violation from rowmill.requests r
    left join rowmill.waiting w on w.request_id = r.id where (r.state = 'waiting') <> (w.request_id is not null)`,
  "1. nothing is in flight in a batch that ended": `
    select f.request_id::text || ' in ' || b.id as violation from rowmill.in_flight f join rowmill.batches b on b.id = f.batch_id
    where b.settled_at is not null`,
  "1. every row of a queue, a batch or an attempt has its request and batch": `
    select 'waiting ' || w.request_id as violation from rowmill.waiting w left join rowmill.requests r on r.id = w.request_id where r.id is null
    union all select 'in flight ' || f.request_id from rowmill.in_flight f left join rowmill.requests r on r.id = f.request_id
      left join rowmill.batches b on b.id = f.batch_id where r.id is null or b.id is null
    union all select 'attempt ' || a.request_id from rowmill.attempts a left join rowmill.requests r on r.id = a.request_id
      left join rowmill.batches b on b.id = a.batch_id where r.id is null or b.id is null
    union all select 'request ' || r.id from rowmill.requests r left join rowmill.pipelines p on p.id = r.pipeline_id where p.id is null`,
  "2. an ended batch accounts for every request": `
    select b.id || ': ' || b.requests || ' planned, ' || count(a.*) || ' ended' as violation
    from rowmill.batches b left join rowmill.attempts a on a.batch_id = b.id
    where b.settled_at is not null group by b.id having count(a.*) <> b.requests`,
  "2. a batch in flight accounts for every request": `
    select b.id || ': ' || b.requests || ' planned' as violation from rowmill.batches b
    where b.settled_at is null and b.requests <> (select count(*) from rowmill.attempts a where a.batch_id = b.id)
      + (select count(*) from rowmill.in_flight f where f.batch_id = b.id)`,
  "3. a succeeded request has exactly one accepted answer for its content": `
    select r.id::text as violation from rowmill.requests r where r.state = 'succeeded' and (r.answered_hash is distinct from r.content_hash
      or not exists (select 1 from rowmill.attempts a where a.request_id = r.id and a.ending = 'succeeded'))`,
  "5. one batch has at most one provider batch, or the others are listed": `
    select account || provider_batch_id as violation from rowmill.batches where provider_batch_id is not null
    group by account, provider_batch_id having count(*) > 1`,
  "6. an ended batch reserves nothing": `
    select id::text as violation from rowmill.batches where settled_at is not null and (reserved_nano_usd > 0 or reserved_tokens > 0)`,
  "6. every attempt that used tokens has its cost": `
    select request_id::text as violation from rowmill.attempts a join rowmill.batches b on b.id = a.batch_id
    where a.input_tokens > 0 and a.cost_nano_usd is null and b.model like 'gpt-4%'`,
};

export async function findViolations(database: Database): Promise<string[]> {
  const found: string[] = [];
  for (const [name, query] of Object.entries(script)) {
    const rows = await database.rows<{ violation: string }>(
      raw(`select violation from (${query}) v limit 5`),
    );
    found.push(...rows.map((row) => `${name}: ${row.violation}`));
  }
  return found;
}
