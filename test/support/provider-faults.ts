/**
 * What tests of a provider that misbehaves share: faults by call, a drain that does not wait, and what a person sees.
 */
import { Writable } from "node:stream";
import { pino, type Logger } from "pino";
import { expect } from "vitest";
import { runRound } from "../../src/app/open/round.js";
import { idleState } from "../../src/app/open/idle.js";
import { pausedText } from "../../src/cli/screen/text.js";
import { renderStatus } from "../../src/cli/reports/status-text.js";
import type { Call, Fault } from "../../src/gateway/engine/faults.js";
import {
  batchOverviews,
  lastEvents,
  livingWorkers,
  moneyOverviews,
  pipelineOverviews,
} from "../../src/store/ledger/overview.js";
import * as stuckBatches from "../../src/store/batches/stuck-batches.js";
import { resume } from "../../src/store/pipelines/pipelines.js";
import { wakeBatches } from "../../src/store/ledger/wake.js";
import type { WorkerContext } from "../../src/worker/context.js";
import { requests } from "./notes.js";
import { sql, type TestProject } from "./project.js";

/** The calls over the wire, as a worker makes them. */
export const providerCalls = {
  uploadInput: "POST /v1/files",
  findInputs: "GET /v1/files",
  deleteFile: "DELETE /v1/files/:id",
  createBatch: "POST /v1/batches",
  findBatches: "GET /v1/batches",
  retrieveBatch: "GET /v1/batches/:id",
  cancelBatch: "POST /v1/batches/:id/cancel",
  readLines: "GET /v1/files/:id/content",
} as const;
export type ProviderCall = keyof typeof providerCalls;

export function is(name: ProviderCall): (call: Call) => boolean {
  return ({ method, route }) => `${method} ${route}` === providerCalls[name];
}

/** The first calls that match meet these faults, one after the other; later ones none. */
export function faultsOf(
  name: ProviderCall,
  faults: readonly (Fault | undefined)[],
): (call: Call) => Fault | undefined {
  const left = [...faults];
  return (call) => (is(name)(call) ? left.shift() : undefined);
}

export function times<T>(count: number, item: T): T[] {
  return Array.from({ length: count }, () => item);
}

export function refusal(
  status: number,
  message: string,
  more: { code?: string; headers?: Readonly<Record<string, string>> } = {},
): Fault {
  const { code = null, headers = {} } = more;
  return { kind: "reply", status, body: { error: { message, code, param: null, type: "test" } }, headers };
}

export const drop: Fault = { kind: "drop" };
export const emptyList: Fault = {
  kind: "reply",
  status: 200,
  body: { object: "list", data: [], first_id: null, last_id: null, has_more: false },
};

/** Retries of a call come at once, and what hangs is given up soon. */
export const impatient = { backoffMs: 1, callMs: 5_000, stallMs: 300 } as const;

const ROUNDS_MAX = 60;

/**
 * Rounds until nothing moves by itself; whatever waits for a time is due at once, and `each` round may take its time.
 */
export async function hurry(
  project: TestProject,
  worker: WorkerContext,
  { each = "0 seconds" }: { each?: string } = {},
): Promise<void> {
  const { signal } = new AbortController();
  for (let round = 0; round < ROUNDS_MAX; round++) {
    await runRound(worker, { flush: true, signal });
    if ((await idleState(worker)).idle) return;
    await letProviderWork(project);
    await passTime(project, each);
  }
  throw new Error(`Still busy after ${ROUNDS_MAX} rounds:\n${await statusOf(project)}`);
}

/** Until every batch at the provider has ended or is held there. */
async function letProviderWork(project: TestProject): Promise<void> {
  const pause = new Promise((resolve) => setTimeout(resolve, PROVIDER_PAUSE_MS));
  const { batches } = await project.gateway.journal.summary();
  const ended = batches.map(({ batchId }) => project.gateway.until(batchId));
  await Promise.race([pause, Promise.allSettled(ended)]);
}

/** The most that a round waits for batches that do not end by themselves. */
const PROVIDER_PAUSE_MS = 60;

/** As if this time had passed since every create; what waits for a time is due. */
export async function passTime(project: TestProject, interval: string): Promise<void> {
  await project.run(sql`update rowmill.batches set create_intent_at = create_intent_at - ${interval}::interval,
    submitted_at = submitted_at - ${interval}::interval, next_at = clock_timestamp() where settled_at is null`);
  await project.run(sql`update rowmill.queue set not_before = clock_timestamp()`);
  await project.run(sql`update rowmill.requests set not_before = null where not_before is not null`);
  await project.run(sql`update rowmill.learned_limits set not_before = clock_timestamp() where not_before is not null`);
}

/** What `rowmill status` prints, on a wide terminal. */
export async function statusOf({ database }: TestProject): Promise<string> {
  const pipelines = await pipelineOverviews(database);
  const same = (text: string) => text;
  const style = { columns: () => 10_000, bold: same, dim: same, ago: () => null };
  const facts = {
    place: "here",
    pipelines: pipelines.map((pipeline) => ({
      ...pipeline,
      paused: pausedText(pipeline, undefined),
      heldBack: null,
      topFailure: null,
    })),
    money: await moneyOverviews(database),
    batches: await batchOverviews(database, 20),
    progress: [],
    held: [],
    waits: [],
    refusedPushes: [],
    syncs: [],
    deliveries: [],
    overdue: await stuckBatches.overdue(database, { max: 20 }),
    events: await lastEvents(database, 20),
    workers: await livingWorkers(database),
    promises: [],
  };
  return renderStatus(facts, style).join("\n");
}

/** The reason of the pause, by its kind; null: nothing is paused. */
export async function pauseOf(project: TestProject): Promise<{ kind: string; reason: string } | null> {
  const [row] = await project.rows<{ kind: string | null; reason: string }>(
    sql`select pause_kind as kind, pause_reason as reason from rowmill.pipelines`,
  );
  return row?.kind == null ? null : { kind: row.kind, reason: row.reason };
}

/** As `rowmill resume` does it. */
export async function resumeAll(project: TestProject): Promise<void> {
  for (const { id } of await pipelineOverviews(project.database)) {
    await project.database.transaction(async (tx) => {
      await resume(tx, id);
      await wakeBatches(tx, id);
    });
  }
}

/** How often each text was executed by the model, in the order of their first execution. */
export async function executions(project: TestProject): Promise<number[]> {
  return [...(await project.gateway.journal.summary()).executedByContent.values()];
}

export async function expectAllAnsweredOnce(project: TestProject, rows: number): Promise<void> {
  expect((await requests(project)).map((row) => row.state)).toEqual(times(rows, "succeeded"));
  expect(await executions(project)).toEqual(times(rows, 1));
}

export interface Warnings {
  readonly log: Logger;
  readonly messages: string[];
}

/** What a worker warns of, in words. */
export function listen(): Warnings {
  const messages: string[] = [];
  const stream = new Writable({
    write(chunk: Buffer, _encoding, done) {
      const { msg, err } = JSON.parse(chunk.toString()) as { msg: string; err?: { message: string } };
      messages.push(err === undefined ? msg : `${msg}: ${err.message}`);
      done();
    },
  });
  return { log: pino({ level: "warn" }, stream), messages };
}
