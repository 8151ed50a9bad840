import { EventEmitter, once } from "node:events";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { writeKept } from "../../src/app/story/write-kept.js";
import { pipeline, push, z } from "../../src/index.js";
import { openDatabase, sql, type Database } from "../../src/postgres/database.js";
import { resultLine, rowAnswer } from "../../src/service/schemas.js";
import { TokenMemory } from "../../src/service/token-memory.js";
import * as tokens from "../../src/store/tokens/tokens.js";
import * as forgetting from "../../src/store/requests/forgetting.js";
import * as results from "../../src/store/requests/results.js";
import type { WorkerContext } from "../../src/worker/context.js";
import { bookKeepers, describeDatabases } from "../support/databases.js";
import { startProject, type TestProject } from "../support/project.js";
import { startTestService, type TestService } from "../support/service.js";
import { acceptRows, tryRows } from "../support/try-rows.js";

const asked = {
  polling: { min: "10ms", max: "10ms" },
  request: { model: "gpt-4o-mini", user: "Sum up: {{ Description }}", maxOutputTokens: 100 },
  answer: z.object({ votes: z.int(), summary: z.string() }),
} as const;
const movies = pipeline({
  ...asked,
  source: push({ key: "imdb_id", columns: ["Description"] }),
  target: { table: "movie_labels" },
});
const pages = pipeline({
  ...asked,
  source: push({ key: ["book", "page"], columns: ["Description"] }),
  // Its answers are judged row by row.
  validate: () => null,
  target: { table: "page_labels" },
});

type Line = z.infer<typeof resultLine>;

