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
import { changeRows, createPartedNotes, keepHistory } from "./row-changes.js";

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
