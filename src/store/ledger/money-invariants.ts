/** The ledger's invariants of money, and what an invariant is. */

export interface Invariant {
  /** As in docs/internals/state-machine.md. */
  readonly number: number;
  /** What holds. */
  readonly title: string;
  /** Returns rows with one column, `violation`: which row, and what is wrong with it. */
  readonly query: string;
}

/** Its pipeline and key. */
export function requestOf(id: string): string {
  return `(
    select p.name || ' ' || q.key
    from rowmill.requests q
    join rowmill.pipelines p on p.id = q.pipeline_id
    where q.id = ${id})`;
}

export const MONEY_INVARIANTS: readonly Invariant[] = [
  {
    number: 6,
    title: "an ended batch reserves nothing",
    query: `
      select id::text as violation
      from rowmill.batches
      where settled_at is not null and (reserved_nano_usd > 0 or reserved_tokens > 0)`,
  },
  {
    number: 6,
    title: "accepted answers of tries are counted once, in their batch",
    query: `
      select 'batch ' || t.batch || ' has ' || coalesce(b.requests::text, 'no') || ' requests for ' || t.n
        || ' answers, at ' || coalesce(b.cost_nano_usd::text, 'nothing') || ', not ' || t.cost as violation
      from (
        select batch, count(*) as n, coalesce(sum(cost_nano_usd), 0) as cost
        from rowmill.try_answers
        where batch is not null
        group by batch) t
      left join rowmill.batches b on b.no = t.batch
      where b.no is null
        or b.requests <> t.n
        or b.cost_nano_usd <> t.cost`,
  },
  {
    number: 6,
    title: "every attempt that used tokens of a batch with a price has its cost",
    query: `
      select ${requestOf("a.request_id")} || ' attempt ' || a.attempt as violation
      from rowmill.attempts a
      join rowmill.batches b on b.no = a.batch
      where a.input_tokens > 0 and a.cost_nano_usd is null and b.price is not null`,
  },
  {
    number: 6,
    title: "every attempt costs what its batch's own price says",
    query: `
      select ${requestOf("a.request_id")} || ' attempt ' || a.attempt || ' is booked at '
        || coalesce(a.cost_nano_usd::text, 'nothing') || ', not ' || due.cost as violation
      from rowmill.attempts a
      join rowmill.batches b on b.no = a.batch
      cross join lateral (
        select s.step
        from jsonb_array_elements(b.price -> 'steps') as s (step)
        where (s.step ->> 'fromInputTokens')::bigint <= a.input_tokens
        order by (s.step ->> 'fromInputTokens')::bigint desc
        limit 1) reached
      cross join lateral (
        select ceil((a.output_tokens * (reached.step ->> 'outputPicoUsd')::numeric
          + greatest(a.input_tokens - a.cached_input_tokens, 0) * (reached.step ->> 'inputPicoUsd')::numeric
          + least(a.cached_input_tokens, a.input_tokens) * (reached.step ->> 'cachedInputPicoUsd')::numeric)
          * b.batch_factor / 1000) as cost) due
      where a.cost_nano_usd is distinct from due.cost`,
  },
];
