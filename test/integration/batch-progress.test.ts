import { randomUUID } from "node:crypto";
import { afterEach, beforeEach, expect, it } from "vitest";
import { forgetFiles, runJanitor } from "../../src/worker/rounds/janitor.js";
import type { GatewayFaults } from "../../src/gateway/engine/faults.js";
import * as batchProgress from "../../src/store/batches/batch-progress.js";
import type { BatchProgress } from "../../src/store/batches/batch-progress.js";
import * as cancellation from "../../src/store/batches/cancellation.js";
import { describeDatabases } from "../support/databases.js";
import { createNotes, insertNotes, notesPipeline, plain } from "../support/notes.js";
import { sql, startProject, type TestProject } from "../support/project.js";

const MINUTE = 60_000;

describeDatabases("The progress of batches", (kind) => {
  let project: TestProject;
  let held = false;
  let beforeEffect: GatewayFaults["beforeEffect"] = () => undefined;
  const signal = new AbortController().signal;
  beforeEach(async () => {
    held = false;
    beforeEffect = () => undefined;
    const hold = ({ status }: { status: string }) => held && status === "in_progress";
    project = await startProject(kind, { gateway: { faults: { hold, beforeEffect: (call) => beforeEffect(call) } } });
  });
  afterEach(async () => {
    await project.check().finally(() => project.close());
  });

  /** One batch settled, and one at the provider. */
  async function oneSettledAndOneSent() {
    await createNotes(project, plain(2));
    const worker = await project.worker({ notes: notesPipeline() });
    await project.drain(worker);
    held = true;
    await insertNotes(project, plain(3, "later note"));
    await project.round(worker);
    return worker;
  }

  async function release(worker: Awaited<ReturnType<typeof oneSettledAndOneSent>>): Promise<void> {
    held = false;
    project.gateway.release();
    await project.drain(worker);
  }

  async function shown(): Promise<BatchProgress> {
    const [batch, ...more] = await batchProgress.unfinished(project.database, 10);
    if (batch === undefined || more.length > 0) throw new Error("There is not one unfinished batch.");
    return batch;
  }

  /** Copies of the settled batch that took these minutes, the last of them settled last. `changes`: of SQL. */
  async function settle(minutes: readonly number[], changes: object = {}): Promise<void> {
    for (const took of minutes) {
      const changed = JSON.stringify({ id: randomUUID(), provider_batch_id: null, ...changes });
      await project.run(sql`
        insert into rowmill.batches overriding user value
        select (jsonb_populate_record(b, ${changed}::jsonb
          || jsonb_build_object('settled_at', clock_timestamp(), 'submitted_at', b.submitted_at,
            'provider_done_at', b.submitted_at + make_interval(mins => ${took}::int)))).*
        from rowmill.batches b
        where b.provider_batch_id is not null
          and b.state = 'settled'`);
    }
  }

  const unsettle = () =>
    project.run(sql`delete from rowmill.batches where state = 'settled' and provider_batch_id is null`);

  it("names as the usual duration the median of the last 20 settled batches of its account and model", async () => {
    const worker = await oneSettledAndOneSent();
    const own = (await shown()).usualMs;
    expect(own).toBeGreaterThan(0);
    await settle([1_000, 900]);
    await settle(Array.from({ length: 19 }, (_, at) => at + 1));
    await settle([100]);
    // 1 to 19 and 100: what was settled before these is too long ago.
    expect((await shown()).usualMs).toBe(10.5 * MINUTE);
    await settle([500, 500, 500], { model: "gpt-4o" });
    await settle([500, 500, 500], { account: "https://elsewhere.example/v1" });
    await settle([500, 500, 500], { state: "rejected" });
    await settle([500, 500, 500], { recovered: true });
    await settle([500, 500, 500], { cancel_wanted_at: "2026-01-01", cancel_wanted_by: "ann on host" });
    await settle([500, 500, 500], { adopted_pattern: "task-{id}", forgotten_at: "2026-01-01" });
    expect((await shown()).usualMs).toBe(10.5 * MINUTE);
    await unsettle();
    await project.run(sql`delete from rowmill.batches where state = 'rejected' and provider_batch_id is null`);
    await release(worker);
  });

  it("names no usual duration where no batch of its account and model has settled", async () => {
    await createNotes(project, plain(2));
    const worker = await project.worker({ notes: notesPipeline() });
    held = true;
    await project.round(worker);
    expect(await shown()).toMatchObject({
      state: "running",
      requests: 2,
      usualMs: null,
      cancelMs: null,
      trouble: null,
    });
    await release(worker);
  });

  it("knows since when someone has wanted a batch canceled, and what became of it", async () => {
    const worker = await oneSettledAndOneSent();
    const { id } = await shown();
    const by = { by: "ann on host (rowmill cancel)", drops: false };
    await project.database.transaction((tx) => cancellation.want(tx, id, by));
    expect(await shown()).toMatchObject({ id, state: "running", cancelMs: expect.any(Number) });
    await project.round(worker);
    await release(worker);
    const endings = await batchProgress.endings(project.database, [id]);
    expect(endings).toMatchObject([{ id, state: "settled", cancelWanted: true, drops: false, returned: 3 }]);
  });

  it("files that the provider does not delete now are counted, and deleted by a later round", async () => {
    await createNotes(project, plain(2));
    const worker = await project.worker({ notes: notesPipeline() });
    beforeEffect = ({ method }) =>
      method === "DELETE" ? { kind: "reply", status: 400, body: { error: { message: "not now" } } } : undefined;
    await project.drain(worker);
    const left = () => project.rows(sql`select id from rowmill.batches where forgotten_at is null`);
    expect(await left()).toHaveLength(1);
    expect(await forgetFiles(worker, signal)).toBe(1);
    beforeEffect = () => undefined;
    await runJanitor(worker, signal);
    expect(await left()).toEqual([]);
    expect(await forgetFiles(worker, signal)).toBe(0);
  });

  it("files of more batches than one look finds are all deleted at the end", async () => {
    await createNotes(project, plain(2));
    const worker = await project.worker({ notes: notesPipeline() });
    await project.drain(worker);
    await settle(
      Array.from({ length: 120 }, () => 1),
      { forgotten_at: null, provider_data: {} },
    );
    expect(await forgetFiles(worker, signal)).toBe(0);
    expect(await project.rows(sql`select id from rowmill.batches where forgotten_at is null`)).toEqual([]);
    await unsettle();
  });
});
