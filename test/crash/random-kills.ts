/**
 * Workers that are killed at random instants, again and again, while rows come and replies of the provider get lost;
 * at the end one worker that lives, and the accounts. The seed decides what happens and when, not how far a worker is
 * at that instant. Each shape of a provider is judged by its own promise.
 */
import { resolve } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import type { GatewayFaults } from "../../src/gateway/engine/faults.js";
import {
  accounts,
  startCrashProject,
  takeForDead,
  type CrashOptions,
  type CrashWorker,
} from "../support/crash-project.js";
import type { DatabaseKind } from "../support/databases.js";
import { BACK_INTO_NOTES, NOTES_ELSEWHERE, takeAnswersBack } from "../support/notes-elsewhere.js";
import { createNotes, insertNotes, plain } from "../support/notes.js";
import type { PlainBatch } from "../support/plain-batches.js";
import type { PlainMishap } from "../support/plain-faults.js";
import { PLAIN_KEY, startPlainStandIn, type PlainStandIn } from "../support/plain-stand-in.js";
import { sql, type TestProject } from "../support/project.js";

/** A worker lives at most this long once it works; some die while they start. */
const LIFE_MS_MAX = 1_500;
const START_MS_MAX = 900;
const DIES_STARTING = 0.15;
/** How often a worker's death is noticed at once; else its leases bind until others take over. */
const NOTICED_AT_ONCE = 0.9;
const REPLY_LOST = 0.02;
const ROWS_AT_ONCE_MAX = 12;
const BATCH_DELAY_MS = 40;
/** Where circumstance alone shows what was created: how long to look for a lost create; some take effect later. */
const WINDOW_MS = 4_000;
const LATE_WITHIN = 0.03;
const LATE_WITHIN_MS_MAX = 500;
const LATE_BEYOND = 0.06;
const LATE_BEYOND_MS = 7_000;

/**
 * `elsewhere`: the first again, and the answers go to a target in another connection, and rows change meanwhile.
 * `back`: the rows come from there too, answers go into them, and a trigger changes what was asked at every write.
 */
export const randomProviders = ["openai", "plain", "elsewhere", "back"] as const;

export interface RandomRun {
  readonly provider: (typeof randomProviders)[number];
  readonly kind: DatabaseKind;
  readonly workers: number;
  readonly kills: number;
  readonly seed: number;
}

export interface RandomEnd {
  readonly rows: number;
  /** Creates that took effect after they were given up for lost. */
  readonly late: number;
  /** An empty list: nothing was lost, and nothing paid twice but what the provider's promise says. */
  readonly wrong: readonly string[];
}

/** Where the batches of a run go, and what is to be found there at its end. */
interface Place {
  readonly options: CrashOptions;
  /** After the table was made. */
  readonly prepare?: (project: TestProject) => Promise<void>;
  /** What happens to rows between two kills, beside those that are added. */
  readonly change?: (project: TestProject, kills: number) => Promise<void>;
  judge(project: TestProject, rows: number): Promise<{ late: number; wrong: string[] }>;
  close(): Promise<void>;
}

const startPlace = {
  openai: startGatewayPlace,
  plain: startPlainPlace,
  elsewhere: startElsewherePlace,
  back: startBackPlace,
} as const;

export async function killAtRandom(run: RandomRun): Promise<RandomEnd> {
  const chance = chances(run.seed);
  const place = await startPlace[run.provider](chances(run.seed + 1));
  const crash = await startCrashProject(run.kind, place.options);
  const { project } = crash;
  const alive: CrashWorker[] = [];
  try {
    await createNotes(project, plain(ROWS_AT_ONCE_MAX));
    await place.prepare?.(project);
    for (let kills = 0; kills < run.kills; kills++) {
      while (alive.length < run.workers) alive.push(crash.start());
      const [victim] = alive.splice(Math.floor(chance() * alive.length), 1);
      if (victim === undefined) throw new Error("There is no worker to be killed.");
      await insertNotes(project, plain(1 + Math.floor(chance() * ROWS_AT_ONCE_MAX), `kill ${kills}, text`));
      await place.change?.(project, kills);
      if (chance() < DIES_STARTING) await pause(chance() * START_MS_MAX);
      else {
        await victim.says("working");
        await pause(chance() * LIFE_MS_MAX);
      }
      victim.child.kill("SIGKILL");
      await victim.ended;
      if (chance() < NOTICED_AT_ONCE) await takeForDead(project);
    }
    for (const { child, ended } of alive) {
      child.kill("SIGKILL");
      await ended;
    }
    await crash.recover();
    return await judge(project, place);
  } finally {
    await crash.close();
    await place.close();
  }
}

