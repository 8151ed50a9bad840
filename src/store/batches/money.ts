/**
 * What was spent and what is reserved, derived from attempts and batches in flight; and limits learned from
 * providers.
 */
import type { BudgetPeriod } from "../../model/pipeline.js";
import { storableText } from "../../model/words/storable-text.js";
import { sql, type Queryable, type Reader, type Sql } from "../../postgres/database.js";
import { triedNanoUsd } from "../tries/tried-cost.js";

export interface Spending {
  /** In the period, by batches and tries; a cost counts on the day of its batch's submission (UTC). */
  readonly spentNanoUsd: number;
  /** By batches in flight, whenever they were planned. */
  readonly reservedNanoUsd: number;
  /** Only of this account: waiting for those of another one frees nothing. */
  readonly batchesInFlight: number;
}

/** The caller holds the pipeline's lock, so that two planners cannot spend the same money. */
export async function spending(
  tx: Queryable,
  pipelineId: number,
  period: { per: BudgetPeriod; runId: string | null; account: string },
): Promise<Spending> {
  const row = await tx.first<Spending>(sql`
    with paid as (
      select b.no, b.id, b.cost_nano_usd + b.lost_nano_usd as nano_usd
      from rowmill.batches b
      where b.pipeline_id = ${pipelineId} and ${inPeriod(period)}),
    costs as (
      select nano_usd from paid
      union all select u.cost_nano_usd from rowmill.usage u join paid b on b.no = u.batch
      union all select s.reserved_nano_usd from rowmill.duplicate_batches s join paid b on b.id = s.batch_id
      union all select ${triedNanoUsd(sql`(select name from rowmill.pipelines where id = ${pipelineId})`, period.per)})
    select (select coalesce(sum(nano_usd), 0) from costs)::float8 as "spentNanoUsd",
      coalesce(sum(b.reserved_nano_usd), 0)::float8 as "reservedNanoUsd",
      (count(*) filter (where b.account = ${period.account}))::int as "batchesInFlight"
    from rowmill.batches b
    where b.pipeline_id = ${pipelineId} and b.settled_at is null`);
  return row ?? { spentNanoUsd: 0, reservedNanoUsd: 0, batchesInFlight: 0 };
}

function inPeriod(period: { per: BudgetPeriod; runId: string | null }): Sql {
  const at = sql`coalesce(b.submitted_at, b.planned_at) at time zone 'UTC'`;
  switch (period.per) {
    case "total":
      return sql`true`;
    case "run":
      return sql`b.run_id = ${period.runId}::uuid`;
    case "day":
      return sql`date_trunc('day', ${at}) = date_trunc('day', now() at time zone 'UTC')`;
    case "month":
      return sql`date_trunc('month', ${at}) = date_trunc('month', now() at time zone 'UTC')`;
  }
}

export interface LearnedLimits {
  readonly enqueuedTokens: number | null;
  readonly inputBytes: number | null;
  /** How many guesses in a row, if the provider names no limit; 0: it named it. */
  readonly sizeGuesses: number;
  /** Until the next request to the provider. */
  readonly waitMs: number;
}

/** A guess may be wrong or out of date. */
const GUESS_HOURS_MAX = 24;
const GUESS_GROWTH = 4;

/** Locks the account's entry for the model, so that workers and pipelines reserve one after another. */
export function lockLimits(tx: Queryable, account: string, model: string): Promise<LearnedLimits> {
  return limitsBy(tx, sql`account = ${account} and model = ${model} for update`);
}

export function learnedLimits(client: Reader, account: string, model: string): Promise<LearnedLimits> {
  return limitsBy(client, sql`account = ${account} and model = ${model}`);
}

async function limitsBy(client: Reader, which: Sql): Promise<LearnedLimits> {
  const holds = sql`size_guesses = 0 or learned_at > now() - make_interval(hours => ${GUESS_HOURS_MAX})`;
  const row = await client.first<LearnedLimits>(sql`
    select enqueued_tokens::float8 as "enqueuedTokens",
      case when ${holds} then input_bytes end::float8 as "inputBytes",
      case when ${holds} then size_guesses else 0 end::int as "sizeGuesses",
      greatest(0, coalesce(extract(epoch from not_before - clock_timestamp()) * 1000, 0))::float8 as "waitMs"
    from rowmill.learned_limits
    where ${which}`);
  return row ?? { enqueuedTokens: null, inputBytes: null, sizeGuesses: 0, waitMs: 0 };
}

/** Whether the pipeline has a batch that the provider has not accepted yet. */
export async function isSending(tx: Reader, pipelineId: number, account: string): Promise<boolean> {
  const row = await tx.first(sql`
    select 1 as one
    from rowmill.batches
    where pipeline_id = ${pipelineId}
      and account = ${account}
      and settled_at is null
      and state in ('planned', 'uploading', 'submitting')
    limit 1`);
  return row !== null;
}

