/**
 * Writes answers that carry a fence, in one transaction: one loses to a row with a greater fence, so that a repeated or
 * late write changes nothing. A deleted answer leaves its row with the fence and without cells, since other columns of
 * the row are not ours to delete.
 */
import sql, { join, raw, type Sql } from "sql-template-tag";
import type { AnswerColumn } from "../../model/answer/answer-columns.js";
import type { Change, DeliveryOptions, RowAfter, Written } from "../../model/connector.js";
import type { Json } from "../../model/pipeline.js";
import { fateOf, type LockedRow } from "../../model/write-back.js";
import type { OpenDriver } from "./driver.js";
import { DriverError, isOfRow } from "./failure.js";
import type { TargetTable } from "./target-table.js";
import { columnOf, keyValue, orderOf, quote, typed } from "./table.js";

const NOT_HELD = "a trigger or a constraint of the table did something else";
const OTHER_KEY = "the key column would store another value, or holds one that compares as equal";
/** The driver takes as many values in a statement. */
const ROWS_READ_MAX = 500;

/** A row that a trigger refuses by ending the transaction: the others are to be written without it. */
export class RolledBack extends Error {
  /** The reasons, by the rows' keys. */
  readonly refused: ReadonlyMap<string, string>;

  constructor(refused: ReadonlyMap<string, string>) {
    super("A trigger ended the transaction.");
    this.refused = refused;
  }
}

interface Addressed {
  readonly change: Change;
  /** The values of its key columns. */
  readonly key: readonly (string | number | bigint | Buffer)[];
  readonly texts: readonly string[];
}

interface Held extends LockedRow {
  /** Its key. */
  readonly texts: readonly (string | null)[];
}

type Found = { -readonly [List in keyof Written]: Written[List][number][] };

/** In the transaction of the caller, which is repeated if this throws. */
export async function writeFenced(
  driver: OpenDriver,
  table: TargetTable,
  { changes, readBack }: { readonly changes: readonly Change[]; readonly readBack: DeliveryOptions["readBack"] },
): Promise<Written> {
  const found: Found = { written: [], stale: [], changed: [], busy: [], failed: [] };
  const addressed = changes.flatMap((change) => addressOf(table, change, found));
  // Elsewhere the statement itself compares the fences.
  const before = table.content === null ? new Map<string, Held>() : await readHeld(driver, table, addressed);
  const writable = addressed.filter((one) => fate(table, one, before.get(one.change.key)) === "write");
  const refused = await writeEach(driver, table, writable);
  const after = await readHeld(driver, table, writable);
  const rows: RowAfter[] = [];
  for (const one of addressed) {
    const { key } = one.change;
    const reason = refused.get(key);
    const ended = fate(table, one, before.get(key));
    if (reason !== undefined) found.failed.push({ key, reason });
    else if (ended === "write") noteWritten(one, after.get(key), { found, rows });
    else if (ended === "stale") found.stale.push({ key, fence: before.get(key)?.fence ?? "0" });
    else found[ended].push(key);
  }
  if (table.content !== null && rows.length > 0) await readBack?.(rows);
  return found;
}

/** `rows`: for `readBack`. */
function noteWritten(
  { change, texts }: Addressed,
  held: Held | undefined,
  { found, rows }: { readonly found: Found; readonly rows: RowAfter[] },
): void {
  const { key, fence } = change;
  if (held !== undefined && !isSame(held.texts, texts)) found.failed.push({ key, reason: OTHER_KEY });
  else if (held === undefined || BigInt(held.fence) < BigInt(fence)) found.failed.push({ key, reason: NOT_HELD });
  else if (held.fence !== fence) found.stale.push({ key, fence: held.fence });
  else {
    found.written.push(key);
    // A row without an answer is asked again anyway.
    if (!("deleted" in change)) rows.push({ key, row: held.cells });
  }
}

function addressOf({ key }: TargetTable, change: Change, found: Found): Addressed[] {
  const texts = key.length === 1 ? [change.key] : (JSON.parse(change.key) as string[]);
  const values = key.map((column, at) => keyValue(texts[at] ?? "", column));
  const known = values.filter((value) => value !== null);
  if (known.length === key.length) return [{ change, key: known, texts }];
  found.failed.push({ key: change.key, reason: OTHER_KEY });
  return [];
}

