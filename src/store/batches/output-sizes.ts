/** The size of a definition's answers, by its last ones: what the output limit of the next requests is learned from. */
import type { OutputSizes } from "../../model/request/output-limit.js";
import { sql, type Queryable, type Reader } from "../../postgres/database.js";

/** The last batches of the definition whose answers are counted, and how many of each and of its tries. */
const SIZED_BATCHES = 5;
const SIZED_ANSWERS = 2_000;

/** What a pipeline asks; it may not be registered yet. */
export interface AskedAs {
  readonly pipeline: string;
  readonly definitionHash: string;
}

/** Null: none of the definition's answers was counted yet. */
export function sizesOf(client: Reader, { pipeline, definitionHash }: AskedAs): Promise<OutputSizes | null> {
  return client.first<OutputSizes>(sql`
    select answers, mean, p99
    from rowmill.output_sizes
    where pipeline = ${pipeline}
      and definition_hash = ${definitionHash}`);
}

/**
 * Counts the definition's last answers again: after a try, and before a batch ends, so that the next plan knows them.
 * An accepted answer of a try is counted with its batch.
 */
export async function learn(tx: Queryable, { pipeline, definitionHash }: AskedAs): Promise<void> {
  await tx.run(sql`
    with last as (
      select b.no
      from rowmill.batches b
      join rowmill.pipelines p on p.id = b.pipeline_id
      where p.name = ${pipeline}
        and b.definition_hash = ${definitionHash}
        and b.state in ('collecting', 'settled')
      order by b.settled_at desc nulls first
      limit ${SIZED_BATCHES}),
    answers as (
      select a.output_tokens
      from last
      cross join lateral (
        select output_tokens
        from rowmill.attempts
        where batch = last.no
          and output_tokens > 0
        limit ${SIZED_ANSWERS}) a
      union all (
        select a.output_tokens
        from rowmill.tries t
        join rowmill.try_answers a on a.try = t.no
        where t.pipeline = ${pipeline}
          and t.definition_hash = ${definitionHash}
          and a.accepted_at is null
          and a.output_tokens > 0
        order by a.try desc
        limit ${SIZED_ANSWERS})),
    sizes as (
      select count(*)::int as answers, avg(output_tokens) as mean,
        percentile_disc(0.99) within group (order by output_tokens) as p99
      from answers)
    insert into rowmill.output_sizes as o (pipeline, definition_hash, answers, mean, p99)
    select ${pipeline}, ${definitionHash}, answers, mean, p99
    from sizes
    where answers > 0
    on conflict (pipeline, definition_hash) do update
    set answers = excluded.answers, mean = excluded.mean, p99 = excluded.p99`);
}
