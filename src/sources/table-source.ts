/**
 * Reads a user's table: rows by key, and chunks for the sweeper. Content and key are PostgreSQL's own text under pinned
 * settings, made in SQL, so that every worker and every version of a client sees the same.
 */
import type { RowCells } from "../model/pipeline.js";
import { identifier, join, raw, sql, type Queryable, type Sql } from "../store/database.js";
import { bisect } from "../store/bisect.js";
import { visibleBefore } from "../store/visible.js";
import { CONTENT_BYTES_MAX, type AskedRow, type RowsRead, type RowVersion, type Source } from "./source.js";
import type { SourceRow, SweptChunk } from "./source.js";
import { textOf, type SourceTable, type TableColumn } from "./table-inspection.js";

export interface TableSourceOptions {
  readonly pipelineId: number;
  readonly where: string | null;
  /** With `existing: "skip"`, the snapshot of the installation: rows that it sees unchanged were there before. */
  readonly skipBefore: string | null;
}

export function createTableSource(table: SourceTable, options: TableSourceOptions): Source {
  const parts = tableParts(table, options);
  return {
    readVersions: (tx, keys) => readable(tx, keys, (part) => readVersions(tx, parts, part)),
    readRows: (tx, keys) => readRows(tx, parts, keys),
    compareChunk: (tx, cursor, rowsMax) => compareChunk(tx, parts, cursor, rowsMax),
    askedChunk: (tx, cursor, rowsMax) => askedChunk(tx, parts, cursor, rowsMax),
    missingKeys: (tx, keys) => missingKeys(tx, parts, keys),
    spellKey: (keyParts) => spellKey(keyParts, table.key.length),
  };
}

/** Fragments over the source under the alias `s`, put together once. */
interface TableParts {
  readonly pipelineId: number;
  readonly columns: readonly TableColumn[];
  readonly key: readonly TableColumn[];
  readonly from: Sql;
  readonly keyText: Sql;
  /** The key's parts as a JSON array of texts, for the cursor. */
  readonly keyParts: Sql;
  readonly keyColumns: Sql;
  readonly keyNotNull: Sql;
  /** JSON array of the declared columns' texts. */
  readonly content: Sql;
  readonly matches: Sql;
  readonly existedBefore: Sql;
  /** `s.key = <text>::type and …`, for an index look-up by a ledger key. */
  readonly keyEquals: (ledgerKey: Sql) => Sql;
}

function tableParts(table: SourceTable, options: TableSourceOptions): TableParts {
  const texts = table.key.map((column) => raw(textOf("s", column)));
  const keyParts = sql`json_build_array(${join(texts)})::text`;
  const [only] = texts;
  return {
    pipelineId: options.pipelineId,
    columns: table.columns,
    key: table.key,
    from: raw(table.qualified),
    keyText: texts.length === 1 && only ? only : keyParts,
    keyParts,
    keyColumns: join(table.key.map((column) => sql`s.${identifier(column.name)}`)),
    keyNotNull: join(
      table.key.map((column) => sql`s.${identifier(column.name)} is not null`),
      " and ",
    ),
    content: sql`json_build_array(${join(table.columns.map((column) => raw(textOf("s", column))))})::text`,
    matches: options.where === null ? sql`true` : sql`(${raw(options.where)})`,
    existedBefore: options.skipBefore === null ? sql`false` : visibleBefore(sql`s.xmin`, options.skipBefore),
    keyEquals: (ledgerKey) => keyEquals(table.key, ledgerKey),
  };
}

const hashOf = (content: Sql): Sql => sql`left(encode(sha256(convert_to(${content}, 'UTF8')), 'hex'), 32)`;

function keyEquals(key: readonly TableColumn[], ledgerKey: Sql): Sql {
  const [only] = key;
  if (key.length === 1 && only) return sql`s.${identifier(only.name)} = ${ledgerKey}::${raw(only.type)}`;
  return join(
    key.map(
      (column, index) =>
        sql`s.${identifier(column.name)} = (${ledgerKey}::json ->> ${raw(String(index))})::${raw(column.type)}`,
    ),
    " and ",
  );
}

