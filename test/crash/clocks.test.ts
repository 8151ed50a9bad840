/**
 * Clocks that differ by minutes: of workers, of the provider, and one that jumps. What is shared goes by the
 * database's clock alone, waits within a process by a clock that never jumps, and the provider's times are compared
 * with its own: nothing is lost, nothing is paid twice, no lease is taken early or held indefinitely, and no create
 * is repeated too early.
 */
import { setTimeout as pause } from "node:timers/promises";
import { afterEach, describe, expect, it, vi } from "vitest";
import { compareWithList } from "../../src/worker/rounds/duplicates.js";
import type { Call } from "../../src/gateway/engine/faults.js";
import type { GatewayOptions } from "../../src/gateway/gateway.js";
import { runCli, serverKind, unlessServer } from "../support/cli.js";
import {
  accounts,
  clockScript,
  startCrashProject,
  takeForDead,
  type CrashOptions,
  type CrashProject,
  type CrashWorker,
  type Fault,
} from "../support/crash-project.js";
import { createNotes, insertNotes, plain } from "../support/notes.js";
import { drop, emptyList, faultsOf, is } from "../support/provider-faults.js";
import { sql } from "../support/project.js";

const TEN_MINUTES_MS = 600_000;
/** A log line's time tells which clock wrote it, however slow the machine is. */
const TELLS_MS = 120_000;
/** What stood still for ten minutes would not be there by then. */
const SEEN_MS_MAX = 60_000;
const LOOK_MS = 100;
const ROWS = 5;

