/** Chunks of a user's table in the order of its key, for the sweeper. */
import { identifier, raw, sql, type Queryable, type Sql } from "../../postgres/database.js";
import * as ledgerChunks from "../../store/requests/ledger-chunks.js";
import { boundedRead } from "../../postgres/bounded-read.js";
import { largeHash } from "./row-size.js";
import type { AskedRow, SweepPlace, SweptChunk } from "../source.js";
import type { TableColumn } from "./inspection.js";
import type { TableParts } from "./parts.js";
import { readAlone, stopwatch } from "./rows.js";
import { contentOfLight, hexOf, weigh, WEIGHED_HASH } from "./weighed-rows.js";

/** Rows of a chunk that are compared one by one, after the database failed to read more of them together. */
const ROWS_ALONE_MAX = 500;

/** The CTE `chunk`: the next rows in key order, and what the ledger knows of each. Not those with `later`. */
function chunkOf(parts: TableParts, page: Page): Sql {
  const { cursor, rowsMax } = page;
  const own = sql`${parts.keyText} as "rowmill key", pg_catalog.row_number() over () as "rowmill position"`;
  const from = sql`(select * from ${parts.from} s
      where ${parts.keyNotNull} and ${after(parts.key, cursor)} and ${parts.matches}
      order by ${parts.keyColumns} limit ${rowsMax}) s`;
  const rows = page.reads === "nothing" ? { ...parts.rows, bytes: sql`0` } : parts.rows;
  const hash = page.reads === "nothing" ? sql`null::pg_catalog.bytea` : WEIGHED_HASH;
  // Nothing to compare with, or not now; or it was too large, and still has the same size.
  const isUnread = sql`(r.content_hash is null
    or r.state operator(pg_catalog.=) any ('{batched,gone}'::rowmill.request_state[])
    or coalesce(r.content_hash operator(pg_catalog.=) ${largeHash(sql`s."rowmill bytes"`)}, false))`;
  const content = page.reads === "nothing" ? sql`` : sql`cross join lateral ${contentOfLight(parts.rows, isUnread)} c`;
  return sql`
    chunk as materialized (
      select s."rowmill key" as key, s."rowmill position" as position, s."rowmill later" as later,
        s."rowmill bytes" as bytes, ${hash} as hash, r.id, r.state, r.row_gone, r.content_hash, r.answered_hash,
        r.fingerprint, r.answered_fingerprint
      from ${weigh(rows, from, { own, key: parts.keyText, isAlone: page.reads === "alone" })} s
      -- offset 0: looked up by its key. Joined, all requests were read for each chunk.
      left join lateral (
        select r.*
        from rowmill.requests r
        where r.pipeline_id operator(pg_catalog.=) ${parts.pipelineId}
          -- With the collation of a key column, such as that of Rowmill's copies, the index would not be used.
          and r.key operator(pg_catalog.=) (s."rowmill key" collate pg_catalog."default")
        offset 0) r on true ${content})`;
}

interface Page {
  readonly cursor: readonly string[] | null;
  readonly rowsMax: number;
  /** `light`: content of rows that can be read together. `alone`: no content here. */
  readonly reads: "light" | "alone" | "nothing";
}

function after(key: readonly TableColumn[], cursor: readonly string[] | null): Sql {
  if (cursor === null) return sql`true`;
  const [first, ...rest] = key.map((column, index) => ({
    column: sql`s.${identifier(column.name)}`,
    value: sql`${cursor[index] ?? ""}::${raw(column.castType)}`,
  }));
  return first === undefined ? sql`true` : afterParts(first, rest);
}

interface KeyPart {
  readonly column: Sql;
  readonly value: Sql;
}

/** `(a, b) > (x, y)`, which cannot be qualified. The first part alone bounds the index scan. */
function afterParts({ column, value }: KeyPart, [next, ...rest]: readonly KeyPart[]): Sql {
  if (next === undefined) return sql`${column} operator(pg_catalog.>) ${value}`;
  return sql`${column} operator(pg_catalog.>=) ${value}
    and (${column} operator(pg_catalog.>) ${value} or (${afterParts(next, rest)}))`;
}

interface ChunkEnd {
  rows: number;
  isLast: boolean;
  last: string[] | null;
}