/** Of all batches that the provider has not finished, of every pipeline. */
export async function reservedTokens(tx: Reader, account: string, model: string): Promise<number> {
  return tx.number(sql`
    select coalesce(sum(reserved_tokens), 0)::float8 as tokens
    from rowmill.batches
    where account = ${account} and model = ${model} and settled_at is null`);
}

export interface Learned {
  readonly enqueuedTokens?: number;
  readonly inputBytes?: number;
  /** Absent: the provider named the bytes. */
  readonly guess?: { readonly count: number; readonly refusedBytes: number };
  readonly message: string;
}

export async function learnLimit(
  client: Queryable,
  of: { account: string; model: string },
  { enqueuedTokens, inputBytes, guess, message }: Learned,
): Promise<void> {
  await client.run(sql`
    insert into rowmill.learned_limits as l (account, model, enqueued_tokens, input_bytes, size_guesses,
      refused_bytes, message)
    values (${of.account}, ${of.model}, ${enqueuedTokens ?? null}, ${inputBytes ?? null}, ${guess?.count ?? 0},
      ${guess?.refusedBytes ?? null}, ${storableText(message)})
    on conflict (account, model) do update
    set enqueued_tokens = coalesce(excluded.enqueued_tokens, l.enqueued_tokens),
      input_bytes = coalesce(excluded.input_bytes, l.input_bytes),
      size_guesses = case when excluded.input_bytes is null then l.size_guesses else excluded.size_guesses end,
      refused_bytes = case when excluded.input_bytes is null then l.refused_bytes else excluded.refused_bytes end,
      message = excluded.message, learned_at = now()`);
}

/** Nothing is sent to the account for the model until then. */
export async function learnWait(
  client: Queryable,
  of: { account: string; model: string },
  { waitMs, message }: { waitMs: number; message: string },
): Promise<void> {
  const until = sql`clock_timestamp() + make_interval(secs => ${waitMs / 1_000})`;
  await client.run(sql`
    insert into rowmill.learned_limits as l (account, model, not_before, message)
    values (${of.account}, ${of.model}, ${until}, ${storableText(message)})
    on conflict (account, model) do update
    set not_before = greatest(l.not_before, excluded.not_before), message = excluded.message`);
}

export interface AccountWait {
  readonly provider: string;
  readonly account: string;
  readonly model: string;
  readonly waitMs: number;
  /** What the provider said. */
  readonly message: string;
}

/** The longest wait first; at most `max`. */
export async function accountWaits(client: Reader, max: number): Promise<AccountWait[]> {
  return client.rows<AccountWait>(sql`
    select b.provider, l.account, l.model, l.message,
      (extract(epoch from l.not_before - clock_timestamp()) * 1000)::float8 as "waitMs"
    from rowmill.learned_limits l
    cross join lateral (select provider from rowmill.batches where account = l.account limit 1) b
    where l.not_before > clock_timestamp()
    order by l.not_before desc
    limit ${max}`);
}

/** A file was accepted: the next may be larger, up to half of the one that was refused. */
export async function raiseGuess(client: Queryable, of: { account: string; model: string }): Promise<void> {
  await client.run(sql`
    update rowmill.learned_limits
    set input_bytes = greatest(input_bytes, least(input_bytes * ${GUESS_GROWTH}, refused_bytes / 2)),
      size_guesses = 1
    where account = ${of.account} and model = ${of.model} and size_guesses > 0`);
}

/** Smaller files did not help: the guess was wrong. */
export async function forgetGuess(client: Queryable, of: { account: string; model: string }): Promise<void> {
  await client.run(sql`
    update rowmill.learned_limits
    set input_bytes = null, size_guesses = 0, refused_bytes = null
    where account = ${of.account} and model = ${of.model} and size_guesses > 0`);
}

/** What this batch may have cost beyond its attempts. */
export async function moneyAtRisk(tx: Reader, batchId: string): Promise<number> {
  return tx.number(sql`
    select greatest(0,
      b.reserved_nano_usd - b.cost_nano_usd - coalesce(
        (select sum(u.cost_nano_usd) from rowmill.usage u where u.batch = b.no), 0))::float8 as "nanoUsd"
    from rowmill.batches b
    where b.id = ${batchId}`);
}

/** The largest lines that did not fit what was reserved for them. */
export async function lineMaxima(client: Reader, pipelineId: number): Promise<{ tokens: number; nanoUsd: number }> {
  const row = await client.first<{ tokens: number; nanoUsd: number }>(sql`
    select line_tokens_max::float8 as tokens, line_nano_usd_max::float8 as "nanoUsd"
    from rowmill.pipelines
    where id = ${pipelineId}`);
  return row ?? { tokens: 0, nanoUsd: 0 };
}

export async function raiseLineMaxima(
  client: Queryable,
  pipelineId: number,
  line: { tokens: number; nanoUsd: number },
): Promise<void> {
  await client.run(sql`
    update rowmill.pipelines
    set line_tokens_max = greatest(line_tokens_max, ${Math.ceil(line.tokens)}::bigint),
      line_nano_usd_max = greatest(line_nano_usd_max, ${Math.ceil(line.nanoUsd)}::bigint)
    where id = ${pipelineId}`);
}
