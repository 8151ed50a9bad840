/**
 * Tries: rows that were asked live, with what was asked and what came. By the pipeline's name, because it may not be
 * registered yet.
 */
import type { Json } from "../../model/pipeline.js";
import type { AnswerOutcome } from "../../model/provider/outcome.js";
import type { Price } from "../../model/provider/pricing.js";
import { storableJson, storableText } from "../../model/words/storable-text.js";
import { sql, type Queryable, type Reader, type Sql } from "../../postgres/database.js";
import { hex } from "../requests/requests.js";

/** What the options changed in the config's request. */
export interface Overridden {
  readonly model?: true;
  /** The file whose text is the prompt. */
  readonly prompt?: string;
}

export interface Try {
  readonly no: number;
  readonly pipeline: string;
  readonly definitionHash: string;
  readonly overridden: Overridden;
  readonly system: string | null;
  readonly prompt: string;
  readonly provider: string;
  readonly account: string;
  readonly model: string;
  readonly endpoint: string;
  /** Of live requests; null: unknown. */
  readonly price: Price | null;
  readonly rows: number;
  readonly askedAt: Date;
}

/**
 * `answered`: it fits schema and `validate`. `empty`, `unrenderable`, `tooLarge`: not sent. `failed`: certainly not
 * executed. `unknown`: may have been executed.
 */
const TRY_OUTCOMES = [
  "answered",
  "invalid",
  "truncated",
  "refused",
  "empty",
  "unrenderable",
  "tooLarge",
  "failed",
  "unknown",
] as const;
export type TryOutcome = (typeof TRY_OUTCOMES)[number];

export interface TryAnswer {
  readonly try: number;
  readonly key: string;
  readonly contentHash: string;
  readonly fingerprint: string | null;
  readonly room: number;
  readonly reservedNanoUsd: number;
  /** Null: on its way, or its process died. */
  readonly outcome: TryOutcome | null;
  readonly detail: string | null;
  readonly answer: string | null;
  readonly reply: AnswerOutcome | null;
  readonly cells: Readonly<Record<string, Json>> | null;
  readonly inputTokens: number;
  readonly cachedInputTokens: number;
  readonly outputTokens: number;
  readonly costNanoUsd: number | null;
  readonly latencyMs: number | null;
  readonly acceptedAt: Date | null;
}

const COLUMNS = sql`t.no, t.pipeline, t.definition_hash as "definitionHash", t.overridden, t.system, t.prompt,
  t.provider, t.account, t.model, t.endpoint, t.price, t.rows, t.asked_at as "askedAt"`;

const ANSWER_COLUMNS = sql`a.try, a.key, ${hex(sql`a.content_hash`)} as "contentHash",
  ${hex(sql`a.fingerprint`)} as fingerprint, a.room, a.reserved_nano_usd::float8 as "reservedNanoUsd", a.outcome,
  a.detail, a.answer, a.reply, a.cells, a.input_tokens as "inputTokens",
  a.cached_input_tokens as "cachedInputTokens", a.output_tokens as "outputTokens",
  a.cost_nano_usd::float8 as "costNanoUsd", a.latency_ms as "latencyMs", a.accepted_at as "acceptedAt"`;

/** Returns its number. */
export async function insertTry(tx: Queryable, asked: Omit<Try, "no" | "askedAt">): Promise<number> {
  const price = asked.price === null ? null : JSON.stringify(asked.price);
  const row = await tx.first<{ no: number }>(sql`
    insert into rowmill.tries (pipeline, definition_hash, overridden, system, prompt, provider, account, model,
      endpoint, price, rows)
    values (${asked.pipeline}, ${asked.definitionHash}, ${JSON.stringify(asked.overridden)}::jsonb,
      ${asked.system === null ? null : storableText(asked.system)}, ${storableText(asked.prompt)}, ${asked.provider},
      ${asked.account}, ${asked.model}, ${asked.endpoint}, ${price}::jsonb, ${asked.rows})
    returning no`);
  if (row === null) throw new Error("The try got no number.");
  return row.no;
}

/** A row before its call, or one that is not sent. */
export interface AskedRow {
  readonly try: number;
  /** From 0, in the order of the try. */
  readonly place: number;
  readonly key: string;
  readonly contentHash: string;
  /** Null, as the messages: nothing is sent. */
  readonly fingerprint: string | null;
  readonly system: string | null;
  readonly prompt: string | null;
  readonly room: number;
  readonly reservedNanoUsd: number;
  /** Null: it is sent. */
  readonly outcome: TryOutcome | null;
  readonly detail: string | null;
}

