/**
 * Arrays in PostgreSQL's binary format: `pg` sends a Buffer as a binary parameter. For chunks of many rows this costs
 * both sides a fraction of JSON or of an array's text. Source: array_recv and the *_recv functions of PostgreSQL.
 */
import { join, sql, type Sql } from "./database.js";

/** In pg_type, the same in every PostgreSQL. */
const OID = { bytea: 17, int8: 20, int4: 23, text: 25 } as const;
const HEADER_BYTES = 20;
const NULL_LENGTH = -1;

export function int4Array(values: readonly (number | null)[]): Sql {
  const array = header(OID.int4, values.length, { bytes: values.length * 8, nulls: true });
  let at = HEADER_BYTES;
  for (const value of values) {
    at = array.writeInt32BE(value === null ? NULL_LENGTH : 4, at);
    if (value !== null) at = array.writeInt32BE(value, at);
  }
  return hidden(array.subarray(0, at), sql`pg_catalog.int4[]`);
}

/** Bigints in text, such as ids, and integers up to 2^53, such as sums of money; null stays null. */
export function int8Array(values: readonly (string | number | null)[]): Sql {
  const array = header(OID.int8, values.length, { bytes: values.length * 12, nulls: true });
  let at = HEADER_BYTES;
  for (const value of values) {
    at = array.writeInt32BE(value === null ? NULL_LENGTH : 8, at);
    if (value !== null) at = writeInt8(array, value, at);
  }
  return hidden(array.subarray(0, at), sql`pg_catalog.int8[]`);
}

const LOW = 2 ** 32;

/** Returns where the next value goes. */
function writeInt8(array: Buffer, value: string | number, at: number): number {
  const number = Number(value);
  if (!Number.isSafeInteger(number)) return array.writeBigInt64BE(BigInt(value), at);
  array.writeInt32BE(Math.floor(number / LOW), at);
  return array.writeUInt32BE(((number % LOW) + LOW) % LOW, at + 4);
}

/** Bytes in hexadecimal digits, such as hashes. */
export function byteaArray(values: readonly (string | null)[]): Sql {
  return ofTexts(OID.bytea, values, { encoding: "hex", type: sql`pg_catalog.bytea[]` });
}

export function textArray(values: readonly (string | null)[]): Sql {
  return ofTexts(OID.text, values, { encoding: "utf8", type: sql`pg_catalog.text[]` });
}

/** Written in place: a buffer for each value would cost more than all else. */
function ofTexts(
  oid: number,
  values: readonly (string | null)[],
  { encoding, type }: { readonly encoding: "hex" | "utf8"; readonly type: Sql },
): Sql {
  const bytes = values.reduce((sum, value) => sum + 4 + (value === null ? 0 : Buffer.byteLength(value, encoding)), 0);
  const array = header(oid, values.length, { bytes, nulls: true });
  let at = HEADER_BYTES;
  for (const value of values) {
    const length = value === null ? NULL_LENGTH : array.write(value, at + 4, encoding);
    array.writeInt32BE(length, at);
    at += 4 + Math.max(0, length);
  }
  return hidden(array, type);
}

/** One dimension, from 1 on. PostgreSQL accepts it with a length of 0 as an empty array. */
function header(oid: number, length: number, { bytes, nulls }: { bytes: number; nulls: boolean }): Buffer {
  const array = Buffer.allocUnsafe(HEADER_BYTES + bytes);
  array.writeInt32BE(1, 0);
  array.writeInt32BE(nulls ? 1 : 0, 4);
  array.writeInt32BE(oid, 8);
  array.writeInt32BE(length, 12);
  array.writeInt32BE(1, 16);
  return array;
}

/** What follows `from`: one row for each place in the arrays. */
export function sideBySide(arrays: readonly Sql[]): Sql {
  return sql`rows from (${join(arrays.map((array) => sql`pg_catalog.unnest(${array})`))})`;
}

/**
 * A sub-select hides the length from the planner, which then expects ten rows and looks each up by an index. With the
 * true length and without fresh statistics it joined whole tables, and a chunk took 30 times as long.
 */
function hidden(array: Buffer, type: Sql): Sql {
  // Without the second cast, ANY takes it for a list of rows.
  return sql`(select ${array}::${type})::${type}`;
}
