/** The keys that triggers append. Taking them deletes them, in the transaction that acts on them. */
import { sql, type Queryable, type Reader, type Sql } from "../../postgres/database.js";
import { QUEUE_ROW } from "./queue.js";
import { attemptBefore } from "./requests.js";
import type { RowSql } from "./row-sql.js";
import { visibleBefore } from "../../postgres/visible.js";

/** Keys that are taken at once; the last arrival may go over it by KEYS_PER_ARRIVAL. */
const TAKE_KEYS = 5_000;
const TAKE_ARRIVALS_MAX = 5_000;
/** An arrival's number of keys, by its stored size, unread: right for short keys, too many for long ones. */
const KEYS_INSIDE = sql`greatest(1,
  (coalesce(pg_catalog.pg_column_size(keys), 0) operator(pg_catalog.-) 24) operator(pg_catalog./) 12)`;
/** Longer keys fit no index of ours; the sweeper finds and refuses them. */
export const KEY_BYTES_MAX = 1_024;

/** What was committed, and the database's clock. */
export interface Moment {
  readonly snapshot: string;
  readonly at: string;
}

export async function presentMoment(client: Reader): Promise<Moment> {
  const row = await client.first<Moment>(
    sql`select pg_current_snapshot()::text as snapshot, clock_timestamp()::text as at`,
  );
  return row ?? { snapshot: "", at: "infinity" };
}

export interface TakenArrivals {
  /** Still to be looked at: the ledger knows them, or no such row was found. */
  readonly keys: readonly string[];
  /** New requests, for rows that the ledger did not know. */
  readonly added: number;
  readonly sweepWanted: boolean;
  /** Some written rows have no usable key. */
  readonly keyless: boolean;
  readonly count: number;
  /** When the oldest of them arrived; null: there were none. */
  readonly since: string | null;
}

/**
 * Oldest first by place in the table. The caller holds the pipeline's intake lock. `before`: only what had arrived by
 * then, also if it was put back since. `rows`: makes requests for new rows at once, without reading them.
 */
export async function takeArrivals(
  tx: Queryable,
  pipelineId: number,
  { before, rows }: { readonly before: Moment | null; readonly rows: RowSql | null },
): Promise<TakenArrivals> {
  const taken = sql`
    taken as (
      delete from rowmill.arrivals
      where ctid operator(pg_catalog.=) any (array(
        select ctid
        from (
          select ctid, pg_catalog.sum(size) over (order by ctid) operator(pg_catalog.-) size as before
          from (
            select ctid, ${KEYS_INSIDE} as size
            from rowmill.arrivals a
            where pipeline_id operator(pg_catalog.=) ${pipelineId} and ${arrivedBefore(before)}
            limit ${TAKE_ARRIVALS_MAX}) oldest_first) counted
        where before operator(pg_catalog.<) ${TAKE_KEYS}))
      returning keys, arrived_at),
    key as materialized (
      select u.key, r.id, r.state, pg_catalog.octet_length(u.key) as bytes
      from (select distinct u.key from taken cross join lateral pg_catalog.unnest(taken.keys) as u (key)) u
      left join lateral (
        select r.id, r.state
        from rowmill.requests r
        where r.pipeline_id operator(pg_catalog.=) ${pipelineId} and r.key operator(pg_catalog.=) u.key
        offset 0) r on true)`;
  const statement = sql`
    with ${taken}${rows === null ? sql`` : sql`, ${addNew(pipelineId, rows)}`}
    select pg_catalog.count(*)::pg_catalog.int4 as count,
      coalesce(pg_catalog.bool_or(keys is null), false) as "sweepWanted",
      pg_catalog.min(arrived_at)::pg_catalog.text as since,
      exists (select 1 from key where bytes operator(pg_catalog.=) 0) as keyless,
      ${rows === null ? sql`0` : sql`(select pg_catalog.count(*)::pg_catalog.int4 from added)`} as added,
      (
        select coalesce(pg_catalog.json_agg(key), '[]')
        from key
        where bytes operator(pg_catalog.>) 0 and (${rows === null ? sql`true` : TO_LOOK_AT})) as keys
    from taken`;
  const found = await tx.first<TakenArrivals>(rows === null ? statement : rows.statement(statement));
  return found ?? { keys: [], added: 0, sweepWanted: false, keyless: false, count: 0, since: null };
}

function arrivedBefore(before: Moment | null): Sql {
  return before === null
    ? sql`true`
    : sql`(a.arrived_at operator(pg_catalog.<=) ${before.at}::pg_catalog.timestamptz
      or ${visibleBefore(sql`a.xmin`, before.snapshot)})`;
}

