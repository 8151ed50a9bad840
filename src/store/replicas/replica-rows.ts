/** Single rows of a replica: read, and deleted for good. */
import { textProblem } from "../../model/json/json-rows.js";
import { replicaTable } from "../../model/replica-name.js";
import { identifier, join, raw, sql, type Queryable, type Reader, type Sql } from "../../postgres/database.js";
import { deleteRows } from "./gone-rows.js";
import { lockAlone, lockShared, type Replica } from "./replicas.js";

/** A key as its caller writes it: the text, or for several columns a JSON array of their values. */
export function isKeyOf({ key }: Pick<Replica, "key">, given: string): boolean {
  if (given.includes("\0")) return false;
  if (key.length === 1) return true;
  try {
    const parts: unknown = JSON.parse(given);
    const isPart = (part: unknown): boolean => typeof part === "string" || typeof part === "number";
    return Array.isArray(parts) && parts.length === key.length && parts.every(isPart) && textProblem(given) === null;
  } catch (error) {
    if (error instanceof SyntaxError) return false;
    throw error;
  }
}

/** One per key column. PostgreSQL reads the array: JavaScript would round long numbers. */
function partsOf({ key }: Pick<Replica, "key">, given: string): Sql[] {
  if (key.length === 1) return [sql`${given}::text`];
  return key.map((_, index) => sql`(${given}::json ->> ${raw(String(index))})`);
}

/** As the ledger spells it. The caller knows that it is a key. */
export async function spelledKey(client: Reader, replica: Pick<Replica, "key">, given: string): Promise<string> {
  if (replica.key.length === 1) return given;
  const spelled = await client.value<string>(sql`
    select json_build_array(${join(partsOf(replica, given))})::text as key`);
  return spelled ?? given;
}

export interface ReplicaRow {
  /** Column → text; null for null. */
  readonly cells: Readonly<Record<string, string | null>>;
  readonly pushedAt: Date;
  /** False: it was pushed before a column was added, and does not count until it is pushed again. */
  readonly isComplete: boolean;
}

/** Null: there is none. Of these columns, those that the replica has. */
export async function readRow(
  client: Reader,
  replica: Replica,
  wanted: { readonly key: string; readonly columns: readonly string[] },
): Promise<ReplicaRow | null> {
  const columns = wanted.columns.filter((column) => replica.columns.includes(column));
  const row = await client.first<Omit<ReplicaRow, "cells"> & { texts: (string | null)[] }>(sql`
    select array[${join(columns.map((column) => sql`t.${identifier(column)}`))}]::text[] as texts,
      t.rowmill_pushed_at as "pushedAt", t.rowmill_generation >= ${replica.generation}::int as "isComplete"
    from ${raw(replicaTable(replica.pipeline))} t
    where ${isRow(replica, wanted.key)}`);
  if (row === null) return null;
  const { texts, ...rest } = row;
  return { ...rest, cells: Object.fromEntries(columns.map((column, index) => [column, texts[index] ?? null])) };
}

/** The same body pushed again brings it back. False: there was none. */
export async function removeRow(tx: Queryable, replica: Replica, key: string): Promise<boolean> {
  const { pipeline, version } = replica;
  await (version === null ? lockShared(tx, pipeline) : lockAlone(tx, pipeline));
  const where = isRow(replica, key);
  return (await deleteRows(tx, replica, { using: sql`(select) as one`, where })) > 0;
}

function isRow(replica: Pick<Replica, "key">, given: string): Sql {
  const parts = partsOf(replica, given);
  return join(
    replica.key.map((column, index) => sql`t.${identifier(column)} = ${parts[index] ?? sql`null`}`),
    " and ",
  );
}
