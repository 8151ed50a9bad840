/** Rows that are asked live before a batch: kept, paid from the budget, and accepted as results once. */
import { afterEach, beforeEach, expect, it } from "vitest";
import { sweepAll } from "../../src/app/open/round.js";
import { pipeline, z } from "../../src/index.js";
import type { GatewayFaults } from "../../src/gateway/engine/faults.js";
import * as outputSizes from "../../src/store/batches/output-sizes.js";
import { spending } from "../../src/store/batches/money.js";
import { runJanitor } from "../../src/worker/rounds/janitor.js";
import type { WorkerContext } from "../../src/worker/context.js";
import { bookKeepers, describeDatabases, newestKinds } from "../support/databases.js";
import { createMovies, insertMovies, executions } from "../support/movies.js";
import { createNotes, insertNotes, outcomes, plain, requests } from "../support/notes.js";
import { quick } from "../support/movies-pipeline.js";
import { sql, startProject, type TestProject } from "../support/project.js";
import { acceptRows, gatewayProvider, tryRows } from "../support/try-rows.js";

const { signal } = new AbortController();

type Changes = Partial<Parameters<typeof pipeline>[0]>;

function notes(changes: Changes = {}) {
  return {
    notes: pipeline({
      ...quick,
      source: { table: "notes", key: "id", columns: ["body"] },
      request: { model: "gpt-4o-mini", maxOutputTokens: 100, user: "{{ body }}" },
      answer: z.object({ summary: z.string() }),
      target: { table: "note_summaries" },
      ...changes,
    }),
  };
}

const otherPrompt = { request: { model: "gpt-4o-mini", maxOutputTokens: 100, user: "In short: {{ body }}" } };

