/**
 * Writes answers into a table of MySQL or MariaDB. Each carries a fence, and loses to a row with a greater one. A
 * deleted answer leaves its row with the fence and without cells. Each part of a write is one transaction: what is
 * refused or locked is found by halves, so the rest is written.
 */
import sql, { raw, type Sql } from "sql-template-tag";
import type { AnswerColumn } from "../../model/answer/answer-columns.js";
import type { Change, DeliveryOptions, RowAfter, Written } from "../../model/connector.js";
import { fateOf, type LockedRow } from "../../model/write-back.js";
import { cellSql } from "./answer-types.js";
import { isInteger, isText, readText, textSql, valueSql } from "./column-text.js";
import type { Session } from "./connection.js";
import { isDeadlock, isLocked, reasonOf } from "./failure.js";
import { columnSql, list, quoteName, type Column } from "./inspection.js";
import { AT, MODEL } from "./plan-target.js";

/** Each may last as long as a lock may. */
const LOCK_WAITS_MAX = 10;
const NOT_HELD =
  "the table did not take the row: it has an equal key in another spelling, another unique index, or a trigger";
const NO_KEY = "the key does not fit the type of the key column";

/** As it was prepared for a pipeline. */
export interface FencedTable {
  readonly qualified: string;
  readonly key: readonly Column[];
  readonly columns: readonly { readonly answer: AnswerColumn; readonly column: Column }[];
  readonly stamps: ReadonlySet<string>;
  readonly fence: string;
  /** The source's columns, where answers are written back into its rows. Null: other rows. */
  readonly content: readonly Column[] | null;
}

/** A change with the parts of its key, as the server writes them. */
interface Keyed {
  readonly change: Change;
  readonly parts: readonly string[];
  readonly id: string;
}

interface Found {
  readonly written: string[];
  readonly stale: { readonly key: string; readonly fence: string }[];
  readonly changed: string[];
  readonly busy: string[];
  readonly failed: { readonly key: string; readonly reason: string }[];
}

type ReadBack = DeliveryOptions["readBack"];

/** At most 2 × changes × log2(changes) transactions. */
export async function writeFenced(
  session: Session,
  table: FencedTable,
  { changes, readBack }: { readonly changes: readonly Change[]; readonly readBack: ReadBack },
): Promise<Written> {
  const found = nothing();
  const keyed = changes.flatMap((change): Keyed[] => {
    const parts = partsOf(table.key, change.key);
    if (parts === null) found.failed.push({ key: change.key, reason: NO_KEY });
    return parts === null ? [] : [{ change, parts, id: idOf(parts) }];
  });
  // In one order, so that two workers with new keys wait for each other one way only.
  await writeParts(
    { session, table, readBack, found, waits: 0 },
    keyed.toSorted((a, b) => (a.id < b.id ? -1 : 1)),
  );
  return found;
}

function nothing(): Found {
  return { written: [], stale: [], changed: [], busy: [], failed: [] };
}

/** Null: a text that no value of its column has. */
function partsOf(key: readonly Column[], ledgerKey: string): readonly string[] | null {
  const parts = key.length === 1 ? [ledgerKey] : (JSON.parse(ledgerKey) as unknown[]).map(String);
  const spelled = parts.map((part, index) => spell(key[index], part));
  return spelled.length !== key.length || spelled.includes(null) ? null : spelled.filter((part) => part !== null);
}

function spell(column: Column | undefined, part: string): string | null {
  if (column === undefined) return null;
  if (column.type === "uuid") return part.toLowerCase();
  if (!isInteger(column) || /zerofill/.test(column.declared)) return part;
  return /^[+-]?\d+$/.test(part) ? String(BigInt(part)) : null;
}

function idOf(parts: readonly string[]): string {
  return JSON.stringify(parts);
}

interface Writing {
  readonly session: Session;
  readonly table: FencedTable;
  readonly readBack: ReadBack;
  readonly found: Found;
  waits: number;
}

