/**
 * Writes results into a user's table: one upsert a chunk, or an update where the target is the source. Deletes a row
 * only on your word. The caller repeats the transaction if it fails; nothing here outlives it. A write runs the user's
 * triggers, so it runs under the role's own search path, and every name in it is qualified.
 */
import {
  identifier,
  join,
  raw,
  sentAhead,
  sql,
  underRolePath,
  type Queryable,
  type Sql,
} from "../../postgres/database.js";
import { keyEquals, keyValues, type TableColumn } from "../../sources/table/inspection.js";
import type { Result, Target } from "../target.js";
import type { Stamp } from "./statements.js";
import { codeOfWriting, refuseForeignCode, type Ownership } from "./owners.js";

export interface TargetColumn extends TableColumn {
  /** The answer's field that is written here. */
  readonly field: string;
  /** See `AnswerColumn`. */
  readonly isJsonText: boolean;
}

export interface TargetTable {
  readonly qualified: string;
  /** The same in FROM and UPDATE. */
  readonly from: string;
  /** The source's key columns, which have the same names here. */
  readonly key: readonly TableColumn[];
  readonly columns: readonly TargetColumn[];
  readonly stamps: readonly Stamp[];
  readonly isSource: boolean;
  /** Checked again before each write; null: the config trusts any owner. */
  readonly ownership: Ownership | null;
}

export function createTableTarget(table: TargetTable): Target {
  return {
    isSource: table.isSource,
    checkOwners: (client) => checkOwners(client, table),
    lock: (tx) => lock(tx, table),
    lockFree: (tx, keys) => lockFree(tx, table, keys),
    write: (tx, results, plain = false) => write(tx, table, { results, plain }),
    present: (tx, keys) => present(tx, table, keys),
    erase: (tx, keys) => erase(tx, table, keys),
  };
}

async function checkOwners(client: Queryable, { ownership }: TargetTable): Promise<void> {
  if (ownership !== null) await refuseForeignCode(client, ownership);
}

async function lock(tx: Queryable, table: TargetTable): Promise<{ plain: boolean }> {
  await tx.run(sentAhead(sql`lock table ${raw(table.qualified)} in row exclusive mode`));
  const { ownership, qualified } = table;
  const code = await codeOfWriting(tx, ownership ?? { target: qualified, source: qualified });
  if (code?.builtIn !== true) await checkOwners(tx, table);
  return { plain: code?.plain === true };
}

async function lockFree(
  tx: Queryable,
  table: TargetTable,
  keys: readonly string[],
): Promise<{ busy: ReadonlySet<string> }> {
  await lock(tx, table);
  const from = sql`unnest(${keys}::text[]) as k (key)
    join ${raw(table.from)} t on ${keyEquals("t", table.key, sql`k.key`)}`;
  const free = new Set(await tx.column<string>(sql`select k.key from ${from} for update of t skip locked`));
  const existing = await tx.column<string>(sql`select k.key from ${from}`);
  return { busy: new Set(existing.filter((key) => !free.has(key))) };
}

async function present(tx: Queryable, table: TargetTable, keys: readonly string[]): Promise<ReadonlySet<string>> {
  if (keys.length === 0) return new Set();
  // Reading runs its owner's code too: the planner evaluates expressions of indexes.
  await tx.run(sql`lock table only ${raw(table.qualified)} in access share mode`);
  await checkOwners(tx, table);
  const written = isDated(table)
    ? sql`t.rowmill_at is not null`
    : join(
        table.columns.map((column) => sql`t.${identifier(column.name)} is not null`),
        " or ",
      );
  return new Set(await keysWhere(tx, table, keys, written));
}

function keysWhere(tx: Queryable, table: TargetTable, keys: readonly string[], condition: Sql): Promise<string[]> {
  return tx.column<string>(sql`
    select k.key
    from unnest(${keys}::text[]) as k (key)
    join ${raw(table.from)} t on ${keyEquals("t", table.key, sql`k.key`)}
    where ${condition}`);
}

async function write(
  tx: Queryable,
  table: TargetTable,
  { results, plain }: { readonly results: readonly Result[]; readonly plain: boolean },
): Promise<ReadonlySet<string>> {
  if (results.length === 0) return new Set();
  const recordset = recordsetOf(table, results);
  const statement = underRolePath(
    table.isSource ? updateStatement(table, recordset) : upsertStatement(table, recordset),
  );
  await tx.run(plain ? sentAhead(statement) : statement);
  if (plain) return new Set();
  const keys = results.map((result) => result.key);
  const missing = await notWritten(tx, table, keys);
  const unwritten = results.filter((result) => missing.has(result.key));
  return unwritten.length === 0 ? missing : differing(tx, table, unwritten);
}

