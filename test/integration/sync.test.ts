import { randomUUID } from "node:crypto";
import { afterEach, beforeEach, expect, it } from "vitest";
import { ConnectorError, defineSource, pipeline, z } from "../../src/index.js";
import { forgetRows, lookAtRows, prepareForgetting } from "../../src/app/story/forget-rows.js";
import { idleState } from "../../src/app/open/idle.js";
import { sql } from "../../src/postgres/database.js";
import { ensureReplica } from "../../src/store/replicas/replicas.js";
import * as pipelines from "../../src/store/pipelines/pipelines.js";
import * as syncOverview from "../../src/store/syncs/sync-overview.js";
import * as syncs from "../../src/store/syncs/syncs.js";
import { sweepAll } from "../../src/app/open/round.js";
import { approvalOf } from "../../src/worker/rounds/approval.js";
import { syncPipeline } from "../../src/worker/rounds/sync.js";
import type { WorkerContext } from "../../src/worker/context.js";
import { bookKeepers, describeDatabases } from "../support/databases.js";
import { stageWorker } from "../support/stage-worker.js";
import { Shelf } from "../support/shelf.js";
import { startTestService } from "../support/service.js";
import { startProject, type TestProject } from "../support/project.js";

const REPLICA = { key: ["id"], columns: ["title"], version: null, expires: false, synced: true };

const signal = new AbortController().signal;
const APPROVAL = "It waits for approval: rowmill approve films";

