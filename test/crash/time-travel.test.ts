/**
 * A restored ledger, and one that was copied while the original is in use: Rowmill notices it, holds everything back
 * until you say which it is, and collects what was paid for.
 *
 * A backup is `create database … template …`. A restored dump has another oid, and is noticed by it; to imitate a
 * physical restore, which has the same identity as before, the backup's own oid is put in the place of the previous
 * one's.
 */
import { randomBytes } from "node:crypto";
import { rm } from "node:fs/promises";
import pg from "pg";
import { afterEach, describe, expect, it } from "vitest";
import { copyLedger, prepareCopy } from "../../src/app/deployment/copy-ledger.js";
import { idleState } from "../../src/app/open/idle.js";
import { prepareRestore, restoreLedger, type RestoreCounts } from "../../src/app/deployment/restore-ledger.js";
import { describeRestoration } from "../../src/cli/commands/advanced/deployment.js";
import type { GatewayFaults } from "../../src/gateway/engine/faults.js";
import { pipeline } from "../../src/index.js";
import { resume } from "../../src/store/pipelines/pipelines.js";
import type { WorkerContext } from "../../src/worker/context.js";
import type { StepName } from "../../src/worker/step-names.js";
import { serverKind, unlessServer } from "../support/cli.js";
import { findViolations } from "../support/invariants.js";
import { createNotes, notesPipeline, plain, type NotesChanges } from "../support/notes.js";
import { executions, passTime, times } from "../support/provider-faults.js";
import { sql, startProject, type TestProject } from "../support/project.js";
import { inputsAt } from "../support/raw-provider.js";

const ROWS = 5;
const ROUNDS_MAX = 60;
const { signal } = new AbortController();

/** Instants at which a backup is made: the step that the worker does not come past. */
const instants: readonly { title: string; step: StepName; after?: StepName; noticed: boolean }[] = [
  { title: "before its rows are planned", step: "plan.batch", noticed: true },
  { title: "when it is planned", step: "render.limits", noticed: true },
  { title: "while it is uploaded", step: "upload.look", noticed: true },
  { title: "when its file is uploaded", step: "submit.intent", noticed: true },
  // The create took effect, and no worker has looked for it yet.
  { title: "when its create is on the way", step: "submit.create", after: "reconcile.look", noticed: false },
  { title: "while it is running", step: "poll.ask", noticed: false },
  { title: "while it is collected", step: "collect.chunk", noticed: false },
];

