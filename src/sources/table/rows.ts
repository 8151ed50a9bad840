/**
 * Rows of a user's table by their keys: versions, and content as far as it fits into memory. PostgreSQL makes the
 * texts under pinned settings, so that every worker sees the same.
 */
import { hash } from "node:crypto";
import type { RowCells } from "../../model/pipeline.js";
import { bisect } from "../../postgres/bisect.js";
import { join, raw, sql, type Queryable, type Sql } from "../../postgres/database.js";
import { boundedRead, READ_TIMEOUT_MS } from "../../postgres/bounded-read.js";
import { largeHash, WEIGHT } from "./row-size.js";
import { shownCell } from "./shown-cells.js";
import { CONTENT_BYTES_MAX, type RowsRead, type RowVersion, type SourceRow, type VersionsRead } from "../source.js";
import type { TableColumn } from "./inspection.js";
import { eachKey, rowOf, type TableParts } from "./parts.js";
import { contentOfLight, hashOf, hexOf, isOver, weigh, WEIGHED_HASH } from "./weighed-rows.js";

/** After this no further statement begins; the last one may take READ_TIMEOUT_MS more. */
const ALONE_MS_MAX = 3_000;
/** Of 16 bytes. */
const HASH_DIGITS = 32;

/** A key that no longer fits its column's type (retyped since, an enum's value renamed) names no row. */
export async function readable<Row>(
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

/** Halves as `readable` does; parts for which no time is left are not read. */
export async function readVersions(tx: Queryable, parts: TableParts, keys: readonly string[]): Promise<VersionsRead> {
  const versions: RowVersion[] = [];
  const left: string[] = [];
  const isLate = stopwatch();
  let isAnyKnown = false;
  await bisect(
    tx,
    keys,
    async (part) => {
      if (isAnyKnown && isLate()) {
        left.push(...part);
        return;
      }
      const read = await readFittingVersions(tx, parts, part);
      isAnyKnown = true;
      versions.push(...read.versions);
      left.push(...read.left);
    },
    async () => {
      isAnyKnown = true;
    },
  );
  return { versions, left };
}

/**
 * Rows that are too heavy to be read together are read alone, the lightest first, so that none waits for a heavy one.
 */
async function readFittingVersions(tx: Queryable, parts: TableParts, keys: readonly string[]): Promise<VersionsRead> {
  const { versions, alone, left } = await readTogether(tx, parts, keys);
  const sorted = await lightestFirst(tx, parts, alone);
  const isLate = stopwatch();
  for (const [index, key] of sorted.entries()) {
    if (index > 0 && isLate()) return { versions, left: [...sorted.slice(index), ...left] };
    const row = await readAlone(tx, parts, { key, withContent: false });
    if (row !== null) versions.push(row);
  }
  return { versions, left };
}

interface ReadTogether {
  readonly versions: RowVersion[];
  readonly alone: readonly string[];
  readonly left: readonly string[];
}

/** Each round reads its first row, or leaves it to be read alone. */
async function readTogether(tx: Queryable, parts: TableParts, keys: readonly string[]): Promise<ReadTogether> {
  const versions: RowVersion[] = [];
  const alone: string[] = [];
  const isLate = stopwatch();
  let left = keys;
  do {
    const round = left;
    const found = await boundedRead(tx, READ_TIMEOUT_MS, () => weighedVersions(tx, parts, round));
    if (found === null) return { versions, alone: [...alone, ...round], left: [] };
    for (const { key, hash, existedBefore } of found) if (hash !== null) versions.push({ key, hash, existedBefore });
    const unread = found.filter((row) => row.hash === null);
    alone.push(...unread.filter((row) => row.weight === WEIGHT.alone).map((row) => row.key));
    left = unread.filter((row) => row.weight !== WEIGHT.alone).map((row) => row.key);
  } while (left.length > 0 && !isLate());
  return { versions, alone, left };
}

/** By stored size; keys without a row are last. If even that takes too long, the order stays. */
async function lightestFirst(tx: Queryable, parts: TableParts, keys: readonly string[]): Promise<readonly string[]> {
  if (keys.length < 2) return keys;
  const sorted = await boundedRead(tx, READ_TIMEOUT_MS, () =>
    tx.column<string>(
      parts.statement(sql`
      select k.key
      from ${eachKey(keys)}
      left join lateral (select ${parts.rows.bytes} as bytes from ${rowOf(parts)} s) b on true
      order by b.bytes`),
    ),
  );
  return sorted ?? keys;
}

/** Whether ALONE_MS_MAX is over. */
export function stopwatch(): () => boolean {
  const startedAt = performance.now();
  return () => performance.now() - startedAt > ALONE_MS_MAX;
}

interface WeighedVersion extends Omit<RowVersion, "hash"> {
  readonly hash: string | null;
  readonly weight: number;
}

async function weighedVersions(tx: Queryable, parts: TableParts, keys: readonly string[]): Promise<WeighedVersion[]> {
  const { rows } = parts;
  const from = sql`${eachKey(keys)} cross join lateral ${rowOf(parts)} s`;
  const own = sql`k.key as "rowmill key", s."rowmill existed"`;
  return tx.rows<WeighedVersion>(
    parts.statement(sql`
    select s."rowmill key" as key, s."rowmill existed" as "existedBefore", s."rowmill weight" as weight,
      ${hexOf(WEIGHED_HASH)} as hash
    from ${weigh(rows, from, { own })} s
    cross join lateral ${contentOfLight(rows)} c`),
  );
}

interface AloneRow extends RowVersion {
  /** Null: it is too large, or not wanted. */
  readonly content: (string | null)[] | null;
}

/** Null: there is no such row. One that the database cannot read by itself counts as too large. */
export async function readAlone(
  tx: Queryable,
  parts: TableParts,
  { key, withContent }: { key: string; withContent: boolean },
): Promise<AloneRow | null> {
  const { rows } = parts;
  const from = sql`(select ${key}::pg_catalog.text as key) k cross join lateral ${rowOf(parts)} s`;
  // First, so that the statement under the time-out waits for no lock on the table.
  const found = await tx.first<AloneRow & { weight: number }>(
    parts.statement(sql`
    select k.key, ${hexOf(largeHash(rows.bytes))} as hash, s."rowmill existed" as "existedBefore",
      null as content, ${rows.weight} as weight
    from ${from}`),
  );
  if (found === null) return null;
  const { weight, ...large } = found;
  if (weight === WEIGHT.never) return large;
  const read = await boundedRead(tx, READ_TIMEOUT_MS, () =>
    tx.first<Pick<AloneRow, "hash" | "content">>(
      parts.statement(sql`
      select ${hexOf(hashOf(sql`c.content`))} as hash,
        ${withContent ? sql`c.content::pg_catalog.json` : sql`null`} as content
      from ${from}
      cross join lateral ${rows.content(rows.isShort)} c
      where not ${isOver(sql`c.content`)}`),
    ),
  );
  return { ...large, ...read };
}

/**
 * A key that no longer fits its column fails the statement, and is halved away. Only the first readable part is read,
 * so that `left` is the end of the keys asked: what that part did not take, and all parts after it.
 */
export async function readRows(tx: Queryable, parts: TableParts, keys: readonly string[]): Promise<RowsRead> {
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

/** Few values, because each value of each row costs the client more than all else here. */
interface ContentRow {
  /** Its key's place, from 1. */
  readonly position: string;
  /** JSON array of the declared columns' texts, as text; null: it does not fit, or is too large to be read. */
  readonly content: string | null;
  /** Null: `USUAL`. */
  readonly unusual: UnusualRow | null;
}

interface UnusualRow extends Pick<RowVersion, "existedBefore"> {
  /** The version of a row that is not read. */
  readonly large: string | null;
  /** False: too much together with those before it, or to be read alone. */
  readonly fits: boolean;
}

const USUAL: UnusualRow = { existedBefore: false, large: null, fits: true };

async function readFitting(tx: Queryable, parts: TableParts, keys: readonly string[]): Promise<RowsRead> {
  const found = await boundedRead(tx, READ_TIMEOUT_MS, () => fittingRows(tx, parts, keys));
  if (found === null) return readOneByOne(tx, parts, keys);
  const over = found.findIndex((row) => row.unusual?.fits === false);
  const rows = (over === -1 ? found : found.slice(0, over)).map((row) => readRow(parts, keys, row));
  const left = over === -1 ? [] : keys.slice(Number(found[over]?.position) - 1);
  const [next] = left;
  if (next === undefined || rows.length > 0) return { rows, left };
  const alone = await readOneByOne(tx, parts, [next]);
  return { rows: alone.rows, left: left.slice(1) };
}

async function readOneByOne(tx: Queryable, parts: TableParts, keys: readonly string[]): Promise<RowsRead> {
  const rows: SourceRow[] = [];
  const isLate = stopwatch();
  let bytes = 0;
  for (const [index, key] of keys.entries()) {
    const isFull = bytes > CONTENT_BYTES_MAX / 2 || isLate();
    if (index > 0 && isFull) return { rows, left: keys.slice(index) };
    const row = await readAlone(tx, parts, { key, withContent: true });
    if (row === null) continue;
    rows.push(sourceRow(parts, row));
    bytes += (row.content ?? []).reduce((sum, text) => sum + (text?.length ?? 0), 0);
  }
  return { rows, left: [] };
}

/**
 * Reads from the first key on until a row does not fit. The first light row always fits. The stored sizes tell the
 * server which rows it need not read at all; of those it read, it sends what fits.
 */
async function fittingRows(tx: Queryable, parts: TableParts, keys: readonly string[]): Promise<ContentRow[]> {
  const { rows } = parts;
  const max = sql`${CONTENT_BYTES_MAX}::pg_catalog.int8`;
  const before = sql`over (order by "rowmill position" rows unbounded preceding)`;
  /** Not the first, and too much together with those before it. */
  const isOverfull = (sum: Sql, own: Sql) =>
    sql`(${sum} ${before} operator(pg_catalog.>) ${own} and ${sum} ${before} operator(pg_catalog.>) ${max})`;
  // int4, whose sum is an int8: therefore the cap.
  const bytes = sql`least(w."rowmill bytes", ${raw(String(CONTENT_BYTES_MAX + 1))})::pg_catalog.int4`;
  const length = sql`coalesce(pg_catalog.octet_length(c.content), 0)`;
  const isLight = sql`s."rowmill weight" operator(pg_catalog.=) ${raw(String(WEIGHT.together))}
    and not s."rowmill later"`;
  const isSent = sql`coalesce(r.fits and not ${isOver(sql`r.content`)}, false)`;
  return tx.rows<ContentRow>(
    parts.statement(sql`
    select r.position, case when ${isSent} then r.content end as content,
      case when r.existed or not ${isSent} then pg_catalog.json_build_object(
        'existedBefore', r.existed, 'fits', r.fits,
        'large', case when r.content is null or ${isOver(sql`r.content`)} then ${hexOf(largeHash(sql`r.bytes`))} end)
      end as unusual
    from (
      select s."rowmill position" as position, s."rowmill existed" as existed, s."rowmill bytes" as bytes,
        c.content,
        not s."rowmill later"
          and s."rowmill weight" operator(pg_catalog.<>) ${raw(String(WEIGHT.alone))}
          and not ${isOverfull(sql`pg_catalog.sum(${length})`, length)} as fits
      from (
        select w.*, ${isOverfull(sql`pg_catalog.sum(${bytes})`, bytes)} as "rowmill later"
        from (
          select k.position as "rowmill position", s.*, ${rows.bytes} as "rowmill bytes",
            ${rows.weight} as "rowmill weight"
          from ${eachKey(keys)}
          cross join lateral ${rowOf(parts)} s) w) s
      cross join lateral ${rows.content(isLight)} c) r
    order by r.position`),
  );
}

/** The same hash as PostgreSQL's (`hashOf`), but cheaper here. */
function readRow(parts: TableParts, keys: readonly string[], row: ContentRow): SourceRow {
  const { position, content, unusual } = row;
  const { existedBefore, large } = unusual ?? USUAL;
  const key = keys[Number(position) - 1] ?? "";
  if (content === null) return { key, existedBefore, hash: large ?? "", cells: null };
  const version = hash("sha256", content, "hex").slice(0, HASH_DIGITS);
  const texts = JSON.parse(content) as (string | null)[];
  return { key, existedBefore, hash: version, cells: cellsOf(parts.columns, texts) };
}

function sourceRow(parts: TableParts, { key, hash, existedBefore, content }: Omit<AloneRow, "weight">): SourceRow {
  return { key, hash, existedBefore, cells: content === null ? null : cellsOf(parts.columns, content) };
}

export async function readShown(tx: Queryable, parts: TableParts, key: string): Promise<RowCells | null> {
  const cells = join(parts.columns.map((column) => shownCell("s", column)));
  const rows = await readable(tx, [key], ([one = ""]) =>
    tx.column<(string | null)[]>(
      parts.statement(sql`
      select pg_catalog.json_build_array(variadic array[${cells}]::pg_catalog.text[]) as content
      from (select ${one}::pg_catalog.text as key) k
      cross join lateral ${rowOf(parts)} s`),
    ),
  );
  const [content] = rows;
  return content === undefined ? null : cellsOf(parts.columns, content);
}

function cellsOf(columns: readonly TableColumn[], content: readonly (string | null)[]): RowCells {
  return Object.fromEntries(columns.map((column, index) => [column.name, content[index] ?? null]));
}