function chunkEnd(parts: TableParts, { rowsMax }: Page): Sql {
  return sql`(select pg_catalog.count(*)::pg_catalog.int4 from chunk where not later) as rows,
    (
      select pg_catalog.count(*) operator(pg_catalog.<) ${rowsMax}::pg_catalog.int4
        and not coalesce(pg_catalog.bool_or(later), false)
      from chunk) as "isLast",
    (select ${parts.partsOf(sql`key`)} from chunk where not later order by position desc limit 1) as last`;
}

/** Rows that there is no time to compare count as found: the intake compares them later. */
export async function compareChunk(
  tx: Queryable,
  parts: TableParts,
  { cursor, lastRequestId }: SweepPlace,
  rowsMax: number,
): Promise<SweptChunk> {
  const together = await boundedRead(tx, null, () =>
    comparePage(tx, parts, { cursor, lastRequestId, rowsMax, reads: "light" }),
  );
  const found =
    together ?? (await comparePage(tx, parts, { cursor, lastRequestId, rowsMax: ROWS_ALONE_MAX, reads: "alone" }));
  const keys = [...(found?.keys ?? [])];
  const isLate = stopwatch();
  for (const { key, hash } of found?.alone ?? []) {
    if (isLate()) {
      keys.push(key);
      continue;
    }
    const row = await readAlone(tx, parts, { key, withContent: false });
    if (row?.hash !== hash) keys.push(key);
  }
  return { rows: found?.rows ?? 0, keys, cursor: nextCursor(found), met: found?.met ?? "0" };
}

interface ComparedPage extends ChunkEnd {
  readonly met: string;
  readonly keys: string[] | null;
  /** Rows to be read alone, with the ledger's hash. */
  readonly alone: { key: string; hash: string | null }[] | null;
}

async function comparePage(tx: Queryable, parts: TableParts, page: Page & SweepPlace): Promise<ComparedPage | null> {
  const known = sql`from chunk c where not c.later`;
  // A row that was never read has no hash: rendering reads it.
  const isOther = (hash: Sql) => sql`c.content_hash is not null and c.content_hash operator(pg_catalog.<>) ${hash}`;
  const isNew = sql`(c.id is null or c.state operator(pg_catalog.=) 'gone')`;
  const isIdle = sql`c.state operator(pg_catalog.<>) all ('{batched,gone}')`;
  return tx.first<ComparedPage>(
    parts.statement(sql`
    with ${chunkOf(parts, page)}
    select ${chunkEnd(parts, page)}, (select ${ledgerChunks.metHash(sql`c`, page.lastRequestId)} ${known}) as met,
      (
        select pg_catalog.json_agg(c.key) ${known}
          and (${isNew} or (${isIdle} and c.hash is not null and ${isOther(sql`c.hash`)}))) as keys,
      (
        select pg_catalog.json_agg(
          pg_catalog.json_build_object('key', c.key, 'hash', ${hexOf(sql`c.content_hash`)})) ${known}
          and ${isIdle}
          and c.hash is null
          and ${isOther(largeHash(sql`c.bytes`))}) as alone`),
  );
}

export async function askedChunk(
  tx: Queryable,
  parts: TableParts,
  cursor: readonly string[] | null,
  rowsMax: number,
): Promise<{ rows: AskedRow[]; cursor: readonly string[] | null }> {
  const page: Page = { cursor, rowsMax, reads: "nothing" };
  const found = await tx.first<ChunkEnd & { asked: AskedRow[] | null }>(
    parts.statement(sql`
    with ${chunkOf(parts, page)}
    select ${chunkEnd(parts, page)},
      (
        select pg_catalog.json_agg(
          pg_catalog.json_build_object('key', c.key, 'cursor', ${parts.partsOf(sql`c.key`)},
            'requestId', c.id::pg_catalog.text, 'state', c.state, 'contentHash', ${hexOf(sql`c.content_hash`)},
            'fingerprint', ${hexOf(sql`c.fingerprint`)},
            'answeredFingerprint', ${hexOf(sql`c.answered_fingerprint`)})
          order by c.position)
        from chunk c
        where not c.later
          and (c.state operator(pg_catalog.=) any ('{succeeded,failed}'::rowmill.request_state[])
            or (c.state operator(pg_catalog.=) 'waiting'
              and c.answered_hash operator(pg_catalog.=) c.content_hash))) as asked`),
  );
  return { rows: found?.asked ?? [], cursor: nextCursor(found) };
}

function nextCursor(end: ChunkEnd | null): readonly string[] | null {
  return end && !end.isLast ? end.last : null;
}
