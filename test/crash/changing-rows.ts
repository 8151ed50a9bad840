/**
 * Users who change their rows at random, beside three workers of two pipelines over one table that are killed at
 * random; then one worker that lives, and the accounts. The seed decides what is done, and in which order, not how
 * far a worker is at that instant.
 */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { startCrashProject, takeForDead, type CrashProject, type CrashWorker } from "../support/crash-project.js";
import { sql, type TestProject } from "../support/project.js";
import { repeats, type Repeats } from "../support/repeats.js";
import { chances } from "./random-kills.js";
import { raw, type Queryable } from "../../src/postgres/database.js";

const WORKERS = 3;
const LIFE_MS_MAX = 900;
/** Between two transactions of the user. */
const REST_MS_MAX = 60;
const NOTICED_AT_ONCE = 0.9;

export interface ChangingRun {
  readonly kills: number;
  readonly seed: number;
}

export interface ChangingEnd extends Pick<Repeats, "executed" | "reasons"> {
  readonly transactions: number;
  /** Empty: source and targets agree, and nothing was asked twice without a reason. */
  readonly wrong: string[];
}

export async function changeAtRandom(run: ChangingRun): Promise<ChangingEnd> {
  const crash = await startCrashProject("pg18", { gateway: { batchDelayMs: 60 } });
  const { project } = crash;
  try {
    await writeFile(join(project.folder, "rowmill.config.mjs"), configText);
    await createPartedNotes(project);
    await crash.worker();
    await keepHistory(project);
    const working = new AbortController();
    const changing = changeUntil(project, chances(run.seed + 1), working.signal);
    await killThem(crash, run).finally(() => working.abort());
    const transactions = await changing;
    await crash.recover();
    return { ...(await judge(project)), transactions };
  } finally {
    await crash.close();
  }
}

async function changeUntil(project: TestProject, chance: () => number, signal: AbortSignal): Promise<number> {
  let transactions = 0;
  while (!signal.aborted) {
    await changeRows(project, chance);
    transactions++;
    await pause(chance() * REST_MS_MAX);
  }
  return transactions;
}

async function killThem(crash: CrashProject, { kills, seed }: ChangingRun): Promise<void> {
  const chance = chances(seed);
  const alive: CrashWorker[] = [];
  const kill = async (worker: CrashWorker) => {
    worker.child.kill("SIGKILL");
    await worker.ended;
  };
  for (let killed = 0; killed < kills; killed++) {
    while (alive.length < WORKERS) alive.push(crash.start());
    const [victim] = alive.splice(Math.floor(chance() * alive.length), 1);
    if (victim === undefined) throw new Error("There is no worker to be killed.");
    await victim.says("working");
    await pause(chance() * LIFE_MS_MAX);
    await kill(victim);
    if (chance() < NOTICED_AT_ONCE) await takeForDead(crash.project);
  }
  for (const worker of alive) await kill(worker);
}

const configText = `import { defineConfig, pipeline, z } from "rowmill";

const both = {
  when: { rows: 1_000, maxWait: "10m" },
  polling: { min: "200ms", max: "1s" },
  reconcile: { window: "2s" },
  answer: z.object({ opening: z.string() }),
};
const request = { model: "gpt-4o-mini", maxOutputTokens: 100 };
const source = { table: "notes", key: "id", columns: ["body"] };
const openings = pipeline({
  ...both,
  source,
  request: { ...request, user: "{{ body }}" },
  target: { table: "note_openings" },
});
const echoes = pipeline({
  ...both,
  source: { ...source, where: "body not like 'Skip%'" },
  request: { ...request, user: "{{ body }} And again." },
  target: { table: "note_echoes" },
});

export default defineConfig({ database: process.env.DATABASE_URL, pipelines: { openings, echoes } });
`;

async function judge(project: TestProject): Promise<Omit<ChangingEnd, "transactions">> {
  const wrong: string[] = [];
  await project.check().catch((error: unknown) => wrong.push(String(error)));
  wrong.push(...(await disagreements(project)));
  const found = await repeats(project, await deletedResults(project));
  return { executed: found.executed, reasons: found.reasons, wrong: [...wrong, ...found.unstated] };
}