describe.skipIf(serverKind === "embedded")(`Clocks that differ${unlessServer}`, { timeout: 240_000 }, () => {
  let crash: CrashProject;
  afterEach(async () => {
    vi.restoreAllMocks();
    await crash.project.check().finally(() => crash.close());
  });

  async function start(gateway: Partial<GatewayOptions>, options: CrashOptions = {}): Promise<void> {
    crash = await startCrashProject(serverKind, { gateway, ...options });
    await createNotes(crash.project, plain(ROWS));
  }

  async function until(what: string, look: () => Promise<boolean>): Promise<void> {
    const endMs = performance.now() + SEEN_MS_MAX;
    while (!(await look())) {
      if (performance.now() > endMs) throw new Error(`After ${SEEN_MS_MAX} ms not yet: ${what}.`);
      await pause(LOOK_MS);
    }
  }

  const answered = (rows: number): Promise<void> =>
    until(`${rows} rows answered`, async () => {
      const [row] = await crash.project.rows<{ answered: number }>(
        sql`select count(*)::int as answered from rowmill.requests where state = 'succeeded'`,
      );
      return row?.answered === rows;
    });

  const callsOf = async (route: string): Promise<number> =>
    (await crash.project.gateway.journal.summary()).calls.get(route) ?? 0;

  const created = async (): Promise<number> => (await crash.project.gateway.journal.summary()).batches.length;

  /** By the time on the last line of its log. */
  async function tellsTime(worker: CrashWorker, clockAheadMs: number, lines = 0): Promise<void> {
    await until("a line of its log", async () => worker.loggedAtMs.length > lines);
    const offMs = (worker.loggedAtMs.at(-1) ?? 0) - Date.now() - clockAheadMs;
    expect(Math.abs(offMs)).toBeLessThan(TELLS_MS);
  }

  async function stop(worker: CrashWorker): Promise<void> {
    worker.child.kill("SIGTERM");
    expect(await worker.ended).toBe(0);
  }

  async function expectAnsweredOnce(rows: number): Promise<void> {
    expect(await accounts(crash.project)).toEqual({
      states: { succeeded: rows },
      askedTwice: 0,
      executed: rows,
      missing: 0,
      superfluous: 0,
    });
  }

  describe.each([
    { title: "ahead", aheadMs: TEN_MINUTES_MS },
    { title: "behind", aheadMs: -TEN_MINUTES_MS },
  ])("Of two workers twenty minutes apart", ({ title, aheadMs }) => {
    /** Dies at this step; its lease and its heartbeat are good for five minutes more, by the clock that counts. */
    async function dieAt(fault: Fault): Promise<string> {
      const dying = crash.start(fault, { clockAheadMs: aheadMs });
      expect(await dying.ended).toBe("SIGKILL");
      await tellsTime(dying, aheadMs);
      await crash.project.run(sql`update rowmill.workers set seen_at = clock_timestamp() + interval '5 minutes'`);
      const [held] = await crash.project.rows<{ token: string }>(sql`update rowmill.batches
        set lease_until = clock_timestamp() + interval '5 minutes'
        where lease_token is not null
        returning lease_token as token`);
      // Nothing but the lease keeps others from that batch.
      await crash.project.run(
        sql`select rowmill_worker.force_unlock_workers(array(select pool_id from rowmill.workers))`,
      );
      expect(held).toBeDefined();
      return held?.token ?? "";
    }

    /** Leases of batches that are under way. */
    const leases = async (): Promise<(string | null)[]> =>
      (
        await crash.project.rows<{ token: string | null }>(
          sql`select lease_token as token from rowmill.batches where settled_at is null order by planned_at`,
        )
      ).map(({ token }) => token);

    it.each<Fault>([
      { step: "submit.create", when: "after", action: "kill" },
      { step: "collect.chunk", when: "before", action: "kill" },
    ])(`the one ${title} dies when it holds a lease, $when $step, and the other takes over in time`, async (fault) => {
      let hidden = false;
      const beforeEffect = (call: Call) => (hidden && is("findBatches")(call) ? emptyList : undefined);
      await start({ faults: { beforeEffect } }, { pipeline: `reconcile: { window: "5m" },` });
      const token = await dieAt(fault);
      const other = crash.start(null, { clockAheadMs: -aheadMs });
      await insertNotes(crash.project, plain(ROWS, "other"));
      await answered(ROWS);
      await tellsTime(other, -aheadMs);
      // Its own batch ends a moment after its last row.
      await until("one batch left", async () => (await leases()).length === 1);
      expect(await leases()).toEqual([token]);
      // The provider's list shows the batch a little later, within the window.
      hidden = true;
      const looks = await callsOf("GET /v1/batches");
      await takeForDead(crash.project);
      if (fault.step === "submit.create")
        await until("a look for it", async () => (await callsOf("GET /v1/batches")) > looks);
      hidden = false;
      await answered(2 * ROWS);
      // And both at work at the same time.
      const third = crash.start(null, { clockAheadMs: aheadMs });
      await third.says("working");
      await insertNotes(crash.project, plain(ROWS, "third"));
      await answered(3 * ROWS);
      await stop(third);
      await stop(other);
      await expectAnsweredOnce(3 * ROWS);
      const [row] = await crash.project.rows<{ batches: number }>(
        sql`select count(*)::int as batches from rowmill.batches`,
      );
      expect(await created()).toBe(row?.batches);
    });
  });

  it.each([
    { title: "ahead", providerMs: TEN_MINUTES_MS, clockAheadMs: 0, seesNoDates: false },
    { title: "behind", providerMs: -TEN_MINUTES_MS, clockAheadMs: 0, seesNoDates: false },
    {
      title: "ahead, and says no time",
      providerMs: TEN_MINUTES_MS,
      clockAheadMs: -TEN_MINUTES_MS,
      seesNoDates: true,
    },
    {
      title: "behind, and says no time",
      providerMs: -TEN_MINUTES_MS,
      clockAheadMs: TEN_MINUTES_MS,
      seesNoDates: true,
    },
  ])(
    "A provider whose clock is ten minutes $title: batches are found by its list, lost ones and duplicates",
    async (clocks) => {
      const { providerMs, ...machine } = clocks;
      let held = true;
      await start({
        clock: { nowMs: () => Date.now() + providerMs },
        faults: { afterEffect: faultsOf("createBatch", [drop]), hold: () => held },
      });
      const worker = crash.start(null, machine);
      await until("the batch whose create was answered by silence is found", async () => {
        const rows = await crash.project.rows(sql`select 1 from rowmill.batches where provider_batch_id is not null`);
        return rows.length === 1;
      });
      await tellsTime(worker, machine.clockAheadMs);
      await stop(worker);
      expect(await created()).toBe(1);
      await createTwin();
      await crash.project.run(sql`update rowmill.batches set submitted_at = submitted_at - interval '1 hour'`);
      const next = crash.start(null, machine);
      await until("the second batch is cancelled", async () => {
        const rows = await crash.project.rows(
          sql`select 1 from rowmill.duplicate_batches where cancelled_at is not null`,
        );
        return rows.length === 1;
      });
      held = false;
      crash.project.gateway.release();
      await answered(ROWS);
      await stop(next);
      await expectAnsweredOnce(ROWS);
      expect(await created()).toBe(2);
    },
  );

  /** The batch once more, as a create would make it that was taken for lost too early. */
  async function createTwin(): Promise<void> {
    const [first] = (await crash.project.gateway.journal.summary()).batches;
    const reply = await fetch(`${crash.project.gateway.url}/batches`, {
      method: "POST",
      headers: { authorization: "Bearer test", "content-type": "application/json" },
      body: JSON.stringify({
        input_file_id: first?.inputFileId,
        endpoint: "/v1/chat/completions",
        completion_window: "24h",
        metadata: first?.metadata,
      }),
    });
    expect(reply.status).toBe(200);
  }

  it("A clock that jumps ten minutes back, and ahead again: deadlines and polling are not delayed", async () => {
    let held = true;
    await start({ faults: { hold: () => held } }, { pipeline: `when: { rows: 1_000, maxWait: "2s" },` });
    const worker = crash.start(null, { clockAheadMs: 0, noFlush: true });
    await until("the batch is asked about", async () => (await callsOf("GET /v1/batches/:id")) > 0);
    let rows = ROWS;
    for (const clockAheadMs of [-TEN_MINUTES_MS, TEN_MINUTES_MS, 0]) {
      const lines = worker.loggedAtMs.length;
      worker.child.send({ clockAheadMs });
      await worker.says("clock set");
      held = false;
      crash.project.gateway.release();
      await insertNotes(crash.project, plain(ROWS, `note at ${clockAheadMs}`));
      rows += ROWS;
      await answered(rows);
      await tellsTime(worker, clockAheadMs, lines);
    }
    await stop(worker);
    await expectAnsweredOnce(rows);
  });

  it("A clock that jumps back within the hour: duplicates are looked for when the hour is over", async () => {
    await start({});
    const worker = await crash.worker();
    await crash.project.drain(worker);
    const looks = await callsOf("GET /v1/batches");
    const { signal } = new AbortController();
    await compareWithList(worker, signal);
    expect(await callsOf("GET /v1/batches")).toBe(looks);
    const [trueNow, trueDate] = [performance.now.bind(performance), Date.now.bind(Date)];
    vi.spyOn(performance, "now").mockImplementation(() => trueNow() + 3_600_000);
    vi.spyOn(Date, "now").mockImplementation(() => trueDate() + 3_600_000 - TEN_MINUTES_MS);
    await compareWithList(worker, signal);
    expect(await callsOf("GET /v1/batches")).toBe(looks + 1);
  });

  it("The doctor reports a machine whose clock is wrong", async () => {
    await start({});
    const { status, stdout } = await runCli(["doctor"], {
      cwd: crash.project.folder,
      env: {
        DATABASE_URL: crash.project.url,
        PGSSLMODE: "disable",
        OPENAI_API_KEY: "test",
        OPENAI_BASE_URL: crash.project.gateway.url,
        NODE_OPTIONS: `--import ${clockScript}`,
        CRASH_CLOCK_AHEAD_MS: String(TEN_MINUTES_MS),
      },
    });
    expect(stdout).toMatch(/warning +Clock: The database's clock is (599|60\d) s behind this machine's\./);
    expect(stdout).toMatch(/warning +Clock: The provider's clock is (599|60\d) s behind this machine's\./);
    expect(status).toBe(0);
  });
});