describe.skipIf(serverKind === "embedded")(`Time travel${unlessServer}`, { timeout: 120_000 }, () => {
  let project: TestProject;
  const cleanups: (() => Promise<unknown>)[] = [];
  afterEach(async () => {
    for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
    await project.check().finally(() => project.close());
  });

  async function start(faults: Partial<GatewayFaults> = {}): Promise<WorkerContext> {
    project = await startProject(serverKind, { gateway: { faults } });
    await createNotes(project, plain(ROWS));
    return project.worker({ notes: notesPipeline() });
  }

  const place = () => ({ database: { kind: "server", url: project.url }, file: "" }) as const;

  /** A worker that dies at this step, again and again; or when it took effect, and then at that other one. */
  function dyingAt(worker: WorkerContext, at: StepName, after?: StepName): WorkerContext {
    return {
      ...worker,
      step: async (name, work) => {
        if (name !== at && name !== after) return worker.step(name, work);
        if (name === at && after !== undefined) await worker.step(name, work);
        throw new Error("The worker died.");
      },
    };
  }

  /** One statement on the server, from outside of the project's database. */
  async function onServer(statement: string): Promise<void> {
    const url = new URL(project.url);
    url.pathname = "/postgres";
    const client = new pg.Client({ connectionString: url.href });
    await client.connect();
    await client.query(statement).finally(() => client.end());
  }

  /** The whole database as it is at this instant, under another name; its URL. */
  async function clone(): Promise<string> {
    const url = new URL(project.url);
    const original = url.pathname.slice(1);
    const name = `clone_${randomBytes(6).toString("hex")}`;
    // A template may have no sessions; the pools open others when they need them.
    await onServer(`select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = '${original}'`);
    await onServer(`create database ${name} template ${original}`);
    cleanups.push(() => onServer(`drop database if exists ${name} with (force)`));
    url.pathname = `/${name}`;
    return url.href;
  }

  /** A worker on a restored backup, in the place of the original. */
  async function restored(url: string, changes: NotesChanges = {}): Promise<WorkerContext> {
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    await client.query(
      "update rowmill.deployment set database_oid = (select oid from pg_database where datname = current_database())",
    );
    await client.end();
    return project.worker({ notes: notesPipeline(changes) }, { url });
  }

  /** Rounds until the ledger's batches are all in this state. */
  async function goOnUntil(worker: WorkerContext, state: string): Promise<void> {
    for (let round = 0; round < ROUNDS_MAX; round++) {
      await project.round(worker);
      const rows = await worker.read.rows<{ state: string }>(sql`select state from rowmill.batches`);
      if (rows.length > 0 && rows.every((row) => row.state === state)) return;
      await passTime(project, "0 seconds");
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    throw new Error(`The batches did not become ${state}.`);
  }

  /** Calls that change something at the provider. */
  async function changes(): Promise<number> {
    const { calls } = await project.gateway.journal.summary();
    const changing = [...calls].filter(([route]) => !route.startsWith("GET "));
    return changing.reduce((sum, [, count]) => sum + count, 0);
  }

  async function expectHeldBack(worker: WorkerContext, seen: RegExp): Promise<void> {
    const before = await changes();
    for (let round = 0; round < 3; round++) await project.round(worker);
    const { blocked } = await idleState(worker);
    expect(blocked).toMatchObject([{ pipeline: "notes", reason: expect.stringMatching(seen) }]);
    expect(blocked[0]?.reason).toMatch(/rowmill deployment --restored\..*rowmill deployment --copy$/);
    // Resuming a pipeline does not resume the ledger.
    for (const id of worker.pipelines.keys()) await resume(worker.database, id);
    await project.round(worker);
    expect((await idleState(worker)).blocked).toHaveLength(1);
    expect(await changes()).toBe(before);
  }

  async function sayRestored(worker: WorkerContext): Promise<RestoreCounts> {
    const restoration = await prepareRestore(worker, signal);
    return restoreLedger(worker, place(), { restoration, signal });
  }

  async function expectAllAnswered(worker: WorkerContext): Promise<void> {
    const rows = await worker.read.rows<{ state: string; summaries: number }>(
      sql`select state, (select count(*)::int from public.note_summaries) as summaries from rowmill.requests`,
    );
    expect(rows).toEqual(times(ROWS, { state: "succeeded", summaries: ROWS }));
    expect(await findViolations(worker.database)).toEqual([]);
  }

  it.each(instants)("a backup that was made $title loses no answer that is paid for", async (instant) => {
    const worker = await start();
    const dying = dyingAt(worker, instant.step, instant.after);
    for (let round = 0; round < 3; round++) {
      await project.round(dying);
      await passTime(project, "0 seconds");
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    const backup = await clone();
    // The original works until its answers lie at the provider, and is lost.
    await goOnUntil(dyingAt(worker, "collect.read"), "collecting");
    const later = await restored(backup);
    if (instant.noticed) {
      await expectHeldBack(later, /^The provider has a batch of this ledger that it never created \(batch_/);
      expect(await sayRestored(later)).toEqual({ adoptedBatches: 1, adoptedRows: ROWS });
    }
    await project.drain(later);
    await expectAllAnswered(later);
    expect(await executions(project)).toEqual(times(ROWS, 1));
    // Its files are deleted as those of any batch of ours: the previous ledger is gone.
    expect(await inputsAt(project.gateway.url)).toEqual([]);
  });

  it("a backup made before the answers were collected and deleted says how many rows are sent again", async () => {
    const worker = await start();
    await project.round(dyingAt(worker, "plan.batch"));
    const backup = await clone();
    await project.drain(worker);
    await goOnUntil(worker, "settled");
    const later = await restored(backup);
    await expectHeldBack(later, /never created/);
    const restoration = await prepareRestore(later, signal);
    expect(describeRestoration(restoration).slice(1)).toEqual([
      expect.stringMatching(/^ {2}batch_\w+ \(completed\): 5 requests, but its answers were deleted/),
      // Planned by the restored one, before it noticed.
      "  rows of 1 unsent batch wait again",
      "! Up to 5 rows will be sent, and paid, again.",
    ]);
    expect(await restoreLedger(later, place(), { restoration, signal })).toMatchObject({ adoptedRows: 0 });
    await project.drain(later);
    await expectAllAnswered(later);
    expect(await executions(project)).toEqual(times(ROWS, 2));
    // The next worker finds nothing strange any more.
    await project.drain(await restored(backup));
  });

  it("a batch that was in flight in the backup, and whose answers are deleted, is said once and sent again", async () => {
    const worker = await start();
    await project.round(dyingAt(worker, "poll.ask"));
    const backup = await clone();
    await goOnUntil(worker, "settled");
    const later = await restored(backup);
    const restoration = await prepareRestore(later, signal);
    expect(describeRestoration(restoration).join()).toMatch(
      /in flight here, but its answers were deleted.*5 rows sent again/,
    );
    await restoreLedger(later, place(), { restoration, signal });
    await goOnUntil(later, "settled");
    await project.drain(later);
    await expectAllAnswered(later);
    expect(await executions(project)).toEqual(times(ROWS, 2));
  });

  it("rows that changed after the backup, and rows of a lost batch that has no row any more, are left out", async () => {
    const worker = await start();
    await project.round(dyingAt(worker, "render.limits"));
    const backup = await clone();
    await goOnUntil(dyingAt(worker, "collect.read"), "collecting");
    const later = await restored(backup);
    await later.database.run(sql`update public.notes set body = 'Another text.' where id = 1`);
    await later.database.run(sql`delete from public.notes where id = 2`);
    await expectHeldBack(later, /never created/);
    expect(await sayRestored(later)).toEqual({ adoptedBatches: 1, adoptedRows: ROWS - 2 });
    await project.drain(later);
    const states = await later.read.rows<{ state: string }>(sql`select state from rowmill.requests order by id`);
    expect(states.map(({ state }) => state)).toEqual(["succeeded", "gone", ...times(ROWS - 2, "succeeded")]);
    expect(await executions(project)).toEqual(times(ROWS + 1, 1));
    expect(await findViolations(later.database)).toEqual([]);
  });

  it("answers to a previous prompt are written, and not taken for answers to the current one", async () => {
    const worker = await start();
    await project.round(dyingAt(worker, "render.limits"));
    const backup = await clone();
    await goOnUntil(dyingAt(worker, "collect.read"), "collecting");
    const later = await restored(backup, { user: "In other words: {{ body }}", model: "gpt-4o" });
    await expectHeldBack(later, /never created/);
    expect(await sayRestored(later)).toEqual({ adoptedBatches: 1, adoptedRows: ROWS });
    await project.drain(later);
    await expectAllAnswered(later);
    // At the price of the model that was asked then.
    const booked = await later.read.first<{ cost: number; due: number }>(sql`
      select sum(a.cost_nano_usd)::float8 as cost, sum(a.input_tokens * 75 + a.output_tokens * 300)::float8 as due
      from rowmill.attempts a join rowmill.batches b on b.no = a.batch where b.recovered`);
    expect(booked?.cost).toBe(booked?.due);
    const attempts = await later.read.rows(sql`
      select outcome, bool_and(cost_nano_usd > 0) as paid, count(*)::int as count from rowmill.attempts
      where outcome <> 'noRoom' group by 1 order by 1`);
    expect(attempts).toEqual([{ outcome: "answered", paid: true, count: 2 * ROWS }]);
    // The previous texts and the current ones.
    expect(await executions(project)).toEqual(times(2 * ROWS, 1));
  });

  it("where its input file is gone, a report says that its answers count as answers to the current prompt", async () => {
    const worker = await start();
    await project.round(dyingAt(worker, "render.limits"));
    const backup = await clone();
    await goOnUntil(dyingAt(worker, "collect.read"), "collecting");
    const [batch] = await worker.read.rows<{ file: string }>(
      sql`select provider_data ->> 'staged' as file from rowmill.batches`,
    );
    const [notes] = worker.pipelines.values();
    await notes?.provider.staging?.remove(batch?.file ?? "");
    const later = await restored(backup);
    const restoration = await prepareRestore(later, signal);
    expect(describeRestoration(restoration)[1]).toMatch(
      /5 requests not known here: its answers are collected as answers to the current prompt, because its input file is gone$/,
    );
    await restoreLedger(later, place(), { restoration, signal });
    await project.drain(later);
    await expectAllAnswered(later);
    expect(await executions(project)).toEqual(times(ROWS, 1));
  });

  it.each([
    { title: "while its batch is running", step: "poll.ask" as const, asked: 1, shared: 1 },
    { title: "while its batch is uploaded", step: "upload.look" as const, asked: 2, shared: 0 },
  ])("a copy that was made $title is noticed, and leaves the original undisturbed", async (instant) => {
    const worker = await start();
    await project.round(dyingAt(worker, instant.step));
    const url = await clone();
    const copy = await project.worker({ notes: notesPipeline() }, { url });
    await expectHeldBack(
      copy,
      /^This ledger was in the database "test_\w+" \(oid \d+\), and is in "clone_\w+" \(oid \d+\)\./,
    );
    expect(await prepareCopy(copy)).toMatchObject({ sharedBatches: instant.shared });
    const before = await changes();
    await copyLedger(copy, place());
    await project.drain(copy);
    await expectAllAnswered(copy);
    // Only read, as far as it was in flight.
    if (instant.shared > 0) expect(await changes()).toBe(before);
    const files = await filesDeleted();
    await goOnUntil(worker, "settled");
    await expectAllAnswered(worker);
    expect(await filesDeleted()).toBeGreaterThan(files);
    expect(await executions(project)).toEqual(times(ROWS, instant.asked));
    const names = await Promise.all(
      [worker, copy].map(({ read }) => read.first<{ id: string }>(sql`select id from rowmill.deployment`)),
    );
    expect(new Set(names.map((row) => row?.id)).size).toBe(2);
  });

  it("a copy whose create is on its way deletes no file of the original's, found or not", async () => {
    const worker = await start();
    await project.round(dyingAt(worker, "submit.create"));
    const copy = await project.worker({ notes: notesPipeline() }, { url: await clone() });
    expect(await prepareCopy(copy)).toMatchObject({ sharedBatches: 1, waitingRows: 0 });
    await copyLedger(copy, place());
    await copy.database.run(sql`update rowmill.batches set create_intent_at = create_intent_at - interval '1 hour'`);
    await project.round(copy);
    expect(await filesDeleted()).toBe(0);
    await project.drain(copy);
    await expectAllAnswered(copy);
    await passTime(project, "1 hour");
    await goOnUntil(worker, "settled");
    await expectAllAnswered(worker);
  });

  it("a copy made while the config lacks a pipeline sends and deletes nothing of it when it is there again", async () => {
    const worker = await start();
    await project.round(dyingAt(worker, "render.limits"));
    await project.run(sql`create table public.others (id int primary key, body text)`);
    const url = await clone();
    // The original is about to send it.
    await passTime(project, "0 seconds");
    await project.round(dyingAt(worker, "submit.intent"));
    const others = pipeline({
      source: { table: "others", key: "id", columns: ["body"] },
      request: { model: "gpt-4o-mini", maxOutputTokens: 100, user: "{{ body }}" },
      target: { table: "other_answers" },
    });
    const without = await project.worker({ others }, { url });
    await copyLedger(without, place());
    const copy = await project.worker({ notes: notesPipeline() }, { url });
    // Of another content, and on another machine.
    await copy.database.run(sql`update public.notes set body = body || ' Changed.'`);
    await rm(copy.spoolFolder, { recursive: true, force: true });
    await project.drain(copy);
    await expectAllAnswered(copy);
    const [sent] = await worker.read.rows<{ file: string }>(
      sql`select provider_data ->> 'staged' as file from rowmill.batches`,
    );
    expect(await inputsAt(project.gateway.url)).toContain(sent?.file);
    await goOnUntil(worker, "settled");
    await expectAllAnswered(worker);
    expect(await executions(project)).toEqual(times(2 * ROWS, 1));
  });

  it("a lost batch that was adopted while it runs is no duplicate to the next process", async () => {
    let held = true;
    const worker = await start({ hold: (batch) => held && batch.status === "in_progress" });
    await project.round(dyingAt(worker, "render.limits"));
    const backup = await clone();
    await goOnUntil(worker, "running");
    const later = await restored(backup);
    await expectHeldBack(later, /never created/);
    expect(await sayRestored(later)).toEqual({ adoptedBatches: 1, adoptedRows: ROWS });
    const next = await project.worker({ notes: notesPipeline() }, { url: backup });
    await project.round(next);
    expect(await next.read.rows(sql`select provider_batch_id from rowmill.duplicate_batches`)).toEqual([]);
    held = false;
    project.gateway.release();
    await project.drain(next);
    await expectAllAnswered(next);
    expect(await executions(project)).toEqual(times(ROWS, 1));
  });

  it("a batch that the provider does not know does not keep you from declaring the ledger restored", async () => {
    const worker = await start();
    await project.round(dyingAt(worker, "poll.ask"));
    const later = await project.worker({ notes: notesPipeline() }, { url: await clone() });
    await later.database.run(sql`update rowmill.batches set provider_batch_id = 'batch_gone'`);
    await sayRestored(later);
    await later.database.run(sql`update rowmill.batches set next_at = clock_timestamp()`);
    await project.round(later);
    expect((await idleState(later)).blocked).toMatchObject([
      { pipeline: "notes", reason: expect.stringContaining("does not find what batch") },
    ]);
  });

  it("a database that is only renamed is the same one", async () => {
    const worker = await start();
    await project.drain(worker);
    const url = new URL(await clone());
    const name = url.pathname.slice(1);
    await restored(url.href);
    await onServer(`select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = '${name}'`);
    await onServer(`alter database ${name} rename to ${name}_later`);
    cleanups.push(() => onServer(`drop database if exists ${name}_later with (force)`));
    url.pathname = `/${name}_later`;
    const later = await project.worker({ notes: notesPipeline() }, { url: url.href });
    expect((await idleState(later)).blocked).toEqual([]);
  });

  async function filesDeleted(): Promise<number> {
    return (await project.gateway.journal.summary()).calls.get("DELETE /v1/files/:id") ?? 0;
  }
});
