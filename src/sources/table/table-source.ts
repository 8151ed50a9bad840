/** Reads a user's table: rows by key, and chunks for the sweeper. */
import { quoteIdentifier, raw, sql, type Queryable } from "../../postgres/database.js";
import type { RowSql } from "../../store/requests/row-sql.js";
import { boundedRead } from "../../postgres/bounded-read.js";
import { WEIGHT } from "./row-size.js";
import type { KeylessRows, Source } from "../source.js";
import { askedChunk, compareChunk } from "./chunks.js";
import type { SourceTable } from "./inspection.js";
import { eachKey, isRowOf, tableParts, type TableParts, type TableSourceOptions } from "./parts.js";
import { readable, readRows, readShown, readVersions } from "./rows.js";
import { hashOf, isOver } from "./weighed-rows.js";

/** The count reads the whole table or an index; if it takes longer, the previous count stands. */
const COUNT_TIMEOUT_MS = 30_000;

export function createTableSource(table: SourceTable, options: TableSourceOptions): Source {
  const parts = tableParts(table, options);
  return {
    inSql: rowSql(parts),
    looksAtNew: options.skipBefore !== null,
    readVersions: (tx, keys) => readVersions(tx, parts, keys),
    readRows: (tx, keys) => readRows(tx, parts, keys),
    sampleKeys: (tx, sample) => sampleKeys(tx, parts, sample),
    countRows: (tx) => countRows(tx, parts),
    estimateRows: (tx) => estimateRows(tx, parts),
    readShown: (tx, key) => readShown(tx, parts, key),
    compareChunk: (tx, place, rowsMax) => compareChunk(tx, parts, place, rowsMax),
    askedChunk: (tx, cursor, rowsMax) => askedChunk(tx, parts, cursor, rowsMax),
    countKeyless: (tx, timeoutMs) => countKeyless(tx, table, { parts, timeoutMs }),
    missingKeys: (tx, keys) => missingKeys(tx, parts, keys),
  };
}

function rowSql(parts: TableParts): RowSql {
  const { rows, from, statement } = parts;
  const light = sql`s."rowmill weight" operator(pg_catalog.=) ${raw(String(WEIGHT.together))}`;
  return {
    statement,
    // `offset 0` forces a lookup by key for each row: as a join, the planner may read the whole table for each chunk.
    exists: (key) => sql`exists (select 1 from ${from} s where ${isRowOf(parts, key)} offset 0)`,
    hash: (key) => sql`(select case when not ${isOver(sql`c.content`)} then ${hashOf(sql`c.content`)} end
      from (select ${rows.cells}, ${rows.weight} as "rowmill weight" from ${from} s where ${isRowOf(parts, key)}) s
      cross join lateral ${rows.content(light)} c)`,
  };
}

/** You wait for it: a sample that takes longer is not worth it. */
const SAMPLE_TIMEOUT_MS = 5_000;

async function sampleKeys(
  tx: Queryable,
  parts: TableParts,
  { max, random }: { readonly max: number; readonly random: boolean },
): Promise<string[] | null> {
  const order = random ? sql`pg_catalog.random()` : parts.keyColumns;
  const rows = await boundedRead(tx, SAMPLE_TIMEOUT_MS, () =>
    tx.rows<{ key: string }>(
      parts.statement(sql`
      select ${parts.keyText} as key
      from ${parts.from} s
      where ${parts.keyNotNull} and ${parts.matches} and not ${parts.existedBefore}
      order by ${order}
      limit ${max}`),
    ),
  );
  return rows?.map(({ key }) => key) ?? null;
}

async function countRows(tx: Queryable, parts: TableParts): Promise<number | null> {
  const counted = await boundedRead(tx, SAMPLE_TIMEOUT_MS, () =>
    tx.first<{ rows: number }>(
      parts.statement(sql`
      select pg_catalog.count(*)::pg_catalog.float8 as rows
      from ${parts.from} s
      where ${parts.keyNotNull} and ${parts.matches} and not ${parts.existedBefore}`),
    ),
  );
  return counted?.rows ?? null;
}

interface Explained {
  readonly "QUERY PLAN": readonly { readonly Plan: { readonly "Plan Rows": number } }[];
}

async function estimateRows(tx: Queryable, parts: TableParts): Promise<number> {
  const explained = await tx.first<Explained>(
    parts.statement(sql`
      explain (format json)
      select
      from ${parts.from} s
      where ${parts.keyNotNull} and ${parts.matches} and not ${parts.existedBefore}`),
  );
  return explained?.["QUERY PLAN"][0]?.Plan["Plan Rows"] ?? 0;
}

/** No page in key order reaches them. */
async function countKeyless(
  tx: Queryable,
  table: SourceTable,
  { parts, timeoutMs = COUNT_TIMEOUT_MS }: { readonly parts: TableParts; readonly timeoutMs: number | undefined },
): Promise<KeylessRows | null> {
  const names = table.nullableKey.map(quoteIdentifier);
  const isNull = names.map((name) => `${name} is null`).join(" or ");
  const isWhole = names.map((name) => `${name} is not null`).join(" and ");
  const reason =
    `A key column is null, so the row has no key. Fill it in: select * from ${table.from} where ${isNull}; ` +
    `To leave such rows out on purpose, add to source.where: ${isWhole}`;
  if (names.length === 0) return { rows: 0, example: null, reason };
  const found = await boundedRead(tx, timeoutMs, () =>
    tx.first<{ rows: number; example: string | null }>(
      parts.statement(sql`
      select pg_catalog.count(*)::pg_catalog.float8 as rows, pg_catalog.min(${parts.keyParts}) as example
      from ${parts.from} s
      where not (${parts.keyNotNull}) and ${parts.matches} and not ${parts.existedBefore}`),
    ),
  );
  return found && { ...found, reason };
}

async function missingKeys(tx: Queryable, parts: TableParts, keys: readonly string[]): Promise<string[]> {
  const present = await readable(tx, keys, (part) =>
    tx.column<string>(
      parts.statement(sql`
      select k.key
      from ${eachKey(part)}
      where exists (select 1 from ${parts.from} s where ${isRowOf(parts, sql`k.key`)} offset 0)`),
    ),
  );
  const found = new Set(present);
  return keys.filter((key) => !found.has(key));
}
