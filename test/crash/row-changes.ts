/**
 * What users do to their rows, at random: transactions over a partitioned table and over the targets, each of one
 * statement or several, some of them rolled back. The tables keep their own history, by triggers, so that a test can
 * tell afterwards what was written when.
 */
import { setTimeout as pause } from "node:timers/promises";
import { raw, type Queryable } from "../../src/postgres/database.js";
import { sql, type TestProject } from "../support/project.js";

const KEYS = 24;
/** Rows below lie in one partition, the others in another. */
const PARTED_AT = 12;
const VERSIONS = 4;
const STATEMENTS_MAX = 4;
const ROLLED_BACK = 0.15;
const HELD_OPEN = 0.1;
const HELD_OPEN_MS_MAX = 300;
const TRUNCATED = 0.04;
export const targets = ["note_openings", "note_echoes"] as const;

/** The demo model gives the first sentence back as it is: the answer says of which content it is. */
function bodyOf(key: number, version: number): string {
  return version === VERSIONS - 1 ? `Skip number ${key}.` : `Version ${version} of note ${key}.`;
}

export async function createPartedNotes({ run }: TestProject): Promise<void> {
  await run(sql`create table public.notes (id int primary key, body text not null) partition by range (id)`);
  await run(raw(`create table public.notes_low partition of public.notes for values from (0) to (${PARTED_AT})`));
  await run(raw(`create table public.notes_high partition of public.notes for values from (${PARTED_AT}) to (1000)`));
  await run(
    sql`insert into public.notes select n, 'Version 0 of note ' || n || '.' from generate_series(0, ${KEYS - 1}) n`,
  );
}

/** After the targets were made. `rowmill.writing` is set in our own transactions only. */
export async function keepHistory({ run }: TestProject): Promise<void> {
  await run(sql`create table public.note_history as select id as key, body from public.notes`);
  await run(
    sql`
      create table public.result_history (n int generated always as identity, target text, key int, opening text,
        ours boolean)`,
  );
  await run(
    raw(`create function public.note_kept() returns trigger language plpgsql as $$ begin
      insert into public.note_history values (new.id, new.body);
      return null; end $$`),
  );
  await run(
    raw(`create function public.result_kept() returns trigger language plpgsql as $$ begin
      insert into public.result_history (target, key, opening, ours)
        values (tg_table_name, coalesce(new.id, old.id), new.opening,
        coalesce(current_setting('rowmill.writing', true), '') <> '');
      return null; end $$`),
  );
  await run(
    raw(`create trigger kept after insert or update on public.notes for each row execute function public.note_kept()`),
  );
  for (const target of targets)
    await run(
      raw(
        `create trigger kept after insert or update or delete on public.${target} for each row
          execute function public.result_kept()`,
      ),
    );
}

/** One transaction of a user. Whatever fails in it, is thrown: nothing of ours may make it fail. */
export async function changeRows(project: TestProject, chance: () => number): Promise<void> {
  try {
    await project.database.transaction(async (tx) => {
      const statements = 1 + Math.floor(chance() * STATEMENTS_MAX);
      for (let n = 0; n < statements; n++) await changeOnce(tx, chance);
      if (chance() < HELD_OPEN) await pause(chance() * HELD_OPEN_MS_MAX);
      if (chance() < ROLLED_BACK) throw new RolledBack();
    });
  } catch (error) {
    if (!(error instanceof RolledBack)) throw error;
  }
}

class RolledBack extends Error {}

type Change = (tx: Queryable, at: Place) => Promise<unknown>;

interface Place {
  readonly key: number;
  readonly to: number;
  readonly body: string;
  /** The partition of `key`. */
  readonly part: string;
  readonly target: string;
}

async function changeOnce(tx: Queryable, chance: () => number): Promise<void> {
  const key = Math.floor(chance() * KEYS);
  const place: Place = {
    key,
    to: Math.floor(chance() * KEYS),
    body: bodyOf(key, Math.floor(chance() * VERSIONS)),
    part: key < PARTED_AT ? "notes_low" : "notes_high",
    target: targets[Math.floor(chance() * targets.length)] ?? targets[0],
  };
  const rarely = chance() < TRUNCATED;
  const from = rarely ? truncations : changes;
  await from[Math.floor(chance() * from.length)]?.(tx, place);
}

const changes: readonly Change[] = [
  (tx) =>
    tx.run(
      sql`
        insert into public.notes select n, 'Version 1 of note ' || n || '.'
        from generate_series(0, ${KEYS - 1}) n on conflict do nothing`,
    ),
  (tx, { key, body }) => tx.run(sql`insert into public.notes values (${key}, ${body}) on conflict do nothing`),
  (tx, { key, body }) => tx.run(sql`update public.notes set body = ${body} where id = ${key}`),
  (tx, { key, body, part }) => tx.run(sql`update public.${raw(part)} set body = ${body} where id = ${key}`),
  (tx, { key, body, part }) =>
    tx.run(sql`insert into public.${raw(part)} values (${key}, ${body}) on conflict do nothing`),
  async (tx, { key }) => {
    await tx.run(sql`update public.notes set body = 'Not ' || body where id = ${key}`);
    await tx.run(sql`update public.notes set body = substr(body, 5) where id = ${key}`);
  },
  (tx, { key }) => tx.run(sql`delete from public.notes where id = ${key}`),
  (tx, { key, part }) => tx.run(sql`delete from public.${raw(part)} where id = ${key}`),
  async (tx, { key }) => {
    const gone = await tx.rows<{ body: string }>(sql`delete from public.notes where id = ${key} returning body`);
    for (const { body } of gone) await tx.run(sql`insert into public.notes values (${key}, ${body})`);
  },
  (tx, { key, to }) =>
    tx.run(
      sql`
        update public.notes
        set id = ${to}
        where id = ${key} and not exists (select 1 from public.notes where id = ${to})`,
    ),
  (tx, { key, target }) => tx.run(sql`update public.${raw(target)} set opening = 'A user says so.' where id = ${key}`),
  (tx, { key, target }) => tx.run(sql`delete from public.${raw(target)} where id = ${key}`),
];

const truncations: readonly Change[] = [
  (tx) => reloaded(tx, "notes"),
  (tx, { part }) => reloaded(tx, part),
  (tx, { part }) => tx.run(sql`truncate public.${raw(part)}`),
];

async function reloaded(tx: Queryable, table: string): Promise<void> {
  const rows = await tx.rows(sql`select id, body from public.${raw(table)}`);
  await tx.run(sql`truncate public.${raw(table)}`);
  await tx.run(
    sql`
      insert into public.${raw(table)} select id, body
      from json_to_recordset(${JSON.stringify(rows)}::json) as x (id int, body text)`,
  );
}