export async function insertAsked(tx: Queryable, row: AskedRow): Promise<void> {
  await tx.run(sql`
    insert into rowmill.try_answers (try, place, key, content_hash, fingerprint, system, prompt, room,
      reserved_nano_usd, outcome, detail)
    values (${row.try}, ${row.place}, ${row.key}, decode(${row.contentHash}, 'hex'),
      decode(${row.fingerprint}::text, 'hex'), ${row.system}, ${row.prompt}, ${row.room},
      ${Math.ceil(row.reservedNanoUsd)}, ${row.outcome}, ${row.detail})`);
}

/** How a call ended. */
export interface AnsweredRow {
  readonly outcome: TryOutcome;
  readonly detail: string | null;
  readonly answer: string | null;
  readonly reply: AnswerOutcome | null;
  readonly cells: Readonly<Record<string, Json>> | null;
  readonly answeredBy: string | null;
  readonly inputTokens: number;
  readonly cachedInputTokens: number;
  readonly outputTokens: number;
  /** Null: unknown. */
  readonly costNanoUsd: number | null;
  readonly latencyMs: number;
  /** The call may have cost what was reserved, which stays counted. */
  readonly staysReserved: boolean;
}

export async function recordAnswer(
  client: Queryable,
  of: { readonly try: number; readonly key: string },
  row: AnsweredRow,
): Promise<void> {
  const json = (value: unknown) => (value === null ? null : storableJson(value));
  await client.run(sql`
    update rowmill.try_answers
    set outcome = ${row.outcome}, detail = ${row.detail}, answer = ${row.answer}, reply = ${json(row.reply)}::json,
      cells = ${json(row.cells)}::json, answered_by = ${row.answeredBy}, input_tokens = ${row.inputTokens},
      cached_input_tokens = ${row.cachedInputTokens}, output_tokens = ${row.outputTokens},
      cost_nano_usd = ${row.costNanoUsd}, latency_ms = ${row.latencyMs},
      reserved_nano_usd = case when ${row.staysReserved}::boolean then reserved_nano_usd else 0 end
    where try = ${of.try}
      and key = ${of.key}
      and outcome is null`);
}

export interface ListedTry extends Try {
  readonly asked: number;
  readonly answered: number;
  readonly accepted: number;
  /** With what is reserved for calls whose ending is unknown; null: the price is unknown. */
  readonly costNanoUsd: number | null;
}

/** The newest first. `pipelines`: null for all. */
export async function list(
  client: Reader,
  { pipelines, max }: { readonly pipelines: readonly string[] | null; readonly max: number },
): Promise<ListedTry[]> {
  return client.rows<ListedTry>(sql`
    select ${COLUMNS}, a.asked, a.answered, a.accepted,
      case when t.price is not null then a.cost end as "costNanoUsd"
    from rowmill.tries t
    cross join lateral (
      select count(*)::int as asked, count(*) filter (where a.outcome = 'answered')::int as answered,
        count(a.accepted_at)::int as accepted,
        coalesce(sum(coalesce(a.cost_nano_usd, 0) + a.reserved_nano_usd), 0)::float8 as cost
      from rowmill.try_answers a
      where a.try = t.no) a
    where ${pipelines === null ? sql`true` : sql`t.pipeline = any(${[...pipelines]}::text[])`}
    order by t.no desc
    limit ${max}`);
}

export async function byNumber(client: Reader, no: number): Promise<Try | null> {
  return one(client, sql`t.no = ${no}::bigint`);
}

export async function last(client: Reader, pipeline: string): Promise<Try | null> {
  return one(client, sql`t.pipeline = ${pipeline}`);
}

function one(client: Reader, which: Sql): Promise<Try | null> {
  return client.first<Try>(sql`
    select ${COLUMNS}
    from rowmill.tries t
    where ${which}
    order by t.no desc
    limit 1`);
}

/** All of a try, in their order. */
export async function answersOf(client: Reader, no: number): Promise<TryAnswer[]> {
  return client.rows<TryAnswer>(sql`
    select ${ANSWER_COLUMNS}
    from rowmill.try_answers a
    where a.try = ${no}
    order by a.place`);
}

