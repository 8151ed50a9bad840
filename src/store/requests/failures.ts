/** Failed rows by reason, for display, and reopening them. */
import { DROPPED } from "../../model/words/failure-fixes.js";
import { sql, type Queryable, type Reader, type Sql } from "../../postgres/database.js";
import { STANDING_REFUSALS } from "./refused-keys.js";
import { recallMany, reopenMany } from "./requests.js";

/** Of a message: its beginning tells two causes apart. */
const COMPARED_CHARACTERS = 300;
const MESSAGE_CHARACTERS = 1_000;

/** After these words PostgreSQL quotes an object's name; other quotes hold values. */
const BEFORE_NAME =
  "(column|constraint|relation|table|type|enum|function|trigger|schema|domain|index|role|policy|view|rule|operator) $";
/** Messages of a provider: they name calls and files. */
const PROVIDERS_OWN = ["permanent", "batchRefused", "transient", "rateLimited"] as const;
const SINGLE_QUOTED = "'[^']*'";
const NAMED_CALL = String.raw`\w*\d\w*`;

/**
 * The message of `r` without a row's values, numbers and ids, so that one cause is one group. Split at its quotes,
 * because a regular expression with lookbehind takes PostgreSQL 60 µs a row. All refusals are one group.
 */
// Without `offset 0` they are computed at each mention. A value after a colon ends the message, and may contain quotes.
const MESSAGE_PARTS = sql`lateral (
  select s.parts,
    case
      when s.parts[1] like '%: ' then s.parts[1]
      when s.parts[3] like '%: ' then concat_ws('…', s.parts[1], s.parts[3])
      else concat_ws('…', s.parts[1], s.parts[3], s.parts[5], s.parts[7]) end as outside
  from (select string_to_array(left(r.error, ${COMPARED_CHARACTERS}), '"') as parts offset 0) s
  offset 0) m`;
const CAUSE = sql`case
  when r.error_code = 'refused' then ''
  when m.parts[1] like 'the answer is not JSON:%' then 'not JSON'
  when r.error_code = any(${[...PROVIDERS_OWN]}::text[]) then regexp_replace(m.outside, ${NAMED_CALL}, '', 'g')
  else concat(regexp_replace(translate(m.outside, '0123456789', ''), ${SINGLE_QUOTED}, '', 'g'),
    case when m.parts[1] ~ ${BEFORE_NAME} then m.parts[2] end,
    case when m.parts[3] ~ ${BEFORE_NAME} then m.parts[4] end,
    case when m.parts[5] ~ ${BEFORE_NAME} then m.parts[6] end) end`;

/** Of the request `r`: its last answer, which the target refused, is kept. */
export const KEPT_ATTEMPT = sql`r.error_code = 'unwritable' and a.request_id = r.id and a.attempt = r.attempt
  and a.outcome = 'unwritable' and a.answer is not null`;

export interface FailureGroup {
  readonly pipelineId: number;
  /** An outcome; `refusedKey`: the row's key cannot name a request. */
  readonly reason: string;
  /** The same for all its rows, whatever the values in their messages; only to tell groups apart. */
  readonly cause: string;
  readonly rows: number;
  /** Of these rows: with a kept answer that the target refused. */
  readonly kept: number;
  /** Of the first such row; of a refused key the first 100 characters. */
  readonly key: string;
  readonly message: string;
}

export interface Failures {
  /** The largest first, of each pipeline at most `groupsMax`. */
  readonly groups: readonly FailureGroup[];
  /** Groups and rows that are left out. */
  readonly more: { readonly groups: number; readonly rows: number };
}

export interface FailuresWanted {
  readonly pipelineIds: readonly number[];
  /** Of each pipeline. */
  readonly groupsMax: number;
  /** Of each pipeline; null: reads every failed row. Only for a report. */
  readonly rowsMax: number | null;
  /** Also rows that you dropped with their batch. */
  readonly dropped?: true;
  /** Absent: whatever the reason. */
  readonly reasons?: readonly string[];
  /** Of these rows only, which have a usable key. Absent: of all. */
  readonly keys?: readonly string[];
}

/** Requests `q` that failed, and those that you dropped. */
const FAILED = sql`q.state = 'failed'`;
const FAILED_OR_DROPPED = sql`(q.state = 'failed' or (q.state = 'cancelled' and q.error_code = ${DROPPED}))`;

export async function readFailures(client: Reader, wanted: FailuresWanted): Promise<Failures> {
  const { pipelineIds, groupsMax, rowsMax } = wanted;
  const [reasons, keys] = [wanted.reasons ?? null, wanted.keys ?? null];
  const rows = await client.rows<FailureGroup & { groups: number; all: number }>(sql`
    with grouped as (
      select r.pipeline_id, r.error_code as reason, ${CAUSE} as cause, count(*)::int as rows,
        count(a.request_id)::int as kept, min(r.id) as first
      from unnest(${[...pipelineIds]}::int[]) as p (id)
      cross join lateral (
        select *
        from rowmill.requests q
        where q.pipeline_id = p.id
          and ${wanted.dropped ? FAILED_OR_DROPPED : FAILED}
          and (${reasons}::text[] is null or q.error_code = any(${reasons}::text[]))
          and (${keys}::text[] is null or q.key = any(${keys}::text[]))
        limit ${rowsMax}) r
      cross join ${MESSAGE_PARTS}
      left join rowmill.attempts a on ${KEPT_ATTEMPT}
      group by 1, 2, 3),
    every_group as (
      select g.pipeline_id, g.reason, g.cause, g.rows, g.kept, g.first, null as key, null as message from grouped g
      union all
      select k.pipeline_id, 'refusedKey', k.reason, sum(k.rows)::int, 0, null, min(k.key_prefix), min(k.reason)
      from ${STANDING_REFUSALS}
        and k.pipeline_id = any(${[...pipelineIds]}::int[])
        and ${keys}::text[] is null
        and (${reasons}::text[] is null or 'refusedKey' = any(${reasons}::text[]))
      group by k.pipeline_id, k.reason),
    numbered as (
      select *, row_number() over (partition by pipeline_id order by rows desc, first) as place,
        count(*) over ()::int as groups, sum(rows) over ()::int as all
      from every_group)
    select n.pipeline_id as "pipelineId", n.reason, n.cause, n.rows, n.kept, coalesce(n.key, r.key) as key,
      left(coalesce(n.message, r.error, ''), ${MESSAGE_CHARACTERS}) as message, n.groups, n.all
    from numbered n
    left join rowmill.requests r on r.id = n.first
    where n.place <= ${groupsMax}
    order by n.rows desc, n.pipeline_id, n.place`);
  const groups = rows.map(({ groups: _groups, all: _all, ...group }) => group);
  const [first] = rows;
  const shown = groups.reduce((sum, group) => sum + group.rows, 0);
  return { groups, more: { groups: (first?.groups ?? 0) - groups.length, rows: (first?.all ?? 0) - shown } };
}