async function writeParts(writing: Writing, part: readonly Keyed[]): Promise<void> {
  const { session, found } = writing;
  if (part.length === 0) return;
  if (writing.waits >= LOCK_WAITS_MAX) return void found.busy.push(...part.map(({ change }) => change.key));
  try {
    await session.run(sql`start transaction`);
    const { done, rows } = await writePart(writing, part);
    if (rows.length > 0) await writing.readBack?.(rows);
    await session.run(sql`commit`);
    for (const name of ["written", "stale", "changed", "busy", "failed"] as const)
      (found[name] as unknown[]).push(...done[name]);
  } catch (error) {
    const locked = isLocked(error);
    const reason = reasonOf(error);
    if (!locked && reason === null) throw error;
    await session.run(sql`rollback`);
    if (locked) writing.waits++;
    if (isDeadlock(error)) return void found.busy.push(...part.map(({ change }) => change.key));
    const [only] = part;
    if (part.length > 1 || only === undefined) return writeHalves(writing, part);
    if (locked) found.busy.push(only.change.key);
    else found.failed.push({ key: only.change.key, reason: reason ?? "" });
  }
}

async function writeHalves(writing: Writing, part: readonly Keyed[]): Promise<void> {
  const middle = Math.ceil(part.length / 2);
  await writeParts(writing, part.slice(0, middle));
  await writeParts(writing, part.slice(middle));
}

/** `rows`: as the write leaves them, where answers are written back. */
interface PartWritten {
  readonly done: Found;
  readonly rows: readonly RowAfter[];
}

async function writePart(writing: Writing, part: readonly Keyed[]): Promise<PartWritten> {
  const { session, table } = writing;
  const locked = await readRows(session, table, part, raw("for update skip locked"));
  const unknown = part.filter(({ id }) => !locked.has(id));
  const held = unknown.length === 0 ? new Map<string, LockedRow>() : await readRows(session, table, unknown, raw(""));
  const free = part.filter(({ id }) => !held.has(id));
  const done = nothing();
  done.busy.push(...part.filter(({ id }) => held.has(id)).map(({ change }) => change.key));
  if (free.length === 0) return { done, rows: [] };
  if (table.content !== null) return writeBack(writing, free, { locked, done });
  await session.run(upsertSql(table, free));
  const after = await readRows(session, table, free, raw("for update"));
  for (const { change, id } of free) {
    const theirs = BigInt(after.get(id)?.fence ?? 0);
    if (theirs === BigInt(change.fence)) done.written.push(change.key);
    else if (theirs > BigInt(change.fence)) done.stale.push({ key: change.key, fence: String(theirs) });
    else done.failed.push({ key: change.key, reason: NOT_HELD });
  }
  return { done, rows: [] };
}

/** By their keys as the table spells them, and locked as `lock` says: other sessions' rows are left out then. */
async function readRows(
  session: Session,
  { qualified, key, fence, content }: FencedTable,
  part: readonly Keyed[],
  lock: Sql,
): Promise<ReadonlyMap<string, LockedRow>> {
  const columns = content ?? [];
  const rows = await session.rows(sql`
    select ${list(key.map((column, index) => sql`${textSql(column)} as ${raw(`k${index}`)}`))},
      coalesce(t.${raw(quoteName(fence))}, 0) as fence
      ${list(
        columns.map((column, index) => sql`, ${textSql(column)} as ${raw(`c${index}`)}`),
        "",
      )}
    from ${raw(qualified)} t
    where ${keyIn(key, part)}
    ${lock}`);
  return new Map(
    rows.map((row) => [
      idOf(key.map((column, index) => readText(column, row[`k${index}`] ?? null) ?? "")),
      {
        fence: row["fence"] ?? "0",
        cells: Object.fromEntries(
          columns.map((column, index) => [column.name, readText(column, row[`c${index}`] ?? null)]),
        ),
      },
    ]),
  );
}

function keyIn(key: readonly Column[], part: readonly Keyed[]): Sql {
  const values = part.map(({ parts }) => keyValues(key, parts));
  const [only] = key;
  if (key.length === 1 && only !== undefined) return sql`${columnSql(only)} in (${list(values.flat())})`;
  return sql`(${list(key.map(columnSql))}) in (${list(values.map((one) => sql`(${list(one)})`))})`;
}