describeDatabases(
  "Results over HTTP",
  (kind) => {
    let project: TestProject;
    let service: TestService;
    let worker: WorkerContext;
    beforeEach(async () => {
      project = await startProject(kind);
      worker = await project.worker({ movies, pages });
      service = await startTestService(project);
    });
    afterEach(async () => {
      await service.close();
      await project.close();
    });

    const films = (from: number, count: number, text = "A film") =>
      Array.from({ length: count }, (_, at) => ({ imdb_id: String(from + at), Description: `${text} ${from + at}.` }));
    const pushRows = async (rows: readonly object[], name = "movies") => {
      const pushed = await service.call("push", `/v1/pipelines/${name}/rows`, {
        method: "POST",
        body: JSON.stringify(rows),
      });
      expect(pushed.status).toBe(200);
    };
    const get = async (path: string) => {
      const response = await service.call("read", `/v1/pipelines/${path}`);
      return { status: response.status, text: await response.text() };
    };
    const row = async (path: string) => rowAnswer.parse(JSON.parse((await get(path)).text));
    const linesOf = (text: string): Line[] =>
      text
        .split("\n")
        .filter((line) => line !== "")
        .map((line) => resultLine.parse(JSON.parse(line)));
    const feed = async (query = "") => linesOf((await get(`movies/results${query}`)).text);
    const sorted = (lines: readonly Line[]) => lines.map(({ key }) => Number(key)).toSorted((a, b) => a - b);

    it("show one row from its push to its answer, and its deletion", async () => {
      expect(await get("movies/rows/1")).toMatchObject({ status: 404 });
      await pushRows(films(1, 1));
      expect(await row("movies/rows/1")).toMatchObject({
        key: "1",
        state: "new",
        row: { cells: { imdb_id: "1", Description: "A film 1." }, complete: true },
        answer: null,
        answeredAt: null,
      });
      await project.drain(worker);
      const answered = await row("movies/rows/1");
      expect(answered).toMatchObject({
        state: "succeeded",
        error: null,
        attempts: 1,
        model: expect.stringContaining("gpt-4o-mini"),
        version: 1,
      });
      expect(answered.answer).toEqual({ votes: expect.any(Number), summary: expect.any(String) });
      // More digits than JavaScript's numbers have.
      await project.run(sql`update public.movie_labels set votes = 9007199254740993, summary = E'two\nlines'`);
      expect((await get("movies/rows/1")).text).toContain(
        '"answer":{"votes":9007199254740993,"summary":"two\\nlines"}',
      );
      const remove = async () =>
        (await service.call("push", "/v1/pipelines/movies/rows/1", { method: "DELETE" })).status;
      expect(await remove()).toBe(204);
      expect(await remove()).toBe(404);
      await project.drain(worker);
      expect(await row("movies/rows/1")).toMatchObject({ state: "gone", row: null });
      await project.check();
    });

    it("name a row of several key columns by a JSON array", async () => {
      await pushRows([{ book: "a/b ü", page: 1, Description: "The first page." }], "pages");
      const path = `pages/rows/${encodeURIComponent('["a/b ü", 1]')}`;
      expect(await row(path)).toMatchObject({ key: '["a/b ü", "1"]', state: "new" });
      await project.drain(worker);
      expect(await row(path)).toMatchObject({ state: "succeeded", answer: { votes: expect.any(Number) } });
      for (const key of ["a", '["a"]', "[", '["a", null]', '["a", {}]', String.raw`["\u0000", "1"]`, "%00"])
        expect(await get(`pages/rows/${key === "%00" ? key : encodeURIComponent(key)}`)).toMatchObject({ status: 404 });
      expect(await get("movies/rows/%00")).toMatchObject({ status: 404 });
      expect(await get(`movies/rows/${"k".repeat(2_000)}`)).toMatchObject({ status: 404 });
      expect((await service.call("push", `/v1/pipelines/${path}`, { method: "DELETE" })).status).toBe(204);
      expect(await project.rows(sql`select 1 from rowmill_data.pages`)).toEqual([]);
    });

    it("let a deleted row come back with the body that was pushed last", async () => {
      const token = await service.token("push", "movies");
      const body = JSON.stringify(films(1, 1_000));
      const ingest = async () =>
        (await (await fetch(`${service.base}/v1/in/${token}`, { method: "POST", body })).json()) as object;
      expect(await ingest()).toMatchObject({ accepted: 1_000 });
      expect(await ingest()).toMatchObject({ unchanged: 1_000 });
      await service.call("push", "/v1/pipelines/movies/rows/7", { method: "DELETE" });
      expect(await ingest()).toMatchObject({ accepted: 1, unchanged: 999 });
    });

    it("come in pages, each line with the cursor behind it", async () => {
      await pushRows(films(0, 650));
      await project.drain(worker);
      const all = await feed();
      expect(sorted(all)).toEqual(films(0, 650).map(({ imdb_id }) => Number(imdb_id)));
      for (const limit of [1, 200, 201, 649]) {
        const first = await feed(`?limit=${limit}`);
        expect(first).toEqual(all.slice(0, limit));
        expect(await feed(`?after=${first.at(-1)?.cursor}`)).toEqual(all.slice(limit));
      }
      expect(await feed(`?after=${all.at(-1)?.cursor}`)).toEqual([]);
      await pushRows(films(3, 1, "Another film"));
      await project.drain(worker);
      const [again, ...none] = await feed(`?after=${all.at(-1)?.cursor}`);
      expect([again?.key, none]).toEqual(["3", []]);
      // At its first place too, a row shows its present answer.
      expect((await feed()).find(({ key }) => key === "3")?.answer).toEqual(again?.answer);
      await project.run(sql`delete from public.movie_labels where imdb_id = '3'`);
      expect((await feed()).at(-1)).toMatchObject({ key: "3", answer: null, model: null, version: null });
      await project.check();
    });

    it("come of a try, of a retry and of answers that are judged row by row", async () => {
      await pushRows(films(0, 2));
      await project.round(worker, { flush: false });
      const { no } = await tryRows(project, { movies, pages }, { choice: { rows: 2 } });
      expect((await acceptRows(project, { movies, pages }, no)).accepted).toHaveLength(2);
      expect(sorted(await feed())).toEqual([0, 1]);

      await project.run(sql`alter table public.movie_labels add constraint low check (imdb_id < '7')`);
      await pushRows(films(5, 5));
      await project.drain(worker);
      expect(sorted(await feed())).toEqual([0, 1, 5, 6]);
      await project.run(sql`alter table public.movie_labels drop constraint low`);
      const found = [...worker.pipelines.values()].find(({ config }) => config.name === "movies");
      if (found === undefined) throw new Error("There is no pipeline.");
      const tally = await writeKept({
        database: worker.database,
        pipeline: found,
        meant: { pipelineId: found.id, reasons: null, keys: null },
        account: found.provider.account,
        signal: new AbortController().signal,
        onChunk: () => undefined,
      });
      expect(tally.written).toBe(3);
      expect(sorted(await feed())).toEqual([0, 1, 5, 6, 7, 8, 9]);

      await pushRows([{ book: "a", page: 1, Description: "Text." }], "pages");
      await project.drain(worker);
      expect(linesOf((await get("pages/results")).text)).toMatchObject([{ key: '["a", "1"]', version: 1 }]);
      await project.check();
    });

    it("refuse a cursor that is none, and one of another ledger", async () => {
      await pushRows(films(0, 1));
      await pushRows([{ book: "a", page: 1, Description: "Text." }], "pages");
      await project.drain(worker);
      const [line] = await feed();
      for (const query of ["after=x", "after=1-1", "limit=0", "limit=10001", "limit=a", "wait=61", "wait=-1"])
        expect(await get(`movies/results?${query}`)).toMatchObject({ status: 400 });
      expect(await get(`pages/results?after=${line?.cursor}`)).toMatchObject({ status: 410 });
      expect(await get("movies/results?after=999999999999999999-999999999-99999999999999999")).toMatchObject({
        status: 410,
      });
      expect(await get("none/results")).toMatchObject({ status: 404 });
    });

    it("wait for the first line, until the time is over, the caller is gone or the server stops", async () => {
      await pushRows(films(0, 1));
      await project.drain(worker);
      const [line] = await feed();
      const waiting = feed(`?after=${line?.cursor}&wait=60`);
      await pushRows(films(1, 2));
      await project.drain(worker);
      const lines = await waiting;
      expect(lines.length).toBeGreaterThan(0);
      const last = (await feed()).at(-1)?.cursor;
      expect(await feed(`?after=${last}&wait=1`)).toEqual([]);
      const stopped = feed(`?after=${last}&wait=60`);
      const leaving = new AbortController();
      const left = service.call("read", `/v1/pipelines/movies/results?after=${last}&wait=60`, {
        signal: leaving.signal,
      });
      leaving.abort();
      await expect(left).rejects.toThrow("aborted");
      service.service.endWaits();
      expect(await stopped).toEqual([]);
      expect(await feed(`?after=${last}&wait=60`)).toEqual([]);
    });

    it("are none of them passed over by a reader beside several workers", async () => {
      const workers = [worker, await project.worker({ movies, pages }), await project.worker({ movies, pages })];
      const seen: Line[] = [];
      let after = "";
      const read = async () => {
        const lines = await feed(`?limit=7${after === "" ? "" : `&after=${after}`}`);
        seen.push(...lines);
        after = lines.at(-1)?.cursor ?? after;
        return lines.length;
      };
      let isDone = false;
      const reader = (async () => {
        while (!isDone) await read();
      })();
      for (let round = 0; round < 8; round++) {
        await pushRows(films(round * 40, 40));
        await Promise.all(workers.map((one) => project.round(one)));
      }
      await project.drain(...workers);
      isDone = true;
      await reader;
      while ((await read()) > 0);
      expect(sorted(seen)).toEqual(Array.from({ length: 320 }, (_, id) => id));
      await project.check();
    });

    const moviesId = () => project.database.number(sql`select id from rowmill.pipelines where name = 'movies'`);
    /** A transaction with a number, which adds results if it writes for a pipeline. Returns how it is committed. */
    const hold = async (database: Database, writingFor: number | null, ids: readonly string[] = []) => {
      const signals = new EventEmitter();
      const begun = once(signals, "begun");
      const released = once(signals, "released");
      const ended = database.transaction(
        async (tx) => {
          await tx.run(sql`insert into public.others values (1)`);
          if (writingFor !== null) await results.record(tx, writingFor, ids);
          signals.emit("begun");
          await released;
        },
        writingFor === null ? {} : { writingFor },
      );
      await Promise.race([begun, ended]);
      return async () => {
        signals.emit("released");
        await ended;
      };
    };

    it("hold back what was accepted after an older transaction that is open", async ({ skip }) => {
      skip(kind === "embedded", "the embedded database has one transaction at a time");
      await pushRows(films(0, 3));
      await project.drain(worker);
      const [first, second, third] = await project.rows<{ id: string }>(
        sql`select id from rowmill.requests order by id`,
      );
      const before = (await feed()).at(-1)?.cursor;
      const pipelineId = await moviesId();
      const late = openDatabase({ connectionString: project.url, ssl: false });
      await project.run(sql`create table public.others (id int)`);
      // A load of hours, an index that is built: they have a number too, and add no result.
      const endOthers = await hold(late, null);
      const commit = await hold(late, pipelineId, [first?.id ?? ""]);
      await project.database.transaction((tx) => results.record(tx, pipelineId, [second?.id ?? "", third?.id ?? ""]), {
        writingFor: pipelineId,
      });
      expect(await feed(`?after=${before}`)).toEqual([]);
      await commit();
      expect((await feed(`?after=${before}`)).map(({ key }) => key)).toEqual(["0", "1", "2"]);
      await endOthers();
      await late.close();
    });

    it("hold back a transaction that ends while they are read, after an older one that stays open", async ({
      skip,
    }) => {
      skip(kind === "embedded", "the embedded database has one transaction at a time");
      await pushRows(films(0, 2));
      await project.drain(worker);
      const ids = await project.rows<{ id: string }>(sql`select id from rowmill.requests order by id`);
      const before = (await feed()).at(-1)?.cursor;
      await project.run(sql`create table public.others (id int)`);
      const pipelineId = await moviesId();
      const late = openDatabase({ connectionString: project.url, ssl: false });
      // Both have a number that no ended transaction has passed yet.
      const commitOlder = await hold(late, pipelineId, [ids[0]?.id ?? ""]);
      const commitNewer = await hold(late, pipelineId, [ids[1]?.id ?? ""]);
      const { value, first, column, number } = project.database;
      const rows: Database["rows"] = async (statement) => {
        // After the horizon was read, and before the results are.
        await commitNewer();
        return project.database.rows(statement);
      };
      const seen = await results.page({ value, first, column, number, rows }, pipelineId, { after: null, max: 10 });
      expect(seen).toHaveLength(2);
      await commitOlder();
      expect((await feed(`?after=${before}`)).map(({ key }) => key)).toEqual(["0", "1"]);
      await late.close();
    });

    it("keep their order and cursors on a server that counts its transactions from the beginning", async () => {
      await pushRows(films(0, 3));
      await project.drain(worker);
      const before = await feed();
      // As after a dump is restored on a younger server.
      await project.run(sql`update rowmill.result_chunks set xid = (xid::text::bigint + 1000000000)::text::xid8`);
      expect(await feed()).toEqual([]);
      const restored = await project.worker({ movies, pages });
      expect(await feed()).toEqual(before);
      await pushRows(films(3, 1));
      await project.drain(restored);
      expect((await feed(`?after=${before.at(-1)?.cursor}`)).map(({ key }) => key)).toEqual(["3"]);
    });

    it("name no row that was erased, and keep its line", async () => {
      await pushRows(films(0, 3));
      await project.drain(worker);
      const [first, ...others] = await feed();
      const pipelineId = await moviesId();
      const erased = await project.database.transaction((tx) =>
        forgetting.eraseMany(tx, pipelineId, [first?.key ?? ""]),
      );
      expect(erased).toBe(1);
      const { cursor } = first ?? {};
      expect(await feed()).toEqual([expect.objectContaining({ cursor, key: null, answer: null }), ...others]);
    });

    it("are not for a token that is revoked while its call waits", async () => {
      const { id, text } = await tokens.create(project.database, { scope: "read", pipeline: null, note: null });
      const waiting = fetch(`${service.base}/v1/pipelines/movies/results?wait=60`, {
        headers: { authorization: `Bearer ${text}` },
      });
      // Let in before: last_used_at is written when a token is found.
      await expect
        .poll(() => project.rows(sql`select 1 from rowmill.tokens where last_used_at is not null`))
        .toHaveLength(1);
      await tokens.revoke(project.database, id);
      await pushRows(films(0, 1));
      await project.drain(worker);
      expect((await waiting).status).toBe(401);
    });

    it("are no longer for a token a second after it is revoked", async () => {
      const { id, text } = await tokens.create(project.database, { scope: "read", pipeline: null, note: null });
      const memory = new TokenMemory(project.database);
      let nowMs = 5_000;
      const clock = vi.spyOn(performance, "now").mockImplementation(() => nowMs);
      try {
        expect(await memory.find("rwm_unknown")).toBeNull();
        expect(await memory.find(text)).toMatchObject({ id });
        await tokens.revoke(project.database, id);
        nowMs += 999;
        expect(await memory.find(text)).toMatchObject({ id });
        nowMs += 1;
        expect(await memory.find(text)).toBeNull();
      } finally {
        clock.mockRestore();
      }
    });
  },
  bookKeepers,
);