export interface FailedRows {
  readonly pipelineId: number;
  /** Null: whatever the reason, but not what you dropped, which has to be named. */
  readonly reasons: readonly string[] | null;
  /** Null: all. */
  readonly keys: readonly string[] | null;
}

/** Of the request `r`. */
export function isMeant({ pipelineId, reasons, keys }: FailedRows): Sql {
  const dropped = reasons?.includes(DROPPED) === true;
  return sql`r.pipeline_id = ${pipelineId}
    and ${dropped ? sql`r.state in ('failed', 'cancelled')` : sql`r.state = 'failed'`}
    and (${reasons}::text[] is null or r.error_code = any(${reasons}::text[]))
    and (${keys}::text[] is null or r.key = any(${keys}::text[]))`;
}

const IS_KEPT = sql`exists (select 1 from rowmill.attempts a where ${KEPT_ATTEMPT})`;

export interface FailedCounts {
  /** With a kept answer that the target refused. */
  readonly kept: number;
  /** All others. */
  readonly lost: number;
  /** Of the others: truncated at `room` or more. */
  readonly sameRoom: number;
}

export async function countFailed(client: Reader, meant: FailedRows, room: number): Promise<FailedCounts> {
  const row = await client.first<FailedCounts>(sql`
    select count(*) filter (where kept)::int as kept, count(*) filter (where not kept)::int as lost,
      count(*) filter (where error_code = 'truncated' and room >= ${room}::int)::int as "sameRoom"
    from (
      select r.error_code, ${IS_KEPT} as kept,
        case
          when r.error_code = 'truncated' then (
            select t.room
            from rowmill.attempts t
            where t.request_id = r.id and t.attempt = r.attempt) end as room
      from rowmill.requests r
      where ${isMeant(meant)}) failed`);
  return row ?? { kept: 0, lost: 0, sameRoom: 0 };
}

/** Keys of the first and the last rows without a kept answer. */
export async function failedSample(client: Reader, meant: FailedRows, max: number): Promise<string[]> {
  const half = Math.ceil(max / 2);
  return client.column<string>(sql`
    (
      select r.key
      from rowmill.requests r
      where ${isMeant(meant)} and not ${IS_KEPT}
      order by r.id
      limit ${half})
    union (
      select r.key
      from rowmill.requests r
      where ${isMeant(meant)} and not ${IS_KEPT}
      order by r.id desc
      limit ${half})`);
}

/** The next ones in the order of their ids, for comparing their rows. */
export async function nextMeant(
  client: Reader,
  meant: FailedRows,
  { after, max }: { readonly after: string; readonly max: number },
): Promise<{ readonly id: string; readonly key: string }[]> {
  return client.rows(sql`
    select r.id::text as id, r.key
    from rowmill.requests r
    where ${isMeant(meant)}
      and r.id > ${after}::bigint
    order by r.id
    limit ${max}`);
}

/** A key without a request is left out. */
export async function statesOf(
  client: Reader,
  pipelineId: number,
  keys: readonly string[],
): Promise<{ key: string; state: string }[]> {
  return client.rows(sql`
    select key, state
    from rowmill.requests
    where pipeline_id = ${pipelineId} and key = any(${[...keys]}::text[])`);
}

/** Reopens the next ones without a kept answer. Returns the last id and how many; null: there are none. */
export async function reopenLost(
  tx: Queryable,
  meant: FailedRows,
  { after, max }: { after: string; max: number },
): Promise<{ last: string; reopened: number } | null> {
  const ids = await tx.column<string>(sql`
    select r.id::text
    from rowmill.requests r
    where ${isMeant(meant)} and not ${IS_KEPT} and r.id > ${after}::bigint
    order by r.id
    limit ${max}
    for update of r`);
  const last = ids.at(-1);
  if (last === undefined) return null;
  const recalled = meant.reasons?.includes(DROPPED) === true ? await recallMany(tx, meant.pipelineId, ids) : 0;
  return { last, reopened: recalled + (await reopenMany(tx, meant.pipelineId, ids)) };
}

/** Those that are still failed wait again. */
export async function reopenFailed(tx: Queryable, pipelineId: number, ids: readonly string[]): Promise<number> {
  const failed = await tx.column<string>(sql`
    select id::text
    from rowmill.requests
    where id = any(${[...ids]}::bigint[]) and state = 'failed'
    order by requests.id
    for update`);
  return reopenMany(tx, pipelineId, failed);
}
