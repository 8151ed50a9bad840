/** A target elsewhere that says nothing of single rows: it throws, hangs, or answers with an error for all of them. */
import { randomBytes } from "node:crypto";
import http from "node:http";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, expect, it } from "vitest";
import { ConnectorError, pipeline, webhook, z, type PipelineSpec } from "../../src/index.js";
import type { WorkerContext } from "../../src/worker/context.js";
import { deliverDue } from "../../src/worker/rounds/deliverer.js";
import { bookKeepers, describeDatabases } from "../support/databases.js";
import { openElsewhere, type Elsewhere } from "../support/elsewhere.js";
import { quick } from "../support/movies.js";
import { createNotes, insertNotes, plain } from "../support/notes.js";
import { sql, startProject, type TestProject } from "../support/project.js";

const answer = z.object({ summary: z.string() });
const never = new AbortController().signal;
/** Of rounds until nothing more changes: eight refusals, each after some throws. */
const ROUNDS_MAX = 400;

describeDatabases(
  "A target that throws",
  (kind) => {
    let project: TestProject;
    let elsewhere: Elsewhere;
    beforeEach(async () => {
      [project, elsewhere] = await Promise.all([startProject(kind), openElsewhere()]);
    });
    afterEach(async () => {
      await project.check().finally(() => Promise.all([project.close(), elsewhere.close()]));
    });

    const workerWith = (target: PipelineSpec<"body", "id", typeof answer>["target"]): Promise<WorkerContext> =>
      project.worker({
        notes: pipeline({
          source: { table: "notes", key: "id", columns: ["body"] },
          ...quick,
          request: { model: "gpt-4o-mini", maxOutputTokens: 100, user: "{{ body }}" },
          answer,
          target,
        }),
      });
    const lines = () =>
      project.rows<{ state: string; keys: string[]; failures: number; reason: string | null }>(sql`
        select state, array_agg(key order by key::int) as keys, max(failures)::int as failures, max(reason) as reason
        from rowmill.deliveries
        group by state
        order by state`);
    const deliverer = async () =>
      (
        await project.rows<{ failures: number; trouble: string | null; leased: boolean }>(sql`
        select failures, trouble, lease_token is not null as leased from rowmill.deliverers`)
      )[0];
    /** One round, as if all waits were over. */
    const deliver = async (context: WorkerContext, signal = never): Promise<void> => {
      await project.run(sql`update rowmill.deliveries set next_at = now() where state = 'waiting' and next_at > now()`);
      await project.run(sql`update rowmill.deliverers set next_at = now()`);
      for (const one of context.pipelines.values()) await deliverDue(context, one, signal);
    };
    const deliverAll = async (context: WorkerContext): Promise<void> => {
      for (let rounds = 0; rounds < ROUNDS_MAX; rounds++) {
        await deliver(context);
        if (!(await lines()).some(({ state }) => state === "waiting")) return;
      }
      throw new Error(`Something still waits after ${ROUNDS_MAX} rounds.`);
    };
    const throwsFor = (poison: readonly string[], reason: (key: string) => string): void => {
      elsewhere.before = async (changes) => {
        const bad = changes.find(({ key }) => poison.includes(key));
        if (bad !== undefined) throw new TypeError(reason(bad.key));
      };
    };

    it("at two rows gets all others, and those two fail with what it throws for each", async () => {
      throwsFor(["3", "17"], (key) => `Cannot read the summary of ${key}.`);
      await createNotes(project, plain(40));
      const context = await workerWith(elsewhere.target());
      await project.drain(context);
      await deliverAll(context);
      const [delivered, failed] = await lines();
      expect(delivered).toMatchObject({ state: "delivered", keys: expect.not.arrayContaining(["3", "17"]) });
      expect(delivered?.keys).toHaveLength(38);
      expect(failed).toEqual({
        state: "failed",
        keys: ["3", "17"],
        failures: 8,
        reason: "Cannot read the summary of 3.",
      });
      expect(await deliverer()).toMatchObject({ failures: 0, trouble: null });
      expect((await elsewhere.rows()).map(({ writes }) => writes)).toEqual(Array.from({ length: 38 }, () => 1));
      expect((await project.gateway.journal.summary()).executed).toBe(40);
    });

    it("over HTTP, with a 500 for a whole delivery that holds one row, gets all others, and that one fails", async () => {
      const taken = new Set<string>();
      const server = http.createServer(async (request, reply) => {
        let body = "";
        for await (const chunk of request) body += String(chunk);
        const { results } = JSON.parse(body) as { results: { key: string }[] };
        if (results.some(({ key }) => key === "9")) return reply.writeHead(500).end("Something broke.");
        for (const { key } of results) taken.add(key);
        return reply.writeHead(204).end();
      });
      await once(server.listen(0, "127.0.0.1"), "listening");
      try {
        const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook`;
        const secret = `whsec_${randomBytes(32).toString("base64")}`;
        await createNotes(project, plain(30));
        const context = await workerWith(webhook({ url, secret, allowPrivate: true }));
        await project.drain(context);
        await deliverAll(context);
        expect(taken.size).toBe(29);
        expect((await lines())[1]).toMatchObject({ state: "failed", keys: ["9"], failures: 8 });
        expect((await lines())[1]?.reason).toContain("answered HTTP 500: Something broke");
      } finally {
        server.close();
        server.closeAllConnections();
      }
    });

    it("at every row is down: no row is refused, one row is tried at a time, and all arrive when it is back", async () => {
      elsewhere.before = () => Promise.reject(new Error("connect ECONNREFUSED"));
      await createNotes(project, plain(40));
      const context = await workerWith(elsewhere.target());
      await project.drain(context);
      for (let round = 0; round < 30; round++) await deliver(context);
      expect(await lines()).toEqual([{ state: "waiting", keys: expect.anything(), failures: 0, reason: null }]);
      expect(await deliverer()).toMatchObject({ trouble: "connect ECONNREFUSED" });
      const sizes = elsewhere.calls.map(({ length }) => length);
      expect(sizes.filter((size) => size > 1)).toEqual([40, 40, 40]);
      expect(new Set(elsewhere.calls.slice(3).map(([change]) => change?.key)).size).toBeGreaterThan(10);
      elsewhere.before = () => Promise.resolve();
      await deliver(context);
      expect(await lines()).toMatchObject([{ state: "delivered" }]);
    });

    it("at one row, and is down meanwhile, delivers the others when it is back", async () => {
      elsewhere.before = () => Promise.reject(new Error("connect ECONNREFUSED"));
      await createNotes(project, plain(10));
      const context = await workerWith(elsewhere.target());
      await project.drain(context);
      for (let round = 0; round < 12; round++) await deliver(context);
      throwsFor(["1"], () => "Bad row.");
      await deliverAll(context);
      expect(await lines()).toMatchObject([
        { state: "delivered" },
        { state: "failed", keys: ["1"], reason: "Bad row." },
      ]);
    });

    it("at a row that comes alone fails it once others have shown that the target works", async () => {
      throwsFor(["2"], () => "Bad row.");
      await createNotes(project, plain(1));
      const context = await workerWith(elsewhere.target());
      await project.drain(context);
      await insertNotes(project, plain(1));
      await project.drain(context);
      for (let round = 0; round < 6; round++) await deliver(context);
      expect((await lines()).map(({ state }) => state)).toEqual(["delivered", "waiting"]);
      await insertNotes(project, plain(1));
      await project.drain(context);
      await deliverAll(context);
      expect(await lines()).toMatchObject([{ keys: ["1", "3"] }, { state: "failed", keys: ["2"] }]);
    });

    it.each(["write", "prepare"] as const)(
      "hangs in %s when the worker ends: the lease is free, nothing is lost",
      async (call) => {
        const target = elsewhere.target();
        let called = (): void => undefined;
        const isCalled = new Promise<void>((resolve) => (called = resolve));
        const hangs = () => {
          called();
          return new Promise<never>(() => undefined);
        };
        await createNotes(project, plain(5));
        elsewhere.before = () => Promise.reject(new ConnectorError("again", "Not yet.", { retryAfterMs: 1 }));
        await project.drain(await workerWith(target));
        elsewhere.before = () => Promise.resolve();
        const context = await workerWith({ ...target, [call]: hangs });
        const stopping = new AbortController();
        const before = (await deliverer())?.failures;
        const ended = deliver(context, stopping.signal);
        await isCalled;
        stopping.abort();
        await ended;
        expect(await deliverer()).toMatchObject({ failures: before, leased: false });
        expect(await lines()).toMatchObject([{ state: "waiting", failures: 0 }]);
        const other = await workerWith(target);
        await deliver(other);
        expect(await lines()).toMatchObject([{ state: "delivered" }]);
        expect((await elsewhere.rows()).length).toBe(5);
      },
    );
  },
  bookKeepers,
);
