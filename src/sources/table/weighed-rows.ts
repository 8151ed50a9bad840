/**
 * Fragments over rows under the alias `s` that keep a statement within its memory and time: rows are weighed first,
 * and what is read of them is read once.
 */
import { identifier, join, raw, sql, type Sql } from "../../postgres/database.js";
import { largeHash, readBytes, rowSize, WEIGHT } from "./row-size.js";
import { ROW_BYTES_MAX } from "../source.js";
import { textOf, type TableColumn } from "./inspection.js";

/** Hashed by one statement (some 100 MB/s; embedded, 20 MB/s). More than any one row. */
const HASH_BYTES_MAX = 64 * 1024 * 1024;
/** Of keys, which go into the client's memory, an eighth; KEY_SHARE_MAX bounds what one of them counts. */
const KEY_FACTOR = 8;
const KEY_SHARE_MAX = ROW_BYTES_MAX;

export interface WeighedRows {
  /** The declared columns as they are stored, unread, under their names. */
  readonly cells: Sql;
  readonly bytes: Sql;
  /** One of `WEIGHT`. */
  readonly weight: Sql;
  /** JSON array of the declared columns' texts, as text. Null where `when` does not hold; then nothing is read. */
  readonly content: (when: Sql) => Sql;
  /** The columns whose length has to be read are short enough. */
  readonly isShort: Sql;
}

export function weighRows(columns: readonly TableColumn[]): WeighedRows {
  const { bytes, weight } = rowSize("s", columns);
  const texts = join(columns.map((column) => raw(textOf("s", column))));
  return {
    cells: join(columns.map((column) => sql`s.${identifier(column.name)}`)),
    bytes,
    weight,
    // Variadic: a call takes 100 arguments, a table 1,600 columns. Without `offset` each mention would build the
    // content again.
    content: (when) =>
      sql`(
        select case when ${when}
          then pg_catalog.json_build_array(variadic array[${texts}]::pg_catalog.text[])::pg_catalog.text end as content
        offset 0)`,
    isShort: sql`${readBytes("s", columns)} operator(pg_catalog.<=) ${ROW_BYTES_MAX}::pg_catalog.int8`,
  };
}

/**
 * The rows of `from` with our columns `own`. "rowmill later": the rows before it are as much as one statement reads;
 * never the first. Our names have a space, so that they cannot be a user's.
 */
export function weigh(rows: WeighedRows, from: Sql, options: { own: Sql; key?: Sql; isAlone?: boolean }): Sql {
  const { own, key, isAlone = false } = options;
  const weight = isAlone ? sql`greatest(${rows.weight}, ${raw(String(WEIGHT.alone))})` : rows.weight;
  const keyShare =
    key === undefined
      ? sql`0`
      : sql`least(pg_catalog.octet_length(${key}) operator(pg_catalog.*) ${raw(String(KEY_FACTOR))},
        ${raw(String(KEY_SHARE_MAX))})`;
  // int4, whose sum is an int8: that of int8 is a numeric, which costs more than all else here.
  return sql`(
    select w.*,
      pg_catalog.sum((least(w."rowmill bytes", ${raw(String(ROW_BYTES_MAX))}) operator(pg_catalog.+)
        w."rowmill share")::pg_catalog.int4) over (rows unbounded preceding) operator(pg_catalog.>)
        ${HASH_BYTES_MAX}::pg_catalog.int8 as "rowmill later"
    from (
      select ${own}, ${rows.cells}, ${rows.bytes} as "rowmill bytes", ${weight} as "rowmill weight",
        ${keyShare} as "rowmill share"
      from ${from}) w)`;
}

/** Of weighed rows, for a lateral join as `c`; none where `isKnown`. */
export function contentOfLight(rows: WeighedRows, isKnown: Sql = sql`false`): Sql {
  return rows.content(
    sql`s."rowmill weight" operator(pg_catalog.=) ${raw(String(WEIGHT.together))}
      and not s."rowmill later"
      and not ${isKnown}`,
  );
}

/** The version of a weighed row joined with its content, as bytes; null: not read in this statement. */
export const WEIGHED_HASH = sql`case
  when s."rowmill weight" operator(pg_catalog.=) ${raw(String(WEIGHT.never))}
    or ${isOver(sql`c.content`)} then ${largeHash(sql`s."rowmill bytes"`)}
  else ${hashOf(sql`c.content`)} end`;

/** Of bytes. */
export function hexOf(bytes: Sql): Sql {
  return sql`pg_catalog.encode(${bytes}, 'hex')`;
}

export function isOver(content: Sql): Sql {
  return sql`pg_catalog.octet_length(${content}) operator(pg_catalog.>) ${raw(String(ROW_BYTES_MAX))}`;
}

/** As bytes. */
export function hashOf(content: Sql): Sql {
  return sql`pg_catalog.substring(pg_catalog.sha256(pg_catalog.convert_to(${content}, 'UTF8')), 1, 16)`;
}