/** A row in flight is among them: a new key may be the one that it has now. */
const MAY_BE_RENAMED = sql`exists (select 1 from key where state operator(pg_catalog.=) 'batched')`;

const TO_LOOK_AT = sql`id is not null or bytes operator(pg_catalog.>) ${KEY_BYTES_MAX} or ${MAY_BE_RENAMED}`;

/** CTEs after `key`. Ordered by length and bytes, so that whole numbers are in order, as mostly in the source. */
function addNew(pipelineId: number, rows: RowSql): Sql {
  return sql`
    added as (
      insert into rowmill.requests (pipeline_id, key, attempt)
      select ${pipelineId}, key.key, ${attemptBefore(pipelineId, sql`key.key`)}
      from key
      where not ${MAY_BE_RENAMED}
        and key.id is null
        and key.bytes operator(pg_catalog.>) 0
        and key.bytes operator(pg_catalog.<=) ${KEY_BYTES_MAX}
        and ${rows.exists(sql`key.key`)}
      order by key.bytes, key.key collate pg_catalog."C"
      returning id),
    queued as (
      insert into rowmill.queue (pipeline_id, ids)
      select ${pipelineId}, all_ids.ids[first:first operator(pg_catalog.+) ${QUEUE_ROW - 1}::pg_catalog.int4]
      from (select pg_catalog.array_agg(id order by id) as ids from added) all_ids
      cross join lateral pg_catalog.generate_series(1, pg_catalog.cardinality(all_ids.ids),
        ${QUEUE_ROW}::pg_catalog.int4) as x (first)
      order by first),
    counted as (
      insert into rowmill.counts (pipeline_id, waiting)
      select ${pipelineId}, pg_catalog.count(*)
      from added
      having pg_catalog.count(*) operator(pg_catalog.>) 0)`;
}

/** For keys that were not looked at, in the transaction that took them. `since`: their first arrival; null: now. */
export async function putBack(
  tx: Queryable,
  pipelineId: number,
  { keys, since }: { keys: readonly string[]; since: string | null },
): Promise<void> {
  for (let start = 0; start < keys.length; start += TAKE_KEYS) {
    await tx.run(sql`
      insert into rowmill.arrivals (pipeline_id, keys, arrived_at)
      values (${pipelineId}, ${keys.slice(start, start + TAKE_KEYS)}::text[],
        coalesce(${since}::timestamptz, now()))`);
  }
}

export async function pipelinesWithArrivals(client: Reader): Promise<number[]> {
  return client.column<number>(sql`select distinct pipeline_id as id from rowmill.arrivals`);
}

/** Arrivals for pipelines that are uninstalled or gone: no worker will take them. */
export async function dropForeignArrivals(client: Queryable): Promise<number> {
  return client.run(sql`
    delete from rowmill.arrivals
    where pipeline_id not in (select id from rowmill.pipelines where uninstalled_at is null)`);
}

/** Keys that have arrived and were not looked at; with repetitions, and rows that need no answer. */
export async function countArrivedKeys(client: Reader, pipelineId: number): Promise<number> {
  return client.number(sql`
    select coalesce(sum(cardinality(keys)), 0)::int as count
    from rowmill.arrivals
    where pipeline_id = ${pipelineId}`);
}

/** Some keys of the last arrivals: the first rows of a load may be untypical. */
export async function arrivedSample(client: Reader, pipelineId: number, max: number): Promise<string[]> {
  return client.column<string>(sql`
    select distinct k.key
    from (
      select keys
      from rowmill.arrivals
      where pipeline_id = ${pipelineId} and keys is not null
      order by ctid desc
      limit ${max}) a
    cross join unnest(a.keys[greatest(1, cardinality(a.keys) - ${max} + 1):]) k (key)
    where k.key <> ''
    limit ${max}`);
}

export async function countArrivals(client: Queryable, pipelineId: number): Promise<number> {
  return client.number(sql`
    select count(*)::int as count
    from rowmill.arrivals
    where pipeline_id = ${pipelineId}`);
}

/** Of rows that were erased: their keys are not looked at, and not kept. */
export async function dropKeys(tx: Queryable, pipelineId: number, keys: readonly string[]): Promise<void> {
  await tx.run(sql`
    update rowmill.arrivals
    set keys = array(select k from unnest(keys) k where k <> all(${[...keys]}::text[]))
    where pipeline_id = ${pipelineId} and keys && ${[...keys]}::text[]`);
}