function isSame(a: readonly (string | null)[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((text, at) => text === b[at]);
}

function fate(
  { content }: TargetTable,
  { change, texts }: Addressed,
  held: Held | undefined,
): ReturnType<typeof fateOf> {
  // Another row may have a key that SQLite takes for this one.
  const own = held !== undefined && isSame(held.texts, texts) ? held : undefined;
  if (content === null && own === undefined) return "write";
  return fateOf("deleted" in change ? { ...change, model: null } : change, own);
}

/** The rows that these keys find, by the ledger's keys. */
async function readHeld(
  driver: OpenDriver,
  { name, key, fence, content }: TargetTable,
  addressed: readonly Addressed[],
): Promise<ReadonlyMap<string, Held>> {
  const held = new Map<string, Held>();
  const columns = [...key, ...(content ?? [])].map((column) => columnOf(column.name));
  const asked = key.map((_, at) => `k${at}`);
  for (let from = 0; from < addressed.length; from += ROWS_READ_MAX) {
    const part = addressed.slice(from, from + ROWS_READ_MAX);
    const values = join(part.map((one, at) => sql`(${at}, ${join([...one.key])})`));
    const rows = await driver.read(sql`
      with asked (n, ${raw(asked.join(", "))}) as (values ${values})
      select 'integer', asked.n, 'integer', coalesce(${columnOf(fence)}, 0), ${typed(columns)}
      from asked
      cross join ${raw(quote(name))} t on ${join(
        key.map((column, at) => sql`${columnOf(column.name)} = asked.${raw(`k${at}`)}`),
        " and ",
      )}`);
    for (const [, [n, theirs, ...texts]] of rows) {
      const one = part[Number(n)];
      const cells = (content ?? []).map((column, at) => [column.name, texts[key.length + at] ?? null] as const);
      if (one === undefined) continue;
      const row = { texts: texts.slice(0, key.length), fence: theirs ?? "0", cells: Object.fromEntries(cells) };
      // Of several rows that compare as equal, the one with this very key.
      if (!held.has(one.change.key) || isSame(row.texts, one.texts)) held.set(one.change.key, row);
    }
  }
  return held;
}

/** The reasons of those that the table refuses, by their keys. */
async function writeEach(
  driver: OpenDriver,
  table: TargetTable,
  writable: readonly Addressed[],
): Promise<ReadonlyMap<string, string>> {
  const refused = new Map<string, string>();
  if (writable.length === 0) return refused;
  const statementOf = table.content === null ? upsert : update;
  const { errors, isOpen } = await driver.runEach(writable.map((one) => statementOf(table, one)));
  for (const [at, failure] of errors.entries()) {
    const key = writable[at]?.change.key;
    if (failure === null || key === undefined) continue;
    if (!isOfRow(failure)) throw new DriverError(failure);
    refused.set(key, new DriverError(failure).message);
  }
  if (!isOpen) throw new RolledBack(refused);
  return refused;
}

function cellsOf(table: TargetTable, change: Change): readonly { readonly name: string; readonly value: Sql }[] {
  const isDeletion = "deleted" in change;
  return [
    ...table.columns.map(({ name, of }) => ({
      name,
      value: sql`${isDeletion ? null : cellValue(of, change.cells[of.field] ?? null)}`,
    })),
    { name: table.fence, value: sql`${BigInt(change.fence)}` },
    ...(table.hasAt ? [{ name: "rowmill_at", value: sql`strftime('%Y-%m-%dT%H:%M:%fZ', 'now')` }] : []),
    ...(table.hasModel ? [{ name: "rowmill_model", value: sql`${isDeletion ? null : change.model}` }] : []),
  ];
}

function cellValue({ type, isJsonText }: AnswerColumn, value: Json): string | number | bigint | null {
  if (value === null) return null;
  if (isJsonText === true) return String(value);
  if (type === "boolean") return value === true ? 1n : 0n;
  if (typeof value === "number" && type !== "jsonb") return Number.isInteger(value) ? BigInt(value) : value;
  return typeof value === "string" && type !== "jsonb" ? value : JSON.stringify(value);
}

/** Only over a row of this very key: a column may compare without case. */
function upsert(table: TargetTable, { change, key }: Addressed): Sql {
  const cells = cellsOf(table, change);
  const names = [...table.key.map(({ name }) => name), ...cells.map(({ name }) => name)].map(quote);
  const assignments = cells.map(({ name }) => `${quote(name)} = excluded.${quote(name)}`);
  const same = table.key.map(({ name }) => raw(`t.${quote(name)} = excluded.${quote(name)} collate binary`));
  return sql`
    insert into ${raw(quote(table.name))} as t (${raw(names.join(", "))})
    values (${join([...key.map((value) => sql`${value}`), ...cells.map(({ value }) => value)])})
    on conflict (${join(table.key.map((column) => orderOf(column, raw(quote(column.name)))))}) do update
    set ${raw(assignments.join(", "))}
    where coalesce(${columnOf(table.fence)}, 0) < excluded.${raw(quote(table.fence))} and ${join(same, " and ")}`;
}

function update(table: TargetTable, { change, key }: Addressed): Sql {
  const assignments = cellsOf(table, change).map(({ name, value }) => sql`${raw(quote(name))} = ${value}`);
  const same = table.key.map(({ name }, at) => sql`${columnOf(name)} = ${key[at] ?? null} collate binary`);
  return sql`
    update ${raw(quote(table.name))} as t
    set ${join(assignments)}
    where ${join(same, " and ")}`;
}