describeDatabases(
  "A try",
  (kind) => {
    let project: TestProject;
    let beforeEffect: GatewayFaults["beforeEffect"] = () => undefined;
    beforeEach(async () => {
      beforeEffect = () => undefined;
      project = await startProject(kind, { gateway: { faults: { beforeEffect: (call) => beforeEffect(call) } } });
    });
    afterEach(async () => {
      await project.check().finally(() => project.close());
    });

    /** Its rows wait, and nothing is sent. */
    async function upWithoutSending(changes: Changes = {}): Promise<WorkerContext> {
      const worker = await project.worker(notes(changes));
      await sweepAll(worker, signal);
      return worker;
    }

    const spent = async () => {
      const [row] = await project.rows<{ id: number; account: string }>(
        sql`select id, 'x' as account from rowmill.pipelines`,
      );
      const of = { per: "total" as const, runId: null, account: "" };
      return (await project.database.transaction((tx) => spending(tx, row?.id ?? 0, of))).spentNanoUsd;
    };
    const summaries = () => project.rows<{ id: number }>(sql`select id from public.note_summaries order by id`);

    it("before the first up keeps its answers, and makes no pipeline, trigger or target", async () => {
      await createNotes(project, plain(8));
      const tried = await tryRows(project, notes());
      expect(tried).toMatchObject({ notAsked: 0, stop: null });
      expect(tried.answers.map(({ key, outcome }) => [key, outcome])).toEqual(
        ["1", "2", "3", "4", "5"].map((key) => [key, "answered"]),
      );
      expect(tried.answers.every((one) => (one.costNanoUsd ?? 0) > 0 && one.reservedNanoUsd === 0)).toBe(true);
      const made = await project.rows(sql`
        select 'pipeline' from rowmill.pipelines
        union all select tgname::text from pg_trigger where tgrelid = 'public.notes'::regclass
        union all select tablename::text from pg_tables where tablename = 'note_summaries'`);
      expect(made).toEqual([]);
      const definitionHash = (
        await project.rows<{ hash: string }>(sql`select definition_hash as hash from rowmill.tries`)
      )[0];
      const sizes = await outputSizes.sizesOf(project.database, {
        pipeline: "notes",
        definitionHash: definitionHash?.hash ?? "",
      });
      expect(sizes).toMatchObject({ answers: 5 });
    });

    it("that is accepted is the result of its rows, which no batch asks again", async () => {
      await createNotes(project, plain(8));
      const { no, answers } = await tryRows(project, notes());
      const worker = await upWithoutSending();
      const before = await spent();
      expect(before).toBe(answers.reduce((sum, one) => sum + (one.costNanoUsd ?? 0), 0));
      expect(await acceptRows(project, notes(), no)).toEqual({ accepted: ["1", "2", "3", "4", "5"], left: [] });
      expect(await spent()).toBe(before);
      await project.check();
      expect(await acceptRows(project, notes(), no)).toEqual({
        accepted: [],
        left: ["1", "2", "3", "4", "5"].map((key) => ({ key, why: "already", detail: null })),
      });
      await project.drain(worker);
      // Of batches: the others were asked live.
      expect(await executions(project)).toEqual([1, 1, 1]);
      expect(await outcomes(project)).toEqual({ answered: 8 });
      expect(await summaries()).toHaveLength(8);
      const batches = await project.rows(sql`
        select state, requests, batch_factor::text as factor, provider_batch_id is null as live
        from rowmill.batches
        order by no`);
      expect(batches).toEqual([
        { state: "settled", requests: 5, factor: "1", live: true },
        { state: "settled", requests: 3, factor: "0.5", live: false },
      ]);
    });

    it("is accepted once by two commands at a time", async () => {
      await createNotes(project, plain(6));
      const { no } = await tryRows(project, notes(), { choice: { rows: 6 } });
      await upWithoutSending();
      const both = await Promise.all([acceptRows(project, notes(), no), acceptRows(project, notes(), no)]);
      expect(both.map(({ accepted }) => accepted.length).toSorted((a, b) => a - b)).toEqual([0, 6]);
      expect(both.flatMap(({ left }) => left.map(({ why }) => why))).toEqual(Array(6).fill("already"));
    });

    it("is accepted only for rows and a question as they were asked, and for requests that wait", async () => {
      await createNotes(project, plain(6));
      const { no } = await tryRows(project, notes(), { choice: { rows: 6 } });
      const worker = await upWithoutSending();
      await project.run(sql`update public.notes set body = 'Another text.' where id = 1`);
      await project.run(sql`delete from public.notes where id = 2`);
      const held = await project.database.transaction(async (tx) => {
        await tx.run(sql`insert into public.note_summaries values (3, 'held', now(), 'x')`);
        return kind === "embedded" ? null : acceptRows(project, notes(), no);
      });
      if (held !== null) expect(held.left.map(({ key, why }) => [key, why])).toContainEqual(["3", "held"]);
      const rest = await acceptRows(project, notes(), no);
      const left = rest.left.map(({ key, why }) => [key, why]);
      expect(left).toContainEqual(["1", "changed"]);
      expect(left).toContainEqual(["2", "gone"]);
      expect(new Set([...(held?.accepted ?? []), ...rest.accepted])).toEqual(new Set(["3", "4", "5", "6"]));
      await insertNotes(project, plain(1, "late note"));
      const late = await tryRows(project, notes(), { choice: { keys: ["7"] } });
      expect((await acceptRows(project, notes(), late.no)).left).toEqual([
        { key: "7", why: "noRequest", detail: null },
      ]);
      await project.drain(worker);
      expect((await acceptRows(project, notes(), late.no)).left).toEqual([
        { key: "7", why: "notWaiting", detail: "succeeded" },
      ]);
    });

    it("of another definition than the registered one is not accepted, and leaves a worker's definition alone", async () => {
      await createNotes(project, plain(4));
      const worker = await upWithoutSending();
      const definitions = () => project.rows(sql`select id, definition_hash, definition from rowmill.pipelines`);
      const before = await definitions();
      const { no } = await tryRows(project, notes(otherPrompt));
      expect(await definitions()).toEqual(before);
      expect((await acceptRows(project, notes(), no)).left.map(({ why }) => why)).toEqual(Array(4).fill("definition"));
      await project.drain(worker);
      expect(await outcomes(project)).toEqual({ answered: 4 });
    });

    it("is judged again by the present validate before it is accepted, which costs no try", async () => {
      await createNotes(project, plain(3));
      const { no } = await tryRows(project, notes());
      await upWithoutSending();
      const strict = notes({ validate: (_answer, row) => (row["body"]?.includes("number 2") ? "not this one" : null) });
      expect(await acceptRows(project, strict, no)).toEqual({
        accepted: ["1", "3"],
        left: [{ key: "2", why: "invalid", detail: "not this one" }],
      });
      expect((await requests(project)).map(({ key, state, tries }) => [key, state, tries])).toEqual([
        ["1", "succeeded", 0],
        ["2", "waiting", 0],
        ["3", "succeeded", 0],
      ]);
    });

    it("writes what the target takes where it refuses a single answer", async () => {
      await createNotes(project, plain(5));
      const { no } = await tryRows(project, notes());
      await upWithoutSending();
      await project.run(sql`alter table public.note_summaries add constraint small check (id <> 4)`);
      const { accepted, left } = await acceptRows(project, notes(), no);
      expect(accepted).toEqual(["1", "2", "3", "5"]);
      expect(left).toMatchObject([{ key: "4", why: "unwritable", detail: expect.stringContaining('"small"') }]);
    });

    it("counts in the budget of the next batch until it is accepted, and then with that", async () => {
      await createNotes(project, plain(5));
      const { no, answers } = await tryRows(project, notes());
      const cost = answers.reduce((sum, one) => sum + (one.costNanoUsd ?? 0), 0);
      await upWithoutSending();
      expect(await spent()).toBe(cost);
      await project.run(sql`update rowmill.tries set asked_at = now() - interval '2 days'`);
      const [row] = await project.rows<{ id: number }>(sql`select id from rowmill.pipelines`);
      const today = { per: "day" as const, runId: null, account: "" };
      const todays = () => project.database.transaction((tx) => spending(tx, row?.id ?? 0, today));
      expect(await todays()).toMatchObject({ spentNanoUsd: 0 });
      await acceptRows(project, notes(), no);
      expect(await todays()).toMatchObject({ spentNanoUsd: 0 });
      expect(await spent()).toBe(cost);
    });

    it("counts a call whose reply was lost at what it may have cost, and one that was refused at nothing", async () => {
      await createNotes(project, plain(2));
      let calls = 0;
      beforeEffect = (call) => {
        if (call.route !== "/v1/chat/completions") return undefined;
        return calls++ === 0
          ? { kind: "drop" }
          : { kind: "reply", status: 400, body: { error: { message: "too long", code: "x" } } };
      };
      const { answers } = await tryRows(project, notes());
      const byOutcome = new Map(answers.map((one) => [one.outcome, one]));
      expect(byOutcome.get("unknown")?.reservedNanoUsd).toBeGreaterThan(0);
      expect(byOutcome.get("failed")).toMatchObject({ reservedNanoUsd: 0, costNanoUsd: null });
      await upWithoutSending();
      expect(await spent()).toBe(byOutcome.get("unknown")?.reservedNanoUsd);
    });

    it("asks again where a rate limit says that nothing was executed, and only there", async () => {
      await createNotes(project, plain(1));
      let calls = 0;
      beforeEffect = (call) =>
        call.route === "/v1/chat/completions" && calls++ < 2
          ? { kind: "reply", status: 429, body: { error: { message: "slow down" } }, headers: { "retry-after": "0" } }
          : undefined;
      const { answers } = await tryRows(project, notes());
      expect(answers.map(({ outcome }) => outcome)).toEqual(["answered"]);
      expect(calls).toBe(3);
      calls = 0;
      beforeEffect = () => {
        calls++;
        return { kind: "reply", status: 500, body: {} };
      };
      await tryRows(project, notes());
      expect(calls).toBe(1);
    });

    it("asks no further row where the provider refuses the account", async () => {
      await createNotes(project, plain(40));
      beforeEffect = () => ({ kind: "reply", status: 401, body: { error: { message: "no such key" } } });
      const { answers, notAsked, stop } = await tryRows(project, notes(), { choice: { rows: 40 } });
      expect(stop).toMatchObject({ kind: "provider", error: { kind: "account" } });
      expect(answers.length + notAsked).toBe(40);
      expect(answers.length).toBeLessThanOrEqual(4);
    });

    it("after the signal asks no further row, and keeps the answers that were on their way", async () => {
      await createNotes(project, plain(20));
      const stopping = new AbortController();
      beforeEffect = () => {
        stopping.abort();
        return undefined;
      };
      const { answers, notAsked } = await tryRows(project, notes(), { choice: { rows: 20 }, signal: stopping.signal });
      expect(answers.every(({ outcome }) => outcome === "answered")).toBe(true);
      expect(answers.length).toBeLessThanOrEqual(4);
      expect(answers.length + notAsked).toBe(20);
    });

    it("is refused where the provider has no live endpoint, before anything is kept", async () => {
      await createNotes(project, plain(1));
      const provider = { ...gatewayProvider(project), answer: null };
      await expect(tryRows(project, notes(), { provider })).rejects.toMatchObject({
        code: "refused",
        message: "OpenAI is set up without a live endpoint to try rows on.",
      });
      expect(await project.rows(sql`select no from rowmill.tries`)).toEqual([]);
    });

    it("of a model without a price is kept and accepted at an unknown cost", async () => {
      await createNotes(project, plain(2));
      const asked = notes({ request: { model: "nobody-knows", maxOutputTokens: 100, user: "{{ body }}" } });
      const { no, answers } = await tryRows(project, asked);
      expect(answers.map(({ costNanoUsd, reservedNanoUsd }) => [costNanoUsd, reservedNanoUsd])).toEqual([
        [null, 0],
        [null, 0],
      ]);
      await sweepAll(await project.worker(asked), signal);
      expect(await acceptRows(project, asked, no)).toEqual({ accepted: ["1", "2"], left: [] });
      expect(await project.rows(sql`select unpriced, cost_nano_usd::int as cost from rowmill.batches`)).toEqual([
        { unpriced: 2, cost: 0 },
      ]);
    });

    it("is accepted into the rows of the source where that is the target, and no sweep sends them again", async () => {
      await createNotes(project, plain(3));
      await project.run(sql`alter table public.notes add column summary text, add column touched timestamptz`);
      const asked = notes({ target: { table: "notes" } });
      const worker = await project.worker(asked);
      await sweepAll(worker, signal);
      const { no } = await tryRows(project, asked);
      expect(await acceptRows(project, asked, no)).toEqual({ accepted: ["1", "2", "3"], left: [] });
      await project.drain(worker);
      await sweepAll(worker, signal);
      expect(await executions(project)).toEqual([]);
      expect(await project.rows(sql`select id from public.notes where summary is null`)).toEqual([]);
    });

    it("keeps its numbers and loses its texts after 30 days, and cannot be accepted then", async () => {
      await createNotes(project, plain(2));
      const { no } = await tryRows(project, notes());
      const worker = await upWithoutSending();
      await project.run(sql`update rowmill.try_answers set asked_at = now() - interval '31 days' where key = '1'`);
      await runJanitor(worker, signal);
      const texts = sql`
        select key, prompt is null as gone, answer is null and reply is null and cells is null as emptied,
          output_tokens > 0 as counted
        from rowmill.try_answers
        order by key`;
      expect(await project.rows(texts)).toEqual([
        { key: "1", gone: true, emptied: true, counted: true },
        { key: "2", gone: false, emptied: false, counted: true },
      ]);
      expect(await acceptRows(project, notes(), no)).toEqual({
        accepted: ["2"],
        left: [{ key: "1", why: "forgotten", detail: null }],
      });
    });
  },
  newestKinds,
);

