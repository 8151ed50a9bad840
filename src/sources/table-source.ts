/**
 * Reads a user's table: rows by key, and chunks for the sweeper. Content and key are PostgreSQL's own text under pinned
 * settings, made in SQL, so that every worker and every version of a client sees the same.
 *
 * With a predicate of the user's these statements run under the role's own search path, so every name in them is qualified.
 */
import type { RowCells } from "../model/pipeline.js";
import { identifier, join, raw, sql, underRolePath, type Queryable, type Sql } from "../store/database.js";
import { bisect } from "../store/bisect.js";
import { visibleBefore } from "../store/visible.js";
import { CONTENT_BYTES_MAX, type AskedRow, type RowsRead, type RowVersion, type Source } from "./source.js";
import type { SourceRow, SweptChunk } from "./source.js";
import { keyEquals, textOf, type SourceTable, type TableColumn } from "./table-inspection.js";

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
  /** Every statement over the table goes through this. */
  readonly statement: (statement: Sql) => Sql;
  readonly existedBefore: Sql;
}

function tableParts(table: SourceTable, options: TableSourceOptions): TableParts {
  const texts = table.key.map((column) => raw(textOf("s", column)));
  const keyParts = jsonArray(texts);
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
    content: jsonArray(table.columns.map((column) => raw(textOf("s", column)))),
    matches: options.where === null ? sql`true` : sql`(${raw(options.where)})`,
    statement: options.where === null ? (statement) => statement : underRolePath,
    existedBefore: options.skipBefore === null ? sql`false` : visibleBefore(sql`s.xmin`, options.skipBefore),
  };
}

const jsonArray = (texts: readonly Sql[]): Sql =>
  sql`pg_catalog.json_build_array(${join(texts)})::pg_catalog.text`;

const hashOf = (content: Sql): Sql =>
  sql`pg_catalog.left(pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to(${content}, 'UTF8')), 'hex'), 32)`;

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

function eachKey(keys: readonly string[]): Sql {
  return sql`pg_catalog.unnest(${keys}::pg_catalog.text[]) as k (key)`;
}

/** The row of `k.key`. */
function rowOf(parts: TableParts): Sql {
  return sql`select ${parts.content} as content, ${parts.existedBefore} as existed from ${parts.from} s
    where ${isRowOf(parts, sql`k.key`)}`;
}

function isRowOf(parts: TableParts, ledgerKey: Sql): Sql {
  return sql`${keyEquals("s", parts.key, ledgerKey)} and ${parts.keyText} operator(pg_catalog.=) ${ledgerKey} and ${parts.matches}`;
}

