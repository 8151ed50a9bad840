/** The size of a definition's answers, by its last ones: what the output limit of the next requests is learned from. */
import type { OutputSizes } from "../../model/request/output-limit.js";
import { sql, type Queryable, type Reader } from "../../postgres/database.js";

/** The last batches of the definition whose answers are counted, and how many of each. */
const SIZED_BATCHES = 5;
const SIZED_ANSWERS = 2_000;

/** Null: none of the definition's answers was counted yet. */
export function sizesOf(client: Reader, pipelineId: number, definitionHash: string): Promise<OutputSizes | null> {
  return client.first<OutputSizes>(sql`
    select answers_counted as answers, output_tokens_mean as mean, output_tokens_p99 as p99
    from rowmill.definitions
    where pipeline_id = ${pipelineId}
      and definition_hash = ${definitionHash}
      and answers_counted > 0`);
}

/** Counts the definition's last answers again; before its batch ends, so that the next plan knows them. */
export async function learn(tx: Queryable, pipelineId: number, definitionHash: string): Promise<void> {
  await tx.run(sql`
    with last as (
      select no
      from rowmill.batches
      where pipeline_id = ${pipelineId}
        and definition_hash = ${definitionHash}
        and state in ('collecting', 'settled')
      order by settled_at desc nulls first
      limit ${SIZED_BATCHES}),
    sizes as (
      select count(*)::int as answers, avg(a.output_tokens) as mean,
        percentile_disc(0.99) within group (order by a.output_tokens) as p99
      from last
      cross join lateral (
        select output_tokens
        from rowmill.attempts
        where batch = last.no
          and output_tokens > 0
        limit ${SIZED_ANSWERS}) a)
    update rowmill.definitions d
    set answers_counted = s.answers, output_tokens_mean = s.mean, output_tokens_p99 = s.p99
    from sizes s
    where d.pipeline_id = ${pipelineId}
      and d.definition_hash = ${definitionHash}
      and s.answers > 0`);
}