describeDatabases(
  "A budget",
  (kind) => {
    let project: TestProject;
    beforeEach(async () => {
      project = await startProject(kind);
    });
    afterEach(async () => {
      await project.check().finally(() => project.close());
    });

    it("holds with two tries at once, before the pipeline is registered and after", async () => {
      await createNotes(project, plain(30));
      // Each bound is about 100 output tokens at $0.60 a million, and some input.
      const asked = notes({ budget: { usd: 0.0004, per: "total" } });
      const [sum, both] = [
        () =>
          project.rows<{ nano: number; asked: number }>(sql`
            select sum(coalesce(cost_nano_usd, 0) + reserved_nano_usd)::float8 as nano, count(*)::int as asked
            from rowmill.try_answers`),
        () =>
          Promise.all([
            tryRows(project, asked, { choice: { rows: 30 } }),
            tryRows(project, asked, { choice: { rows: 30 } }),
          ]),
      ];
      const first = await both();
      expect(first.some(({ stop }) => stop?.kind === "budget")).toBe(true);
      const [then] = await sum();
      expect(then?.nano).toBeLessThanOrEqual(400_000);
      const worker = await project.worker(asked);
      await sweepAll(worker, signal);
      expect((await both()).every(({ stop }) => stop?.kind === "budget")).toBe(true);
      const [now] = await sum();
      expect(now?.nano).toBeLessThanOrEqual(400_000);
    });

    it("holds with tries beside planners, whichever reserves first", async () => {
      await createNotes(project, plain(60));
      const asked = notes({ budget: { usd: 0.0008, per: "total" }, batch: { maxRequests: 5 } });
      const workers = [await project.worker(asked), await project.worker(asked)];
      for (const worker of workers) await sweepAll(worker, signal);
      const [row] = await project.rows<{ id: number }>(sql`select id from rowmill.pipelines`);
      for (let round = 0; round < 4; round++) {
        await Promise.all([
          ...workers.map((worker) => project.round(worker)),
          tryRows(project, asked, { choice: { rows: 10, random: true } }),
          tryRows(project, asked, { choice: { rows: 10, random: true } }),
        ]);
        const of = { per: "total" as const, runId: null, account: "" };
        const sum = await project.database.transaction((tx) => spending(tx, row?.id ?? 0, of));
        expect(sum.spentNanoUsd + sum.reservedNanoUsd).toBeLessThanOrEqual(800_000);
      }
      const [counts] = await project.rows(sql`
        select (select count(*) from rowmill.batches) > 0 as batches,
          (select count(*) from rowmill.try_answers) > 0 as tried`);
      expect(counts).toEqual({ batches: true, tried: true });
    });

    it("of $0.05 holds 1,000 films in one batch once a try of 20 has taught the size of the answers", async () => {
      await createMovies(project);
      await insertMovies(project);
      const films = (changes: object = {}) => ({
        movies: pipeline({
          ...quick,
          source: { table: "imdb_dataset", key: "imdb_id", columns: ["Title", "Description"] },
          request: { model: "gpt-4o-mini", maxOutputTokens: 1_024, user: "{{ Description }}" },
          answer: z.object({ categories: z.array(z.string()), summary: z.string() }),
          target: { table: "movie_labels" },
          budget: { usd: 0.05, per: "total" as const },
          ...changes,
        }),
      });
      // Of fewer answers the limit is three times the largest, which fits for most choices of films, not for all.
      await tryRows(project, films(), { choice: { random: true, rows: 20 } });
      const worker = await project.worker(films());
      await project.drain(worker);
      const batches = await project.rows(sql`select state, requests from rowmill.batches order by no`);
      expect(batches).toEqual([{ state: "settled", requests: 1_000 }]);
    }, 120_000);
  },
  bookKeepers,
);