function startGatewayPlace(chance: () => number): Promise<Place> {
  return Promise.resolve({
    options: { gateway: { batchDelayMs: BATCH_DELAY_MS, faults: lossy(chance) } },
    judge: async (project, rows) => {
      const { askedTwice, executed } = await accounts(project);
      const wrong =
        askedTwice > 0 || executed !== rows
          ? [`${executed} executions of ${rows} rows, ${askedTwice} asked twice`]
          : [];
      return { late: 0, wrong };
    },
    close: () => Promise.resolve(),
  });
}

function startElsewherePlace(chance: () => number): Promise<Place> {
  const file = JSON.stringify(resolve(import.meta.dirname, "../support/target-in-postgres.mjs"));
  const pipeline = `target: (await import(${file})).targetInPostgres(process.env.DATABASE_URL),`;
  return Promise.resolve(changingPlace(chance, { pipeline, undelivered }));
}

function startBackPlace(chance: () => number): Promise<Place> {
  const pipeline = `${NOTES_ELSEWHERE} ${BACK_INTO_NOTES}`;
  return Promise.resolve({
    ...changingPlace(chance, { pipeline, undelivered: notWrittenBack }),
    prepare: takeAnswersBack,
  });
}

interface Delivering {
  readonly pipeline: string;
  readonly undelivered: (project: TestProject) => Promise<string[]>;
}

function changingPlace(chance: () => number, { pipeline, undelivered: left }: Delivering): Place {
  let changes = 0;
  return {
    options: { gateway: { batchDelayMs: BATCH_DELAY_MS, faults: lossy(chance) }, pipeline },
    change: async (project, kills) => {
      changes += await project.run(sql`
        update public.notes
        set body = 'Another text of row ' || id || ', before kill ' || ${kills}::int
        where id % 5 = ${kills}::int % 5`);
    },
    judge: async (project, rows) => {
      const { askedTwice, executed } = await accounts(project);
      const wrong =
        askedTwice > 0 || executed > rows + changes
          ? [`${executed} executions of ${rows} rows and ${changes} changes, ${askedTwice} asked twice`]
          : [];
      return { late: 0, wrong: [...wrong, ...(await left(project))] };
    },
    close: () => Promise.resolve(),
  };
}

/** Each row has its newest answer, under the fence that the ledger gave it, and the copy is as the row. */
async function notWrittenBack(project: TestProject): Promise<string[]> {
  const found = await project.rows<{ line: string }>(sql`
    select concat_ws(' ', l.key, l.state, 'fence', l.fence, 'there', n.rowmill_fence_notes, 'copy', c.body) as line
    from rowmill.deliveries l
    left join rowmill_data.notes_answers a on a.id = l.key
    left join rowmill_data.notes c on c.id = l.key
    left join public.notes n on n.id::text = l.key
    where l.state <> 'delivered'
      or n.rowmill_fence_notes is distinct from l.fence
      or n.summary is distinct from a.summary
      or n.body is distinct from c.body`);
  return found.map(({ line }) => `not written back: ${line}`);
}

/** Each row's newest answer is there, under the fence that the ledger gave it, and no fence was written twice. */
async function undelivered(project: TestProject): Promise<string[]> {
  const found = await project.rows<{ line: string }>(sql`
    select concat_ws(' ', l.key, l.state, 'fence', l.fence, 'there', t.rowmill_fence, 'writes', t.writes) as line
    from rowmill.deliveries l
    left join rowmill_data.notes_answers a on a.id::text = l.key
    left join public.note_summaries t on t.id::text = l.key
    where l.state <> 'delivered'
      or t.rowmill_fence is distinct from l.fence
      or t.summary is distinct from a.summary
      or t.writes > (select count(*) from rowmill.attempts x join rowmill.requests r on r.id = x.request_id
        where r.key = l.key and x.ending = 'succeeded')`);
  return found.map(({ line }) => `not delivered: ${line}`);
}

