/** A source elsewhere that hangs, changes all the time, comes back after days, or asks for a person. */
import { afterEach, beforeEach, expect, it } from "vitest";
import { ConnectorError, pipeline, z } from "../../src/index.js";
import type { WorkerContext } from "../../src/worker/context.js";
import { syncPipeline } from "../../src/worker/rounds/sync.js";
import * as syncOverview from "../../src/store/syncs/sync-overview.js";
import * as syncs from "../../src/store/syncs/syncs.js";
import { bookKeepers, describeDatabases } from "../support/databases.js";
import { sql, startProject, type TestProject } from "../support/project.js";
import { Shelf } from "../support/shelf.js";
import { stageWorker } from "../support/stage-worker.js";

const never = new AbortController().signal;

describeDatabases(
  "A source elsewhere",
  (kind) => {
    let project: TestProject;
    let shelf: Shelf;
    beforeEach(async () => {
      project = await startProject(kind);
      shelf = new Shelf();
    });
    afterEach(() => project.check().finally(() => project.close()));

    const films = () => ({
      films: pipeline({
        source: shelf.source(),
        polling: { min: "10ms", max: "10ms" },
        request: { model: "gpt-4o-mini", user: "Sum up: {{ title }}", maxOutputTokens: 100 },
        answer: z.object({ summary: z.string() }),
        target: { table: "film_labels" },
      }),
    });
    const copied = async () =>
      (await project.rows<{ id: string }>(sql`select id from rowmill_data.films order by id`)).map(({ id }) => id);
    const sync = async (worker: WorkerContext, { full = false, signal = never } = {}) => {
      await syncs.want(worker.database, "films", { full });
      for (const one of worker.pipelines.values()) await syncPipeline(worker, one, signal);
    };
    const standing = async (worker: WorkerContext) => (await syncOverview.list(worker.database))[0];
    const pauses = () =>
      project.rows<{ kind: string; reason: string }>(sql`
      select pause_kind as kind, pause_reason as reason from rowmill.pipelines where pause_kind is not null`);
    const put = (count: number) => {
      for (let n = 0; n < count; n++) shelf.put(String(n).padStart(5, "0"), `Film ${n}`);
    };

    it("that hangs in a page is left when the worker ends: the lease is free, and the next one continues", async () => {
      put(25);
      const worker = await project.worker(films());
      const stopping = new AbortController();
      shelf.onPage = () => {
        stopping.abort();
        return new Promise<never>(() => undefined);
      };
      await sync(worker, { signal: stopping.signal });
      expect(await project.rows(sql`select lease_token, failures from rowmill.syncs`)).toEqual([
        { lease_token: null, failures: 0 },
      ]);
      await sync(await project.worker(films()));
      expect(await copied()).toHaveLength(25);
      expect((await standing(worker))?.phase).toBe("idle");
    });

    /** Rows vanish, two passes find them gone, and the worker dies before it deletes any. Then days pass. */
    const foundGone = async (ids: readonly string[], { accepted = false } = {}) => {
      const worker = await project.worker(films());
      await sync(worker);
      for (const id of ids) shelf.films.delete(id);
      await sync(worker, { full: true });
      if (accepted) {
        await sync(worker, { full: true });
        expect(await syncs.acceptDeletions(worker.database, "films")).toBe(ids.length);
      }
      const dying = stageWorker(worker);
      await dying.run((context) => sync(context, { full: !accepted }), { what: "dies", at: "before sync.delete" });
      dying.stop();
      expect((await standing(worker))?.phase).toBe("deleting");
      await project.run(sql`
      update rowmill.syncs set full_ended_at = full_ended_at - interval '3 days', lease_until = now()`);
      return worker;
    };

    it("whose rows come back before they are deleted keeps them, and loses those that do not", async () => {
      put(25);
      const [back, gone] = [shelf.films.get("00003"), "00004"];
      const worker = await foundGone(["00003", gone]);
      if (back !== undefined) shelf.films.set(back.id, back);
      await sync(worker);
      expect(await copied()).toHaveLength(24);
      expect(await copied()).not.toContain(gone);
      expect((await standing(worker))?.phase).toBe("idle");
    });

    it("is looked at again where a person agreed to deletions days ago, and is not held once more", async () => {
      put(500);
      const ids = [...shelf.films.keys()].slice(0, 120);
      const back = ids.slice(0, 20).flatMap((id) => shelf.films.get(id) ?? []);
      const worker = await foundGone(ids, { accepted: true });
      for (const film of back) shelf.films.set(film.id, film);
      await sync(worker);
      expect(await copied()).toHaveLength(400);
      expect(await pauses()).toEqual([]);
    });

    it("that changes faster than it is read is still read as a whole when that is due", async () => {
      put(25);
      const worker = await project.worker(films());
      await sync(worker);
      shelf.isRestless = true;
      shelf.films.delete("00024");
      await project.run(sql`update rowmill.syncs set full_began_at = now() - interval '59 minutes 59 seconds'`);
      await sync(worker);
      await sync(worker);
      expect(shelf.readings).toEqual(["full", "changes", "full"]);
      expect(await standing(worker)).toMatchObject({ phase: "idle", fullRows: 24 });
    });

    it("that needs a person stays paused until it is read to its end, however often it is looked at", async () => {
      put(25);
      const worker = await project.worker(films());
      const [one] = worker.pipelines.values();
      if (one === undefined) throw new Error("There is no pipeline.");
      const wrongKey = (page: number) => {
        shelf.fault = { page, error: new ConnectorError("stop", "The key is wrong.") };
      };
      for (let look = 0; look < 4; look++) {
        wrongKey(look % 2);
        await sync(worker);
        await worker.refreshSource(one);
        expect(await pauses()).toEqual([{ kind: "source", reason: "The key is wrong." }]);
      }
      expect(await standing(worker)).toMatchObject({ failures: 4, trouble: "The key is wrong." });
      await sync(worker);
      expect(await pauses()).toEqual([]);
      expect(
        await project.rows(
          sql`select event from rowmill.pipeline_events where event in ('paused', 'resumed') order by id`,
        ),
      ).toEqual([{ event: "paused" }, { event: "resumed" }]);
      expect(await copied()).toHaveLength(25);
    });
  },
  bookKeepers,
);