/** A key that no longer fits its column's type (retyped since, an enum's value renamed) names no row. */
async function readable<Row>(
  tx: Queryable,
  keys: readonly string[],
  read: (part: readonly string[]) => Promise<Row[]>,
): Promise<Row[]> {
  const rows: Row[] = [];
  await bisect(
    tx,
    keys,
    async (part) => {
      for (const row of await read(part)) rows.push(row);
    },
    async () => undefined,
  );
  return rows;
}

/** The row of `k.key`. */
function rowOf(parts: TableParts): Sql {
  return sql`select ${parts.content} as content, ${parts.existedBefore} as existed from ${parts.from} s
    where ${parts.keyEquals(sql`k.key`)} and ${parts.keyText} = k.key and ${parts.matches}`;
}

async function readVersions(
  tx: Queryable,
  parts: TableParts,
  keys: readonly string[],
): Promise<RowVersion[]> {
  return tx.rows<RowVersion>(sql`
    select k.key, ${hashOf(sql`found.content`)} as hash, found.existed as "existedBefore"
    from unnest(${keys}::text[]) as k (key) cross join lateral (${rowOf(parts)}) found`);
}

/**
 * Where a key fits its column no more the statement fails, and the keys are halved until it stands alone; it names no row, and is
 * passed over. Of the parts that this makes only the first readable one is read. Everything after it stays unlooked at, so `left` is
 * a proper suffix of the keys asked: what that part did not take, and all parts behind it.
 */
async function readRows(tx: Queryable, parts: TableParts, keys: readonly string[]): Promise<RowsRead> {
  const reads: RowsRead[] = [];
  const later: string[] = [];
  await bisect(
    tx,
    keys,
    async (part) => {
      if (reads.length > 0) later.push(...part);
      else reads.push(await readFitting(tx, parts, part));
    },
    async () => undefined,
  );
  const [read] = reads;
  return { rows: read?.rows ?? [], left: [...(read?.left ?? []), ...later] };
}

interface ContentRow extends RowVersion {
  readonly position: number;
  /** Null: it does not go into memory together with those before it. */
  readonly content: (string | null)[] | null;
}

/**
 * Reads from the first key on until a row does not fit; `left` begins with that row's key. The first row with content always fits, so
 * `left` is a proper suffix of the keys.
 *
 * The recursion goes row by row, so that the server works for no content that is not taken: of 300 rows of 500 kB it took the 33 that
 * fit in 0.3 s, and 0.8 s when a window function over all of them chose; 1,000 short ones take the same 20 ms as in one join.
 *
 * The keys are jsonb, since the n-th text of an array is found by walking over those before it.
 */
async function readFitting(tx: Queryable, parts: TableParts, keys: readonly string[]): Promise<RowsRead> {
  const found = await tx.rows<ContentRow>(sql`
    with recursive read (position, key, content, existed, bytes, fits) as (
      select 0, null::text, null::text, null::boolean, 0::bigint, true
      union all
      select read.position + 1, k.key, found.content, found.existed, read.bytes + coalesce(octet_length(found.content), 0),
        read.bytes = 0 or found.content is null or read.bytes + octet_length(found.content) <= ${CONTENT_BYTES_MAX}::bigint
      from read cross join lateral (select ${JSON.stringify(keys)}::jsonb ->> read.position as key) k
        left join lateral (${rowOf(parts)}) found on true
      where read.fits and read.position < ${keys.length}::int)
    select position, key, ${hashOf(sql`content`)} as hash, existed as "existedBefore", case when fits then content::json end as content
    from read where content is not null`);
  const rows = found.flatMap(({ key, hash, existedBefore, content }): SourceRow[] =>
    content === null ? [] : [{ key, hash, existedBefore, cells: cellsOf(parts.columns, content) }],
  );
  const over = found.find((row) => row.content === null);
  return { rows, left: over === undefined ? [] : keys.slice(over.position - 1) };
}

function cellsOf(columns: readonly TableColumn[], content: readonly (string | null)[]): RowCells {
  return Object.fromEntries(columns.map((column, index) => [column.name, content[index] ?? null]));
}

