/**
 * Answers to pushed rows in the order in which they were accepted. The transaction that accepts some adds a chunk, so
 * a crash leaves both or neither. Chunks are ordered by the numbers of their transactions, and show up to the first
 * that may still get one: otherwise a reader would pass over a transaction that commits late. Which these are is known
 * by `WRITING_LOCK`, so no one else's open transaction holds results back.
 */
import { sql, WRITING_LOCK, type Queryable, type Reader, type Sql } from "../../postgres/database.js";
import { VERSION_OF_BATCH } from "../pipelines/definitions.js";

/** The caller accepted the answers to these requests in this transaction, which is `writingFor` the pipeline. */
export async function record(tx: Queryable, pipelineId: number, ids: readonly string[]): Promise<void> {
  if (ids.length === 0) return;
  const recorded = await tx.run(sql`
    insert into rowmill.result_chunks (pipeline_id, ids)
    select ${pipelineId}::int, ${[...ids]}::bigint[]
    where current_setting('rowmill.writing') = ${String(pipelineId)}::text`);
  if (recorded === 0) throw new Error("Answers are accepted in a transaction that writes for their pipeline.");
}

/** Behind a result: the chunk, the result's place in it from 1, and what tells the chunk from one of a lost ledger. */
export interface Position {
  readonly no: string;
  readonly place: number;
  readonly atMicros: string;
}

export interface ListedResult extends Position {
  /** Null: the ledger has forgotten the row. */
  readonly key: string | null;
  readonly acceptedAt: Date;
  /** Of the answer that is in the target now; null: the ledger does not know it. */
  readonly model: string | null;
  readonly version: number | null;
}

const AT_MICROS = sql`(extract(epoch from c.at) * 1000000)::bigint::text`;

function isBelow(horizon: string): Sql {
  return sql`(c.era < 0 or c.xid < ${horizon}::text::xid8)`;
}

/**
 * The first transaction that is open, or yet to begin, and may add a chunk. A transaction takes the lock before it
 * has a number. So one with a number below the horizon and without the lock has ended, and the next statement sees its
 * writes. Reads all locks at once, because two reads would show two moments. Numbers of locks lack their upper 32 bits.
 */
async function horizonOf(client: Reader, pipelineId: number): Promise<string> {
  const horizon = await client.value<string>(sql`
    with held as materialized (
      select l.locktype, l.pid, l.database, l.classid, l.objid, l.objsubid, l.transactionid::text::bigint as xid
      from pg_catalog.pg_locks l
      where l.granted and (l.locktype = 'advisory' or (l.locktype = 'transactionid' and l.mode = 'ExclusiveLock'))),
    next as (select pg_snapshot_xmax(pg_current_snapshot())::text::bigint as xid),
    open as (
      -- The number nearest to the next one: open transactions may be above it as well as below.
      select n.xid + ((x.xid - n.xid + 2147483648) & 4294967295) - 2147483648 as xid
      from next n
      cross join held w
      join held x on x.pid = w.pid and x.locktype = 'transactionid'
      where w.locktype = 'advisory'
        and w.database = (select d.oid from pg_catalog.pg_database d where d.datname = current_database())
        and w.classid = ${WRITING_LOCK}::int::oid
        and w.objid = ${pipelineId}::int::oid
        and w.objsubid = 2)
    select least(n.xid, (select min(xid) from open))::text as horizon
    from next n`);
  if (horizon === null) throw new Error("The database did not tell which transactions are open.");
  return horizon;
}

/**
 * In order, from behind the position; null: from the first. "unknown": this ledger never gave that position. In a
 * transaction each of whose statements sees what was committed before it.
 */
export async function page(
  client: Reader,
  pipelineId: number,
  { after, max }: { readonly after: Position | null; readonly max: number },
): Promise<readonly ListedResult[] | "unknown"> {
  const from = after === null ? null : await find(client, pipelineId, after);
  if (after !== null && from === null) return "unknown";
  const horizon = await horizonOf(client, pipelineId);
  return client.rows<ListedResult>(sql`
    select l.no::text as no, l.place::int as place, l."atMicros", l.at as "acceptedAt",
      case when not r.forgotten then r.key end as key, b.model, ${VERSION_OF_BATCH} as version
    from (
      select c.*, u.id, u.place
      from (
        select c.era, c.xid, c.no, c.at, c.ids, ${AT_MICROS} as "atMicros"
        from rowmill.result_chunks c
        where c.pipeline_id = ${pipelineId} and ${isBelow(horizon)}${from === null ? sql`` : sql` and ${isFrom(from)}`}
        order by c.era, c.xid, c.no
        -- One may be used up, each of the others has a result at least.
        limit ${max + 1}) c
      cross join lateral unnest(c.ids) with ordinality as u (id, place)
      where not (c.no = ${after?.no ?? "0"}::bigint and u.place <= ${after?.place ?? 0}::int)
      order by c.era, c.xid, c.no, u.place
      limit ${max}) l
    left join rowmill.requests r on r.id = l.id
    left join rowmill.batches b on b.no = r.answered_batch
    order by l.era, l.xid, l.no, l.place`);
}

interface Place {
  readonly era: number;
  readonly xid: string;
  readonly no: string;
}

function find(client: Reader, pipelineId: number, { no, atMicros, place }: Position): Promise<Place | null> {
  return client.first<Place>(sql`
    select c.era, c.xid::text as xid, c.no::text as no
    from rowmill.result_chunks c
    where c.no = ${no}::bigint
      and c.pipeline_id = ${pipelineId}
      and ${AT_MICROS} = ${atMicros}
      and ${place}::int between 1 and cardinality(c.ids)`);
}

function isFrom({ era, xid, no }: Place): Sql {
  return sql`(c.era, c.xid, c.no) >= (${era}::int, ${xid}::text::xid8, ${no}::bigint)`;
}

/** The chunk of the last result that shows; null: there is none. */
export async function lastChunk(client: Reader, pipelineId: number): Promise<string | null> {
  const horizon = await horizonOf(client, pipelineId);
  return client.value<string>(sql`
    select c.no::text as no
    from rowmill.result_chunks c
    where c.pipeline_id = ${pipelineId} and ${isBelow(horizon)}
    order by c.era desc, c.xid desc, c.no desc
    limit 1`);
}

/**
 * Puts what another server numbered before what this one does: a dump that is restored brings numbers which this one
 * has yet to reach. Only then; where all are lower, they come first anyway.
 */
export async function settleMoved(client: Queryable): Promise<void> {
  await client.run(sql`
    update rowmill.result_chunks
    set era = era - 1
    where exists (
      select
      from rowmill.result_chunks c
      where c.era = 0 and c.xid >= pg_snapshot_xmax(pg_current_snapshot()))`);
}