function keyValues(key: readonly Column[], parts: readonly string[]): readonly Sql[] {
  return key.map((column, index) => valueSql(column, parts[index] ?? ""));
}

/** The columns that a change sets, with their values; the fence is the last. */
function settings({ columns, stamps, fence }: FencedTable, change: Change): readonly { name: string; value: Sql }[] {
  const isDeletion = "deleted" in change;
  return [
    ...columns.map(({ answer, column }) => ({
      name: column.name,
      value: isDeletion ? sql`null` : cellSql(answer, column, change.cells[answer.field]),
    })),
    ...(stamps.has(AT) ? [{ name: AT, value: sql`utc_timestamp(6)` }] : []),
    ...(stamps.has(MODEL) ? [{ name: MODEL, value: isDeletion ? sql`null` : sql`${change.model}` }] : []),
    { name: fence, value: raw(change.fence) },
  ];
}

/**
 * An assignment sees what those before it did, so the fence is set last. The key is compared by its bytes: the row that
 * stands in the way may be another one, by another unique index or another spelling.
 */
function upsertSql(table: FencedTable, part: readonly Keyed[]): Sql {
  const { qualified, key, fence } = table;
  const set = part.map(({ change }) => settings(table, change));
  const names = (set[0] ?? []).map(({ name }) => quoteName(name));
  const fenceName = quoteName(fence);
  const isOurs = key.map((column) => {
    const name = quoteName(column.name);
    return isText(column) ? `cast(${name} as binary) = cast(values(${name}) as binary)` : `${name} = values(${name})`;
  });
  const wins = [...isOurs, `coalesce(${fenceName}, 0) < values(${fenceName})`].join(" and ");
  const values = part.map(
    ({ parts }, index) => sql`(${list([...keyValues(key, parts), ...(set[index] ?? []).map(({ value }) => value)])})`,
  );
  return sql`
    insert into ${raw(qualified)} (${raw([...key.map(({ name }) => quoteName(name)), ...names].join(", "))})
    values ${list(values)}
    on duplicate key update ${raw(names.map((name) => `${name} = if(${wins}, values(${name}), ${name})`).join(", "))}`;
}

/**
 * Into the source's own rows: only where a row still has the content that it was asked with, compared as the texts that
 * a reading gives, while the row is locked. Then the row is read again: a trigger may have changed it.
 */
async function writeBack(
  { session, table }: Writing,
  free: readonly Keyed[],
  { locked, done }: { readonly locked: ReadonlyMap<string, LockedRow>; readonly done: Found },
): Promise<PartWritten> {
  const decided = free.map((keyed) => ({ ...keyed, fate: fateOf(answerOf(keyed.change), locked.get(keyed.id)) }));
  const writable = decided.filter(({ fate }) => fate === "write");
  if (writable.length > 0) await session.run(...writable.map((keyed) => updateSql(table, keyed)));
  const after = writable.length === 0 ? locked : await readRows(session, table, writable, raw("for update"));
  const rows: RowAfter[] = [];
  for (const { change, id, fate } of decided) {
    const { key } = change;
    if (fate === "stale") done.stale.push({ key, fence: locked.get(id)?.fence ?? "0" });
    else if (fate !== "write") done[fate].push(key);
    else if (after.get(id)?.fence !== change.fence) done.failed.push({ key, reason: NOT_HELD });
    else {
      done.written.push(key);
      // A row without an answer is asked again anyway.
      if (!("deleted" in change)) rows.push({ key, row: after.get(id)?.cells ?? {} });
    }
  }
  return { done, rows };
}

function answerOf(change: Change): Parameters<typeof fateOf>[0] {
  const { fence } = change;
  return "deleted" in change ? { fence, model: null } : { fence, model: change.model, expect: change.expect ?? null };
}

function updateSql(table: FencedTable, { change, parts }: Keyed): Sql {
  const { qualified, key } = table;
  const values = keyValues(key, parts);
  return sql`
    update ${raw(qualified)} t
    set ${list(settings(table, change).map(({ name, value }) => sql`t.${raw(quoteName(name))} = ${value}`))}
    where ${list(
      key.map((column, index) => sql`${columnSql(column)} = ${values[index] ?? sql`null`}`),
      " and ",
    )}`;
}