/** One row of a try, for its story. */
export interface RowTry extends Pick<
  TryAnswer,
  | "try"
  | "outcome"
  | "detail"
  | "answer"
  | "cells"
  | "inputTokens"
  | "cachedInputTokens"
  | "outputTokens"
  | "costNanoUsd"
  | "reservedNanoUsd"
  | "latencyMs"
  | "acceptedAt"
> {
  readonly askedAt: Date;
  readonly provider: string;
  /** That answered, or was asked. */
  readonly model: string;
  readonly overridden: Overridden;
  /** The definition is that of the pipeline now. */
  readonly isCurrent: boolean;
  /** Whose result the answer is since it was accepted. */
  readonly batchId: string | null;
}

export async function hasAny(client: Reader, pipeline: string): Promise<boolean> {
  return (
    (await client.value<boolean>(sql`select true from rowmill.tries where pipeline = ${pipeline} limit 1`)) === true
  );
}

/** Of one row, the newest first. `more`: older ones. */
export async function triesOfRow(
  client: Reader,
  { pipeline, key, max }: { readonly pipeline: string; readonly key: string; readonly max: number },
): Promise<{ readonly tries: readonly RowTry[]; readonly more: number }> {
  const rows = await client.rows<RowTry & { count: number }>(sql`
    select a.try, a.outcome, a.detail, a.answer, a.cells, a.input_tokens as "inputTokens",
      a.cached_input_tokens as "cachedInputTokens", a.output_tokens as "outputTokens",
      a.cost_nano_usd::float8 as "costNanoUsd", a.reserved_nano_usd::float8 as "reservedNanoUsd",
      a.latency_ms as "latencyMs", a.accepted_at as "acceptedAt", a.asked_at as "askedAt", t.provider,
      coalesce(a.answered_by, t.model) as model, t.overridden,
      coalesce(t.definition_hash = p.definition_hash, false) as "isCurrent", b.id as "batchId",
      (count(*) over ())::int as count
    from rowmill.tries t
    join rowmill.try_answers a on a.try = t.no
    left join rowmill.pipelines p on p.name = t.pipeline
    left join rowmill.batches b on b.no = a.batch
    where t.pipeline = ${pipeline}
      and a.key = ${key}
    order by t.no desc
    limit ${max}`);
  const [first] = rows;
  return { tries: rows.map(({ count: _count, ...row }) => row), more: (first?.count ?? 0) - rows.length };
}

/** The last usable answer of each of these rows in the pipeline's tries before this one. */
export async function previousAnswers(
  client: Reader,
  { pipeline, before, keys }: { readonly pipeline: string; readonly before: number; readonly keys: readonly string[] },
): Promise<TryAnswer[]> {
  return client.rows<TryAnswer>(sql`
    select distinct on (a.key) ${ANSWER_COLUMNS}
    from rowmill.tries t
    join rowmill.try_answers a on a.try = t.no
    where t.pipeline = ${pipeline}
      and t.no < ${before}
      and a.key = any(${[...keys]}::text[])
      and a.cells is not null
    order by a.key, a.try desc`);
}

/** Empties the texts of old tries; returns of how many rows. */
export async function forgetTexts(
  client: Queryable,
  bounds: { readonly olderThanDays: number; readonly max: number },
): Promise<number> {
  return client.run(sql`
    update rowmill.try_answers
    set system = null, prompt = null, answer = null, reply = null, cells = null
    where ctid = any (array(
      select ctid
      from rowmill.try_answers
      where (prompt is not null or answer is not null)
        and asked_at < now() - make_interval(days => ${bounds.olderThanDays})
      limit ${bounds.max}))`);
}

/** Erases what was asked about these rows and answered; what it cost stays. Returns how many answers it was. */
export async function eraseRows(tx: Queryable, pipeline: string, keys: readonly string[]): Promise<number> {
  return tx.run(sql`
    update rowmill.try_answers a
    set key = 'forgotten ' || gen_random_uuid(), content_hash = '', fingerprint = null, system = null, prompt = null,
      detail = null, answer = null, reply = null, cells = null
    from rowmill.tries t
    where t.pipeline = ${pipeline}
      and a.try = t.no
      and a.key = any(${[...keys]}::text[])`);
}