/** Any reply may get lost, with its call having taken effect or not. */
function lossy(chance: () => number): Partial<GatewayFaults> {
  const maybe = () => (chance() < REPLY_LOST ? ({ kind: "drop" } as const) : undefined);
  return { beforeEffect: maybe, afterEffect: maybe };
}

async function startPlainPlace(chance: () => number): Promise<Place> {
  const standIn = await startPlainStandIn({ delayMs: BATCH_DELAY_MS, mishap: mishaps(chance) });
  return {
    options: {
      plain: { url: standIn.url, key: PLAIN_KEY, exclusive: true },
      pipeline: `reconcile: { window: "${WINDOW_MS}ms" },`,
    },
    judge: (_, rows) => Promise.resolve(judgePlain(standIn, rows)),
    close: () => standIn.close(),
  };
}

/** The same, and creates whose effect comes late. */
function mishaps(chance: () => number): PlainMishap {
  return (call, at) => {
    const drawn = chance();
    if (drawn < REPLY_LOST) return { kind: "drop" };
    if (call !== "create" || at === "after") return null;
    if (drawn < REPLY_LOST + LATE_WITHIN) return { kind: "late", after: chance() * LATE_WITHIN_MS_MAX };
    return drawn < REPLY_LOST + LATE_WITHIN + LATE_BEYOND ? { kind: "late", after: LATE_BEYOND_MS } : null;
  };
}

const isLate = ({ askedAtMs, madeAtMs }: PlainBatch): boolean => madeAtMs - askedAtMs > WINDOW_MS;

/** Each row once, and at most once more for each late create that asked for it. */
function judgePlain(standIn: PlainStandIn, rows: number): { late: number; wrong: string[] } {
  const late = standIn.batches.all.filter(isLate);
  const allowed = new Map<string, number>();
  for (const { ask } of late.flatMap(({ requests }) => requests))
    allowed.set(ask.prompt, (allowed.get(ask.prompt) ?? 0) + 1);
  const times = [...standIn.executedByPrompt()];
  const twice = times.filter(([prompt, asked]) => asked > 1 + (allowed.get(prompt) ?? 0));
  const wrong = twice.map(
    ([prompt, asked]) => `"${prompt}" was asked ${asked} times, ${allowed.get(prompt) ?? 0} of them late`,
  );
  if (times.length !== rows) wrong.push(`${times.length} of ${rows} rows were asked`);
  const stopped = standIn.batches.all.filter((batch) => batch.stopAskedAtMs !== null && !isLate(batch));
  if (stopped.length > 0) wrong.push(`${stopped.map(({ id }) => id).join(", ")}: stopped, and not late`);
  return { late: late.length, wrong };
}

async function judge(project: TestProject, place: Place): Promise<RandomEnd> {
  const wrong: string[] = [];
  await project.check().catch((error: unknown) => wrong.push(String(error)));
  const found = await accounts(project);
  const [counted] = await project.rows<{ rows: number }>(sql`select count(*)::int as rows from public.notes`);
  const rows = counted?.rows ?? 0;
  if (found.states["succeeded"] !== rows || Object.keys(found.states).length > 1)
    wrong.push(`${rows} rows, but in the ledger ${JSON.stringify(found.states)}`);
  if (found.missing > 0 || found.superfluous > 0)
    wrong.push(`${found.missing} answers missing, ${found.superfluous} superfluous`);
  const asked = await place.judge(project, rows);
  wrong.push(...asked.wrong);
  if (wrong.length > 0) wrong.push(await storyOf(project));
  return { rows, late: asked.late, wrong };
}

const STORY_LINES_MAX = 200;

/** What the ledger says happened, to find the cause. */
async function storyOf(project: TestProject): Promise<string> {
  const events = await project.rows<{ line: string }>(sql`
    select concat_ws(' ', at, batch_id, from_state, '->', to_state, reason) as line
    from rowmill.batch_events
    order by at
    limit ${STORY_LINES_MAX}`);
  const attempts = await project.rows<{ line: string }>(sql`
    select concat_ws(' ', request_id, attempt, outcome, detail) as line
    from rowmill.attempts
    where outcome <> 'answered'
    limit ${STORY_LINES_MAX}`);
  return [...events, ...attempts].map(({ line }) => line).join("\n");
}

/** mulberry32: small, seeded, good enough for choosing instants. 0 ≤ x < 1. */
export function chances(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