describeDatabases(
  "Rows from elsewhere",
  (kind) => {
    let project: TestProject;
    let shelf: Shelf;
    beforeEach(async () => {
      project = await startProject(kind);
      shelf = new Shelf();
    });
    afterEach(() => project.close());

    const films = (options: { approveAboveUsd?: number } = {}) => ({
      films: pipeline({
        ...options,
        source: shelf.source(),
        polling: { min: "10ms", max: "10ms" },
        request: { model: "gpt-4o-mini", user: "Sum up: {{ title }}", maxOutputTokens: 100 },
        answer: z.object({ summary: z.string() }),
        target: { table: "film_labels" },
      }),
    });
    const copied = () =>
      project.rows<{ id: string; title: string | null }>(sql`
    select id, title from rowmill_data.films order by id`);
    const answered = async () =>
      (await project.rows<{ n: number }>(sql`select count(*)::int as n from public.film_labels`))[0]?.n;
    /** The next pass now. */
    const sync = async (worker: WorkerContext, { full = false } = {}) => {
      await syncs.want(worker.database, "films", { full });
      for (const one of worker.pipelines.values()) await syncPipeline(worker, one, signal);
    };
    const put = (count: number) => {
      for (let n = 0; n < count; n++) shelf.put(String(n).padStart(5, "0"), `Film ${n}`);
    };

    it("are answered like those of a table, and a changed one again", async () => {
      put(25);
      const worker = await project.worker(films());
      await project.drain(worker);
      expect(await answered()).toBe(25);
      shelf.put("00003", "Another title");
      await sync(worker);
      await project.drain(worker);
      expect(shelf.readings.slice(0, 2)).toEqual(["full", "changes"]);
      expect((await copied())[3]).toEqual({ id: "00003", title: "Another title" });
      expect((await project.gateway.journal.summary()).executed).toBe(26);
      await project.check();
    });

    it("go when two full passes did not meet them", async () => {
      put(25);
      const worker = await project.worker(films());
      await project.drain(worker);
      shelf.films.delete("00007");
      await sync(worker, { full: true });
      expect(await copied()).toHaveLength(25);
      await sync(worker);
      expect(await copied()).toHaveLength(25);
      await sync(worker, { full: true });
      expect(await copied()).toHaveLength(24);
      shelf.put("00007", "Back");
      await sync(worker);
      expect(await copied()).toHaveLength(25);
      await project.drain(worker);
      await project.check();
    });

    it("stay when one pass missed them and the next met them, or someone wrote them meanwhile", async () => {
      put(25);
      const worker = await project.worker(films());
      await project.drain(worker);
      const [gone, other] = [shelf.films.get("00001"), shelf.films.get("00002")];
      shelf.films.delete("00001");
      shelf.films.delete("00002");
      await sync(worker, { full: true });
      if (gone !== undefined) shelf.films.set("00001", gone);
      // A change that is read between the passes shows that the row is there.
      if (other !== undefined) shelf.put("00002", "Changed");
      await sync(worker);
      shelf.films.delete("00002");
      await sync(worker, { full: true });
      expect((await copied()).map(({ id }) => id)).toEqual(expect.arrayContaining(["00001", "00002"]));
    });

    it("wait for a person when more than a tenth of them vanish", async () => {
      put(500);
      const worker = await project.worker(films());
      await project.drain(worker);
      for (let n = 0; n < 120; n++) shelf.films.delete(String(n).padStart(5, "0"));
      await sync(worker, { full: true });
      await sync(worker, { full: true });
      expect(await copied()).toHaveLength(500);
      const [paused] = await pipelines.all(worker.database);
      expect(paused).toMatchObject({ pauseKind: "deletions" });
      expect(paused?.pauseReason).toContain("rowmill sync films --accept-deletions");
      expect(await syncs.acceptDeletions(worker.database, "films")).toBe(120);
      await sync(worker);
      expect(await copied()).toHaveLength(380);
    });

    it("stay where another pause hides that they wait for a person, and are held again by the next full pass", async () => {
      put(500);
      const worker = await project.worker(films());
      await project.drain(worker);
      const [one] = await pipelines.all(worker.database);
      await pipelines.pause(worker.database, one?.id ?? 0, { kind: "person", reason: "Not now." });
      for (let n = 0; n < 120; n++) shelf.films.delete(String(n).padStart(5, "0"));
      await sync(worker, { full: true });
      await sync(worker, { full: true });
      expect(await pipelines.all(worker.database)).toMatchObject([{ pauseKind: "person" }]);
      expect((await syncOverview.list(worker.database))[0]).toMatchObject({ held: true, gone: 120, phase: "idle" });
      await pipelines.resume(worker.database, one?.id ?? 0);
      await sync(worker);
      expect(await copied()).toHaveLength(500);
      await sync(worker, { full: true });
      expect(await copied()).toHaveLength(500);
      expect(await pipelines.all(worker.database)).toMatchObject([{ pauseKind: "deletions" }]);
    });

    it("stay when they came back before a person agreed that they go", async () => {
      put(500);
      const worker = await project.worker(films());
      await project.drain(worker);
      const away = [...shelf.films.values()].slice(0, 120);
      for (const { id } of away) shelf.films.delete(id);
      await sync(worker, { full: true });
      await sync(worker, { full: true });
      for (const { id, title } of away.slice(0, 100)) shelf.put(id, title);
      await sync(worker);
      expect(await syncs.acceptDeletions(worker.database, "films")).toBe(20);
      await sync(worker);
      expect(await copied()).toHaveLength(480);
    });

    it("are not deleted while a reading is under way that may find them again", async () => {
      put(500);
      const worker = await project.worker(films());
      await project.drain(worker);
      const away = [...shelf.films.values()].slice(0, 120);
      for (const { id } of away) shelf.films.delete(id);
      await sync(worker, { full: true });
      await sync(worker, { full: true });
      for (const film of away) shelf.films.set(film.id, film);
      shelf.fault = { page: 20, error: new ConnectorError("again", "The shelf is closed.") };
      await sync(worker, { full: true });
      expect(await syncs.acceptDeletions(worker.database, "films")).toBe("reading");
      expect(await pipelines.all(worker.database)).toMatchObject([{ pauseKind: "deletions" }]);
      await sync(worker);
      expect(await syncs.acceptDeletions(worker.database, "films")).toBe(0);
      expect(await pipelines.all(worker.database)).toMatchObject([{ pauseKind: null }]);
      expect(await copied()).toHaveLength(500);
    });

    it.each([
      ["a character that cannot be stored", "a\0b"],
      ["a date that is none", new Date(Number.NaN)],
    ])("stay as they were where a new value is refused: %s", async (_name, title) => {
      put(5);
      const worker = await project.worker(films());
      await project.drain(worker);
      shelf.films.set("00002", { id: "00002", title: title as string, changed: 6 });
      for (let pass = 0; pass < 3; pass++) await sync(worker, { full: true });
      expect((await copied())[2]).toEqual({ id: "00002", title: "Film 2" });
      expect(await copied()).toHaveLength(5);
    });

    it("are all read where a person asks for it and a reading of changes can get no further", async () => {
      put(25);
      const worker = await project.worker(films());
      await project.drain(worker);
      shelf.put("00001", "Changed");
      shelf.fault = { page: 0, error: new Error("I cannot read my own place.") };
      await sync(worker);
      await sync(worker, { full: true });
      expect(shelf.readings.at(-1)).toBe("full");
    });

    it("are read at once where a person asks for it during a pass", async () => {
      put(25);
      const worker = await project.worker(films());
      shelf.onPage = () => syncs.want(worker.database, "films", { full: true });
      await sync(worker);
      const [row] = await syncOverview.list(worker.database);
      expect(row?.nextMs).toBe(0);
    });

    it("are no work that continues where their source cannot be read", async () => {
      const worker = await project.worker(films());
      for (let tried = 1; tried <= 3; tried++) {
        put(5);
        expect((await idleState(worker)).idle).toBe(false);
        shelf.fault = { page: 0, error: new Error("The shelf is closed.") };
        await sync(worker);
      }
      await sweepAll(worker, signal);
      expect(await idleState(worker)).toMatchObject({
        idle: true,
        blocked: [{ pipeline: "films", reason: "Its source cannot be read: The shelf is closed." }],
      });
    });

    it("are read from the beginning where something else is read, also in the middle of a pass", async () => {
      put(45);
      const worker = await project.worker(films());
      await sync(worker);
      shelf.put("00001", "Changed");
      shelf.put("00044", "Changed");
      await sync(worker);
      expect(shelf.readings).toEqual(["full", "changes"]);
      shelf.reads = "another shelf";
      const other = await project.worker(films());
      shelf.fault = { page: 2, error: new Error("The shelf is closed.") };
      await sync(other);
      shelf.reads = "a third shelf";
      await sync(await project.worker(films()));
      expect(shelf.readings).toEqual(["full", "changes", "full", "full"]);
    });

    it("are not written by a pass that does not know a column which was added meanwhile", async () => {
      put(25);
      const worker = await project.worker(films());
      shelf.onPage = () => ensureReplica(worker.database, "films", { ...REPLICA, columns: ["title", "changed"] });
      await sync(worker);
      expect(await copied()).toHaveLength(0);
    });

    it("are all read again after they were pushed for a while", async () => {
      put(25);
      const worker = await project.worker(films());
      await sync(worker);
      await sync(worker, { full: true });
      await ensureReplica(worker.database, "films", { ...REPLICA, synced: false });
      expect(await syncOverview.list(worker.database)).toEqual([]);
      const besides = await project.rows(sql`
      select relname from pg_catalog.pg_class where relname in ('films seen', 'films missing', 'films gone')`);
      expect(besides).toEqual([]);
      await ensureReplica(worker.database, "films", REPLICA);
      await sync(worker);
      expect(shelf.readings).toEqual(["full", "full", "full"]);
    });

    it("are refused from anyone but their source: pushed by HTTP or SQL, and deleted", async () => {
      put(3);
      await project.drain(await project.worker(films()));
      const service = await startTestService(project);
      try {
        const rows = "/v1/pipelines/films/rows";
        const body = JSON.stringify([{ id: "00001", title: "Pushed" }]);
        expect((await service.call("push", rows, { method: "POST", body })).status).toBe(404);
        expect((await service.call("push", `${rows}/00001`, { method: "DELETE" })).status).toBe(404);
      } finally {
        await service.close();
      }
      await expect(project.run(sql`select rowmill.push('films', '[{"id": "00001"}]')`)).rejects.toThrow(
        "takes no rows",
      );
      expect((await copied())[1]).toEqual({ id: "00001", title: "Film 1" });
    });

    it("are forgotten with the word that their source still has them", async () => {
      put(3);
      const worker = await project.worker(films());
      await project.drain(worker);
      const { id: pipelineId, config } = [...worker.pipelines.values()][0] ?? {};
      const keys = ["00001"];
      const wanted = await prepareForgetting(project.database, {
        name: "films",
        pipelineId: pipelineId ?? null,
        config,
        keys,
      });
      expect((await lookAtRows(project.database, wanted)).present).toEqual(keys);
      await forgetRows(project.database, wanted, { target: null, signal });
      expect(await copied()).toHaveLength(2);
      await sync(worker, { full: true });
      expect(await copied()).toHaveLength(3);
    });

    it("go on where a pass was cut off", async () => {
      put(45);
      const worker = await project.worker(films());
      shelf.fault = { page: 2, error: new ConnectorError("again", "The shelf is closed.") };
      await sync(worker);
      expect(await copied()).toHaveLength(20);
      const [row] = await syncOverview.list(worker.database);
      expect(row).toMatchObject({ phase: "reading", trouble: "The shelf is closed.", failures: 1 });
      await sync(worker);
      expect(await copied()).toHaveLength(45);
      expect(shelf.readings).toEqual(["full"]);
      expect((await syncOverview.list(worker.database))[0]).toMatchObject({
        phase: "idle",
        trouble: null,
        failures: 0,
      });
    });

    it("are not sent before all were read once and their cost is known", async () => {
      put(45);
      const worker = await project.worker(films({ approveAboveUsd: 0.0003 }), { approve: false });
      shelf.fault = { page: 1, error: new Error("The shelf is closed.") };
      await project.round(worker);
      await project.round(worker);
      expect(await copied()).toHaveLength(10);
      const [films10] = worker.pipelines.values();
      if (films10 === undefined) throw new Error("There is no pipeline.");
      expect(await approvalOf(worker, films10)).toEqual({ kind: "nothing" });
      expect(await idleState(worker)).toMatchObject({ idle: false, blocked: [] });
      await sync(worker);
      await project.round(worker);
      expect(await approvalOf(worker, films10)).toMatchObject({ kind: "needed", estimate: { rows: 45 } });
      expect(await idleState(worker)).toMatchObject({ blocked: [{ pipeline: "films", reason: APPROVAL }] });
      expect((await project.gateway.journal.summary()).executed).toBe(0);
    });

    it("need a new approval where something else is read", async () => {
      put(5);
      const worker = await project.worker(films());
      await project.drain(worker);
      shelf.reads = "another shelf";
      put(45);
      const other = await project.worker(films({ approveAboveUsd: 0 }), { approve: false });
      await sync(other);
      await project.round(other);
      await project.round(other);
      expect(await idleState(other)).toMatchObject({ blocked: [{ pipeline: "films", reason: APPROVAL }] });
      expect((await project.gateway.journal.summary()).executed).toBe(5);
    });

    it("pause with the reason when only a person can help", async () => {
      put(5);
      const worker = await project.worker(films());
      shelf.fault = { page: 0, error: new ConnectorError("stop", "The shelf's key is wrong.") };
      await sync(worker);
      const [paused] = await pipelines.all(worker.database);
      expect(paused).toMatchObject({ pauseKind: "source", pauseReason: expect.stringContaining("The shelf's key") });
    });

    it("are refused alone where they have no key or cannot be stored", async () => {
      put(3);
      shelf.put("00004", "a\0b");
      shelf.put("", "no key");
      const worker = await project.worker(films());
      await project.drain(worker);
      expect(await copied()).toHaveLength(3);
      const refused = await project.rows(sql`select reason, rows::int as rows from rowmill.refused_pushes order by 1`);
      expect(refused).toHaveLength(2);
    });

    it("are written by one worker at a time: one that lost its lease changes nothing", async () => {
      put(25);
      const worker = await project.worker(films());
      const turn = await syncs.begin(worker.database, "films", {
        reads: "",
        fullEveryMs: 3_600_000,
        workerId: randomUUID(),
      });
      if ("waitMs" in turn) throw new Error("The lease was not free.");
      const row = JSON.stringify({ id: "00001", title: "stale" });
      await project.run(sql`update rowmill.syncs set lease_until = now() - interval '1 second'`);
      await sync(worker);
      const write = () =>
        worker.database.transaction((tx) => syncs.writeRows(tx, turn, { rows: [row], keys: [], readAt: null }));
      expect(await write()).toBeNull();
      expect((await copied())[1]).toEqual({ id: "00001", title: "Film 1" });
    });

    it("do not pause for a worker that wakes with its failure after another one read them", async () => {
      put(25);
      const frozen = stageWorker(await project.worker(films()));
      const other = await project.worker(films());
      shelf.fault = { page: 1, error: new ConnectorError("stop", "The key is wrong.") };
      await frozen.run(sync, { what: "freezes", at: "before sync.fail" });
      expect(frozen.isFrozen).toBe(true);
      await project.run(sql`update rowmill.syncs set lease_until = now()`);
      await sync(other);
      await frozen.thaw();
      frozen.stop();
      expect(await copied()).toHaveLength(25);
      expect(await pipelines.all(other.database)).toMatchObject([{ pauseKind: null }]);
      expect((await syncOverview.list(other.database))[0]).toMatchObject({ phase: "idle", trouble: null, failures: 0 });
    });

    it("are all read again after a column was added", async () => {
      put(12);
      await project.drain(await project.worker(films()));
      const wider = {
        films: pipeline({
          ...films().films,
          source: defineSource({
            key: "id",
            every: "1s",
            fullEvery: "1h",
            columns: ["title", "changed"],
            rows: (options) => shelf.rows(options),
          }),
          onChange: "reask",
          polling: { min: "10ms", max: "10ms" },
          request: { model: "gpt-4o-mini", user: "Sum up: {{ title }} {{ changed }}", maxOutputTokens: 100 },
          answer: z.object({ summary: z.string() }),
          target: { table: "film_labels" },
        }),
      };
      const worker = await project.worker(wider);
      await sync(worker);
      expect(shelf.readings.at(-1)).toBe("full");
      await project.drain(worker);
      expect((await project.gateway.journal.summary()).executed).toBe(24);
    });
  },
  bookKeepers,
);