async function readVersions(
  tx: Queryable,
  parts: TableParts,
  keys: readonly string[],
): Promise<RowVersion[]> {
  return tx.rows<RowVersion>(
    parts.statement(sql`
    select k.key, ${hashOf(sql`found.content`)} as hash, found.existed as "existedBefore"
    from ${eachKey(keys)} cross join lateral (${rowOf(parts)}) found`),
  );
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
  const bytes = sql`read.bytes operator(pg_catalog.+) coalesce(pg_catalog.octet_length(found.content), 0)`;
  const found = await tx.rows<ContentRow>(
    parts.statement(sql`
    with recursive read (position, key, content, existed, bytes, fits) as (
      select 0, null::pg_catalog.text, null::pg_catalog.text, null::boolean, 0::bigint, true
      union all
      select read.position operator(pg_catalog.+) 1, k.key, found.content, found.existed, ${bytes},
        read.bytes operator(pg_catalog.=) 0 or found.content is null or ${bytes} operator(pg_catalog.<=) ${CONTENT_BYTES_MAX}::bigint
      from read cross join lateral (select ${JSON.stringify(keys)}::pg_catalog.jsonb operator(pg_catalog.->>) read.position as key) k
        left join lateral (${rowOf(parts)}) found on true
      where read.fits and read.position operator(pg_catalog.<) ${keys.length}::int)
    select position, key, ${hashOf(sql`content`)} as hash, existed as "existedBefore", case when fits then content::pg_catalog.json end as content
    from read where content is not null`),
  );
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
    select ${parts.keyText} as key, ${parts.keyParts} as parts, ${hash} as hash, pg_catalog.row_number() over () as position
    from (select * from ${parts.from} s
      where ${parts.keyNotNull} and ${after(parts.key, cursor)} and ${parts.matches}
      order by ${parts.keyColumns} limit ${rowsMax}) s)`;
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

/** As a comparison of rows, which cannot be qualified, says it. The first part alone bounds the index scan. */
function afterParts({ column, value }: KeyPart, [next, ...rest]: readonly KeyPart[]): Sql {
  if (next === undefined) return sql`${column} operator(pg_catalog.>) ${value}`;
  return sql`${column} operator(pg_catalog.>=) ${value} and (${column} operator(pg_catalog.>) ${value} or (${afterParts(next, rest)}))`;
}

interface ChunkEnd {
  rows: number;
  last: string[] | null;
}

const chunkEnd = sql`(select pg_catalog.count(*)::int from chunk) as rows,
  (select parts::pg_catalog.json from chunk order by position desc limit 1) as last`;

async function compareChunk(
  tx: Queryable,
  parts: TableParts,
  cursor: readonly string[] | null,
  rowsMax: number,
): Promise<SweptChunk> {
  const found = await tx.first<ChunkEnd & { keys: string[] | null }>(
    parts.statement(sql`
    with ${chunkOf(parts, { cursor, rowsMax, hash: hashOf(parts.content) })}
    select ${chunkEnd}, (
      select pg_catalog.json_agg(c.key) from chunk c left join ${requestOf(parts)}
      where r.id is null or r.state operator(pg_catalog.=) 'gone'
        or (r.state operator(pg_catalog.<>) 'batched' and (r.content_hash operator(pg_catalog.=) c.hash) is not true)
    ) as keys`),
  );
  return { rows: found?.rows ?? 0, keys: found?.keys ?? [], cursor: nextCursor(found, rowsMax) };
}

async function askedChunk(
  tx: Queryable,
  parts: TableParts,
  cursor: readonly string[] | null,
  rowsMax: number,
): Promise<{ rows: AskedRow[]; cursor: readonly string[] | null }> {
  const found = await tx.first<ChunkEnd & { asked: AskedRow[] | null }>(
    parts.statement(sql`
    with ${chunkOf(parts, { cursor, rowsMax, hash: sql`null` })}
    select ${chunkEnd}, (
      select pg_catalog.json_agg(pg_catalog.json_build_object('key', c.key, 'cursor', c.parts::pg_catalog.json,
        'requestId', r.id::pg_catalog.text, 'state', r.state, 'contentHash', r.content_hash, 'fingerprint', r.fingerprint,
        'answeredFingerprint', r.answered_fingerprint) order by c.position)
      from chunk c join ${requestOf(parts)}
      where r.state operator(pg_catalog.=) any ('{succeeded,failed}'::pg_catalog.text[])
        or (r.state operator(pg_catalog.=) 'waiting' and r.answered_hash operator(pg_catalog.=) r.content_hash)
    ) as asked`),
  );
  return { rows: found?.asked ?? [], cursor: nextCursor(found, rowsMax) };
}

/** To be joined with a chunk. */
function requestOf(parts: TableParts): Sql {
  return sql`rowmill.requests r on r.pipeline_id operator(pg_catalog.=) ${parts.pipelineId} and r.key operator(pg_catalog.=) c.key`;
}

function nextCursor(end: ChunkEnd | null, rowsMax: number): readonly string[] | null {
  return end && end.rows === rowsMax ? end.last : null;
}

async function missingKeys(tx: Queryable, parts: TableParts, keys: readonly string[]): Promise<string[]> {
  const present = await readable(tx, keys, (part) =>
    tx.rows<{ key: string }>(
      parts.statement(sql`
      select k.key from ${eachKey(part)} where exists (select 1 from ${parts.from} s where ${isRowOf(parts, sql`k.key`)})`),
    ),
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