/** The next rows in key order, with what is wanted of each; ends the statement's CTE list, to be read from as `chunk`. */
function chunkOf(
  parts: TableParts,
  page: { cursor: readonly string[] | null; rowsMax: number; hash: Sql },
): Sql {
  const { cursor, rowsMax, hash } = page;
  return sql`chunk as materialized (
    select ${parts.keyText} as key, ${parts.keyParts} as parts, ${hash} as hash, row_number() over () as position
    from (select * from ${parts.from} s
      where ${parts.keyNotNull} and ${after(parts.key, cursor)} and ${parts.matches}
      order by ${parts.keyColumns} limit ${rowsMax}) s)`;
}

function after(key: readonly TableColumn[], cursor: readonly string[] | null): Sql {
  if (cursor === null) return sql`true`;
  const values = key.map((column, index) => sql`${cursor[index] ?? ""}::${raw(column.type)}`);
  return sql`(${join(key.map((column) => sql`s.${identifier(column.name)}`))}) > (${join(values)})`;
}

interface ChunkEnd {
  rows: number;
  last: string[] | null;
}

const chunkEnd = sql`(select count(*)::int from chunk) as rows,
  (select parts::json from chunk order by position desc limit 1) as last`;

async function compareChunk(
  tx: Queryable,
  parts: TableParts,
  cursor: readonly string[] | null,
  rowsMax: number,
): Promise<SweptChunk> {
  const found = await tx.first<ChunkEnd & { keys: string[] | null }>(sql`
    with ${chunkOf(parts, { cursor, rowsMax, hash: hashOf(parts.content) })}
    select ${chunkEnd}, (
      select json_agg(c.key) from chunk c
      left join rowmill.requests r on r.pipeline_id = ${parts.pipelineId} and r.key = c.key
      where r.id is null or r.state = 'gone'
        or (r.state <> 'batched' and r.content_hash is distinct from c.hash)
    ) as keys`);
  return { rows: found?.rows ?? 0, keys: found?.keys ?? [], cursor: nextCursor(found, rowsMax) };
}

async function askedChunk(
  tx: Queryable,
  parts: TableParts,
  cursor: readonly string[] | null,
  rowsMax: number,
): Promise<{ rows: AskedRow[]; cursor: readonly string[] | null }> {
  const found = await tx.first<ChunkEnd & { asked: AskedRow[] | null }>(sql`
    with ${chunkOf(parts, { cursor, rowsMax, hash: sql`null` })}
    select ${chunkEnd}, (
      select json_agg(json_build_object('key', c.key, 'cursor', c.parts::json, 'requestId', r.id::text, 'state', r.state,
        'contentHash', r.content_hash, 'fingerprint', r.fingerprint, 'answeredFingerprint', r.answered_fingerprint) order by c.position)
      from chunk c join rowmill.requests r on r.pipeline_id = ${parts.pipelineId} and r.key = c.key
      where r.state in ('succeeded', 'failed') or (r.state = 'waiting' and r.answered_hash = r.content_hash)
    ) as asked`);
  return { rows: found?.asked ?? [], cursor: nextCursor(found, rowsMax) };
}

function nextCursor(end: ChunkEnd | null, rowsMax: number): readonly string[] | null {
  return end && end.rows === rowsMax ? end.last : null;
}

async function missingKeys(tx: Queryable, parts: TableParts, keys: readonly string[]): Promise<string[]> {
  const present = await readable(tx, keys, (part) =>
    tx.rows<{ key: string }>(sql`
      select k.key from unnest(${part}::text[]) as k (key)
      where exists (select 1 from ${parts.from} s where ${parts.keyEquals(sql`k.key`)} and ${parts.keyText} = k.key and ${parts.matches})`),
  );
  const found = new Set(present.map((row) => row.key));
  return keys.filter((key) => !found.has(key));
}

/** As `json_build_array(…)::text` writes it: `["1", "x"]`. */
function spellKey(parts: readonly string[], columns: number): string {
  const [only] = parts;
  return columns === 1 && only !== undefined
    ? only
    : `[${parts.map((part) => JSON.stringify(part)).join(", ")}]`;
}