async function erase(tx: Queryable, table: TargetTable, keys: readonly string[]): Promise<number> {
  if (table.isSource) throw new Error(`${table.qualified} has the source's own rows, which are not ours to delete.`);
  await lock(tx, table);
  return tx.run(
    underRolePath(sql`
    delete from ${raw(table.from)} t
    using pg_catalog.unnest(${keys}::pg_catalog.text[]) as k (key)
    where ${keyEquals("t", table.key, sql`k.key`)}`),
  );
}

/** A deleted answer has no model and no cells. */
export type WrittenResult = Omit<Result, "model"> & { readonly model: string | null };

/** One row a result, as `x`: `k` key, `m` model, `v` version, `c0`, `c1`, … the answer's columns. */
export function recordsetOf(table: TargetTable, results: readonly WrittenResult[]): Sql {
  const rows = results.map((result) => ({
    k: result.key,
    m: result.model,
    v: result.version,
    ...Object.fromEntries(table.columns.map((column, index) => [`c${index}`, result.cells[column.field] ?? null])),
  }));
  const columns = table.columns
    .map((column, index) => `, c${index} ${column.isJsonText ? "pg_catalog.text" : column.castType}`)
    .join("");
  return sql`pg_catalog.json_to_recordset(${JSON.stringify(rows)}::pg_catalog.json)
    as x (k pg_catalog.text, m pg_catalog.text, v pg_catalog.int4${raw(columns)})`;
}

/**
 * Row counts do not tell: a trigger that moves rows to another table reports none, or all. The stamp does, with a
 * second's tolerance for columns that round times. Without it, the row's xmin is this transaction's, or younger
 * where a trigger wrote it in a block of its own.
 */
async function notWritten(tx: Queryable, table: TargetTable, keys: readonly string[]): Promise<ReadonlySet<string>> {
  const fresh = isDated(table)
    ? sql`t.rowmill_at::pg_catalog.timestamptz >= pg_catalog.now() - interval '1 second'`
    : sql`pg_catalog.age(t.xmin) <= 0`;
  const missing = new Set(keys);
  for (const key of await keysWhere(tx, table, keys, fresh)) missing.delete(key);
  return missing;
}

/**
 * Of these rows, which no write reached, the keys of those that do not hold the answer: a trigger may skip an update
 * that changes nothing (PostgreSQL has one for it). As texts, because not every type can be compared.
 */
async function differing(tx: Queryable, table: TargetTable, results: readonly Result[]): Promise<ReadonlySet<string>> {
  const same = answerValues(table).map(
    ({ name, value }) => sql`t.${identifier(name)}::pg_catalog.text is not distinct from (${value})::pg_catalog.text`,
  );
  const held = await tx.column<string>(sql`
    select x.k as key
    from ${recordsetOf(table, results)}
    join ${raw(table.from)} t on ${keyEquals("t", table.key, sql`x.k`)}
    where ${join(same, " and ")}`);
  const missing = new Set(results.map((result) => result.key));
  for (const key of held) missing.delete(key);
  return missing;
}

const STAMP_VALUES: Readonly<Record<Stamp, Sql>> = {
  rowmill_at: sql`pg_catalog.now()`,
  rowmill_model: sql`x.m`,
  rowmill_version: sql`x.v`,
};

function isDated({ stamps }: TargetTable): boolean {
  return stamps.includes("rowmill_at");
}

function answerValues(table: TargetTable): { name: string; value: Sql }[] {
  return table.columns.map((column, index) => ({
    name: column.name,
    // Text until here: our JSON would turn its numbers into doubles.
    value: column.isJsonText ? sql`x.${raw(`c${index}`)}::${raw(column.castType)}` : sql`x.${raw(`c${index}`)}`,
  }));
}

/** Without the key columns. */
function assignments(table: TargetTable): { name: string; value: Sql }[] {
  return [...answerValues(table), ...table.stamps.map((name) => ({ name, value: STAMP_VALUES[name] }))];
}

export function updateStatement(table: TargetTable, recordset: Sql): Sql {
  const set = join(assignments(table).map(({ name, value }) => sql`${identifier(name)} = ${value}`));
  return sql`
    update ${raw(table.from)} t
    set ${set}
    from ${recordset}
    where ${keyEquals("t", table.key, sql`x.k`)}`;
}

export function upsertStatement(table: TargetTable, recordset: Sql): Sql {
  const assigned = assignments(table);
  const keyNames = join(table.key.map((column) => identifier(column.name)));
  return sql`
    insert into ${raw(table.qualified)} as t (${keyNames}, ${join(assigned.map(({ name }) => identifier(name)))})
    select ${join(keyValues(table.key, sql`x.k`))}, ${join(assigned.map(({ value }) => value))}
    from ${recordset}
    on conflict (${keyNames}) do update
    set ${join(assigned.map(({ name }) => sql`${identifier(name)} = excluded.${identifier(name)}`))}`;
}