/** Keys, as `PIPELINE KEY`, whose result a user deleted at some time. */
async function deletedResults(project: TestProject): Promise<ReadonlySet<string>> {
  const rows = await project.rows<{ key: string }>(sql`
    select p.name || ' ' || h.key as key from public.result_history h
    join rowmill.pipelines p on p.target_table = h.target where not h.ours and h.opening is null`);
  return new Set(rows.map(({ key }) => key));
}

/**
 * Each row has the answer to its present content, unless a user edited or deleted that very answer afterwards; each
 * request without a row is gone; and no answer was ever written under a key that did not have its content at some
 * time.
 */
async function disagreements(project: TestProject): Promise<string[]> {
  const rows = await project.rows<{ line: string }>(sql`
    with wanted as (
      select p.id as pipeline_id, p.name, p.target_table as target, n.id as key, n.body from public.notes n
      cross join rowmill.pipelines p where p.name = 'openings' or n.body not like 'Skip%'),
    written as (
      select distinct on (target, key) target, key, opening
      from public.result_history
      where ours
      order by target, key, n desc),
    last as (
      select distinct on (target, key) target, key, opening from public.result_history order by target, key, n desc),
    present as (
      select 'note_openings' as target, id as key, opening from public.note_openings
      union all select 'note_echoes', id, opening from public.note_echoes)
    select concat_ws(
      ' ', w.name, w.key, r.state, r.error, 'asks', w.body, 'was given', coalesce(g.opening, 'nothing')) as line
    from wanted w
      left join rowmill.requests r on r.pipeline_id = w.pipeline_id and r.key = w.key::text
      left join written g on g.target = w.target and g.key = w.key
      where r.state is distinct from 'succeeded' or g.opening is distinct from w.body
    union all select concat_ws(' ', 'request', r.pipeline_id, r.key, 'has no row and is', r.state)
    from rowmill.requests r
      left join wanted w on w.pipeline_id = r.pipeline_id and w.key::text = r.key
      where w.key is null and r.state <> 'gone'
    union all select concat_ws(' ', target, key, 'says', p.opening, 'instead of', l.opening)
    from last l
    full join present p using (target, key)
      where p.opening is distinct from l.opening
    union all select concat_ws(' ', h.target, h.key, 'was given', h.opening, 'which it never said')
    from public.result_history h
      where h.ours and not exists (select 1 from public.note_history s where s.key = h.key and s.body = h.opening)`);
  return rows.map(({ line }) => line);
}

/**
 * What users do to their rows, at random: transactions over a partitioned table and over the targets, each of one
 * statement or several, some of them rolled back. The tables keep their own history, by triggers, so that a test can
 * tell afterwards what was written when.
 */
const KEYS = 24;
/** Rows below lie in one partition, the others in another. */
const PARTED_AT = 12;
const VERSIONS = 4;
const STATEMENTS_MAX = 4;
const ROLLED_BACK = 0.15;
const HELD_OPEN = 0.1;
const HELD_OPEN_MS_MAX = 300;
const TRUNCATED = 0.04;
const targets = ["note_openings", "note_echoes"] as const;

/** The demo model gives the first sentence back as it is: the answer says of which content it is. */
function bodyOf(key: number, version: number): string {
  return version === VERSIONS - 1 ? `Skip number ${key}.` : `Version ${version} of note ${key}.`;
}

async function createPartedNotes({ run }: TestProject): Promise<void> {
  await run(sql`create table public.notes (id int primary key, body text not null) partition by range (id)`);
  await run(raw(`create table public.notes_low partition of public.notes for values from (0) to (${PARTED_AT})`));
  await run(raw(`create table public.notes_high partition of public.notes for values from (${PARTED_AT}) to (1000)`));
  await run(
    sql`insert into public.notes select n, 'Version 0 of note ' || n || '.' from generate_series(0, ${KEYS - 1}) n`,
  );
}

/** After the targets were made. `rowmill.writing` is set in our own transactions only. */
async function keepHistory({ run }: TestProject): Promise<void> {
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
async function changeRows(project: TestProject, chance: () => number): Promise<void> {
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
