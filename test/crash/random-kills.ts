/**
 * Workers that are killed at random instants, again and again, while rows come and replies of the provider get lost; at the end one
 * worker that lives, and the accounts. The seed decides what happens and when, not how far a worker is at that instant.
 */
import { setTimeout as pause } from "node:timers/promises";
import type { GatewayFaults } from "../../src/gateway/faults.js";
import { accounts, startCrashProject, takeForDead, type CrashWorker } from "../support/crash-project.js";
import type { DatabaseKind } from "../support/databases.js";
import { createNotes, insertNotes, plain } from "../support/notes.js";
import { sql, type TestProject } from "../support/project.js";

/** A worker lives so long at most once it works; some die while they start. */
const LIFE_MS_MAX = 1_500;
const START_MS_MAX = 900;
const DIES_STARTING = 0.15;
/** How often a worker's death is noticed at once; else its leases bind until others take over. */
const NOTICED_AT_ONCE = 0.9;
const REPLY_LOST = 0.02;
const ROWS_AT_ONCE_MAX = 12;

export interface RandomRun {
  readonly kind: DatabaseKind;
  readonly workers: number;
  readonly kills: number;
  readonly seed: number;
}

/** What was found; an empty list: nothing was lost, and nothing paid twice. */
export async function killAtRandom(run: RandomRun): Promise<{ rows: number; wrong: string[] }> {
  const chance = chances(run.seed);
  const crash = await startCrashProject(run.kind, {
    gateway: { batchDelayMs: 40, faults: lossy(chances(run.seed + 1)) },
  });
  const { project } = crash;
  const alive: CrashWorker[] = [];
  try {
    await createNotes(project, plain(ROWS_AT_ONCE_MAX));
    for (let kills = 0; kills < run.kills; kills++) {
      while (alive.length < run.workers) alive.push(crash.start());
      const [victim] = alive.splice(Math.floor(chance() * alive.length), 1);
      if (victim === undefined) throw new Error("There is no worker to be killed.");
      await insertNotes(project, plain(1 + Math.floor(chance() * ROWS_AT_ONCE_MAX), `kill ${kills}, text`));
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
    return await judge(project);
  } finally {
    await crash.close();
  }
}

/** Any reply may get lost, with its call having taken effect or not. */
function lossy(chance: () => number): Partial<GatewayFaults> {
  const maybe = () => (chance() < REPLY_LOST ? ({ kind: "drop" } as const) : undefined);
  return { beforeEffect: maybe, afterEffect: maybe };
}

async function judge(project: TestProject): Promise<{ rows: number; wrong: string[] }> {
  const wrong: string[] = [];
  await project.check().catch((error: unknown) => wrong.push(String(error)));
  const found = await accounts(project);
  const [counted] = await project.rows<{ rows: number }>(sql`select count(*)::int as rows from public.notes`);
  const rows = counted?.rows ?? 0;
  if (found.states["succeeded"] !== rows || Object.keys(found.states).length > 1)
    wrong.push(`${rows} rows, but in the ledger ${JSON.stringify(found.states)}`);
  if (found.missing > 0 || found.superfluous > 0)
    wrong.push(`${found.missing} answers missing, ${found.superfluous} superfluous`);
  if (found.askedTwice > 0 || found.executed !== rows)
    wrong.push(`${found.executed} executions of ${rows} rows, ${found.askedTwice} asked twice`);
  if (wrong.length > 0) wrong.push(await storyOf(project));
  return { rows, wrong };
}

const STORY_LINES_MAX = 200;

/** What the ledger says happened, for whoever looks for the cause. */
async function storyOf(project: TestProject): Promise<string> {
  const events = await project.rows<{ line: string }>(sql`
    select concat_ws(' ', at, batch_id, from_state, '->', to_state, reason) as line from rowmill.batch_events order by at limit ${STORY_LINES_MAX}`);
  const attempts = await project.rows<{ line: string }>(sql`
    select concat_ws(' ', request_id, attempt, outcome, detail) as line from rowmill.attempts where outcome <> 'answered' limit ${STORY_LINES_MAX}`);
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
