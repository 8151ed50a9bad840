/** For tests that write into the ledger by hand: what is derived from requests and attempts is derived again. */
import { raw, type Database } from "../../src/postgres/database.js";

const statements = [
  "delete from rowmill.queue where batch is null",
  `insert into rowmill.queue (pipeline_id, ids) select pipeline_id, array_agg(id order by id) from rowmill.requests r
     where state = 'waiting' and not exists (select from rowmill.queue q where r.id = any(q.ids)) group by pipeline_id`,
  "delete from rowmill.counts",
  `insert into rowmill.counts (pipeline_id, waiting, batched, succeeded, failed, cancelled, gone)
     select pipeline_id, count(*) filter (where state = 'waiting'), count(*) filter (where state = 'batched'),
       count(*) filter (where state = 'succeeded'), count(*) filter (where state = 'failed'),
       count(*) filter (where state = 'cancelled'), count(*) filter (where state = 'gone') 
       from rowmill.requests
       group by pipeline_id`,
  "delete from rowmill.usage",
  `insert into rowmill.usage (pipeline_id, batch, hour, succeeded, failed, returned, input_tokens,
    cached_input_tokens, output_tokens,
       cost_nano_usd, unpriced)
     select b.pipeline_id, case when b.settled_at is null then b.no end, date_trunc('hour', a.at, 'UTC'),
       count(*) filter (where ending = 'succeeded'), count(*) filter (where ending = 'failed'),
       count(*) filter (where ending = 'returned'),
       sum(a.input_tokens), sum(a.cached_input_tokens), sum(a.output_tokens), coalesce(sum(a.cost_nano_usd), 0),
       count(*) filter (where a.cost_nano_usd is null and a.input_tokens > 0)
     from rowmill.attempts a join rowmill.batches b on b.no = a.batch group by 1, 2, 3`,
  `update rowmill.batches b set (succeeded, failed, returned, input_tokens, cached_input_tokens, output_tokens, cost_nano_usd, unpriced) = (
     select count(*) filter (where ending = 'succeeded'), count(*) filter (where ending = 'failed'),
       count(*) filter (where ending = 'returned'),
       coalesce(sum(a.input_tokens), 0), coalesce(sum(a.cached_input_tokens), 0), coalesce(sum(a.output_tokens), 0),
       coalesce(sum(a.cost_nano_usd), 0), count(*) filter (where a.cost_nano_usd is null and a.input_tokens > 0)
     from rowmill.attempts a where a.batch = b.no) where settled_at is not null`,
];

export async function recount({ database }: { readonly database: Database }): Promise<void> {
  for (const statement of statements) await database.run(raw(statement));
}
