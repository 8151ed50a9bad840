/**
 * What every adapter of a provider must hold, on a server of its vendor's shape: `describeProvider(name, makeStandIn)`. It goes by
 * `Provider` alone; what is a vendor's own (words, bodies) the stand-in gives.
 */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { AnswerOutcome } from "../../src/model/outcome.js";
import {
  ProviderError,
  type CreateIntent,
  type Provider,
  type ProviderBatch,
  type ResultsEnd,
} from "../../src/model/provider.js";
import { describeCalls } from "./provider-suite-calls.js";
import { describeDialect } from "./provider-suite-dialect.js";
import { answer, FAR_PAST, Intents, type At, type MakeStandIn } from "./provider-stand-in.js";

export function describeProvider(name: string, makeStandIn: MakeStandIn): void {
  describe(`the adapter of ${name}`, () => {
    // Filled before each test.
    const at: { -readonly [Part in keyof At]: At[Part] } = {} as never;
    beforeEach(async () => {
      at.standIn = await makeStandIn();
      at.intents = await Intents.begin(at.standIn);
    });
    afterEach(async () => {
      await at.intents.end();
      await at.standIn.close();
    });
    describeDialect(at);
    describeCalls(at);
    describeList(at);
    describeBatches(at);
    describeResults(at);
  });
}

async function created(at: At, prompts: readonly string[], provider = at.standIn.provider()) {
  const intent = await at.intents.make(prompts);
  return { provider, intent, batch: await provider.create(intent) };
}

async function ended(at: At, prompts: readonly string[], provider = at.standIn.provider()) {
  const { batch, intent } = await created(at, prompts, provider);
  await at.standIn.until(batch.id);
  return { provider, intent, batch: await provider.status(batch.id) };
}

async function listed(provider: Provider, since = FAR_PAST): Promise<string[]> {
  const ids: string[] = [];
  for await (const { batch } of provider.list(since)) ids.push(batch.id);
  return ids;
}

async function drained(results: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of results) void _;
}

interface ReadResults {
  readonly outcomes: AnswerOutcome[];
  readonly end: ResultsEnd;
}

async function readAll(
  provider: Provider,
  batch: ProviderBatch,
  { requests = batch.counts?.total ?? 0, seen = [] as AnswerOutcome[] } = {},
): Promise<ReadResults> {
  const results = provider.results(batch, { requests });
  for (;;) {
    const next = await results.next();
    if (next.done === true) return { outcomes: seen, end: next.value };
    seen.push(next.value);
  }
}

const kinds = (outcomes: readonly AnswerOutcome[]) => outcomes.map(({ kind }) => kind).sort();

function describeList(at: At): void {
  describe("the list", () => {
    test("has every batch once, over more than one page, though it grows while it is read", async () => {
      const before: string[] = [];
      for (let made = 0; made < 205; made += 1) before.push(await at.standIn.createForeign(1));
      const provider = at.standIn.provider();
      const ids: string[] = [];
      for await (const { batch } of provider.list(FAR_PAST)) {
        if (ids.length === 0) await at.standIn.createForeign(1);
        ids.push(batch.id);
      }
      expect(new Set(ids).size).toBe(ids.length);
      expect(ids).toEqual(expect.arrayContaining(before));
    });

    test("leaves out what is older than asked for", async () => {
      const provider = at.standIn.provider();
      const old = await at.standIn.createForeign(1);
      await at.standIn.advance(3_600_000);
      const { batch } = await created(at, ["a"], provider);
      const since = (provider.clockSeconds() ?? 0) - 60;
      expect(await listed(provider, since)).toEqual([batch.id]);
      expect(await listed(provider)).toEqual([batch.id, old]);
    });

    test("of nothing is empty", async () => {
      expect(await listed(at.standIn.provider())).toEqual([]);
    });

    test("that does not end is no list", async () => {
      const { provider, intent, batch } = await created(at, ["a"]);
      at.standIn.break("list", "after", await at.standIn.words.page([batch.id], true), 1_000);
      await expect(listed(provider)).rejects.toMatchObject({ kind: "retryable" });
      await expect(provider.find(intent, FAR_PAST)).rejects.toMatchObject({ kind: "retryable" });
    });

    test("gives a batch once that stands on two pages", async () => {
      const { provider, batch } = await created(at, ["a"]);
      const { batch: other } = await created(at, ["b"], provider);
      at.standIn.break("list", "after", await at.standIn.words.page([other.id], true));
      at.standIn.break("list", "after", await at.standIn.words.page([other.id, batch.id], false));
      expect(await listed(provider)).toEqual([other.id, batch.id]);
    });

    test("with an entry that cannot be read says so, and its other entries can be", async () => {
      const { provider, intent, batch } = await created(at, ["a", "b"]);
      at.standIn.break("list", "after", await at.standIn.words.page([null, batch.id], false), 2);
      expect((await provider.find(intent, FAR_PAST)).doubts).not.toEqual([]);
      const entries = [];
      for await (const entry of provider.list(FAR_PAST)) entries.push(entry);
      expect(entries.filter(({ batch: { id } }) => id === batch.id)).toHaveLength(1);
      expect(entries.filter(({ untold }) => untold !== null)).not.toEqual([]);
    });
  });

  describe("a create whose reply was lost", () => {
    async function lost(prompts: readonly string[], at_: "before" | "after"): Promise<CreateIntent> {
      const intent = await at.intents.make(prompts);
      at.standIn.break("create", at_, { kind: "drop" });
      await expect(at.standIn.provider().create(intent)).rejects.toMatchObject({ kind: "ambiguous" });
      return intent;
    }

    test("is found by what its adapter promises to find it by", async () => {
      const earlier = await at.standIn.createForeign(2);
      const provider = at.standIn.provider();
      const intent = await lost(["a", "b"], "after");
      const [id] = await listed(provider);
      expect(id).not.toBe(earlier);
      const found = await provider.find(intent, at.standIn.nowSeconds() - 10);
      expect(found.doubts).toEqual([]);
      if (provider.recovery.find === "circumstance") {
        expect(found.certain).toEqual([]);
        expect(found.possible.map((batch) => batch.id)).toEqual([id]);
      } else {
        expect(found.certain).toMatchObject([{ id, isOfThisCreate: true }]);
        expect(found.possible).toEqual([]);
      }
    });

    test("is not found when it had no effect, whatever else is in the list", async () => {
      await at.standIn.createForeign(2);
      const intent = await lost(["a", "b"], "before");
      await at.standIn.createForeign(3);
      const found = await at.standIn.provider().find(intent, at.standIn.nowSeconds() - 10);
      expect(found).toEqual({ certain: [], possible: [], doubts: [] });
    });

    test("is never taken for another client's batch of as many requests", async () => {
      const intent = await lost(["a", "b"], "after");
      const foreign = await at.standIn.createForeign(2);
      const provider = at.standIn.provider();
      const found = await provider.find(intent, at.standIn.nowSeconds() - 10);
      expect(found.certain.map(({ id }) => id)).not.toContain(foreign);
      const both = provider.recovery.find === "circumstance";
      expect(found.possible.map(({ id }) => id).filter((id) => id === foreign)).toHaveLength(both ? 1 : 0);
      // Oldest first: ours was there before it.
      if (both) expect(found.possible.at(-1)?.id).toBe(foreign);
    });

    test("is found among the pages of a busy account", async () => {
      const intent = await lost(["a", "b"], "after");
      for (let made = 0; made < 120; made += 1) await at.standIn.createForeign(1);
      const { certain, possible } = await at.standIn.provider().find(intent, at.standIn.nowSeconds() - 60);
      expect([...certain, ...possible]).toHaveLength(1);
    });
  });
}

function describeBatches(at: At): void {
  describe("a batch", () => {
    test("says how it stands, from its create to its end", async () => {
      at.standIn.hold(true);
      const { provider, intent, batch } = await created(at, ["a", "b", "c"]);
      expect(batch).toMatchObject({ terminal: false, errors: [] });
      expect(["validating", "in_progress"]).toContain(batch.status);
      expect(Math.abs((batch.createdAt ?? 0) - at.standIn.nowSeconds())).toBeLessThanOrEqual(5);
      const isMarked = provider.recovery.find === "name";
      expect(batch.mark).toEqual(isMarked ? intent.mark : null);
      at.standIn.hold(false);
      await at.standIn.until(batch.id);
      expect(await provider.status(batch.id)).toMatchObject({
        id: batch.id,
        status: "completed",
        terminal: true,
        counts: { total: 3, completed: 3, failed: 0 },
      });
    });

    test("is still running in a status that nobody knows, at a time that nobody can read", async () => {
      const { provider, batch } = await created(at, ["a"]);
      at.standIn.break("status", "after", await at.standIn.words.strangeBatch(batch.id, "pausing"));
      expect(await provider.status(batch.id)).toMatchObject({
        status: "unknown",
        statusText: "pausing",
        terminal: false,
        createdAt: null,
      });
    });

    test("that is not there is not found", async () => {
      const provider = at.standIn.provider();
      const { batch } = await created(at, ["a"], provider);
      const nothing = { ...batch, id: `${batch.id}0` };
      await expect(provider.status(nothing.id)).rejects.toMatchObject({ kind: "notFound" });
      await expect(provider.cancel(nothing.id)).rejects.toMatchObject({ kind: "notFound" });
    });

    test("is cancelled once, however often it is asked for", async () => {
      at.standIn.hold(true);
      const { provider, batch } = await created(at, ["a", "b"]);
      expect(["cancelling", "cancelled"]).toContain((await provider.cancel(batch.id)).status);
      expect(["cancelling", "cancelled"]).toContain((await provider.cancel(batch.id)).status);
      at.standIn.hold(false);
      await at.standIn.until(batch.id);
      const end = await provider.cancel(batch.id);
      expect(end).toMatchObject({ status: "cancelled", terminal: true });
      const { outcomes } = await readAll(provider, end);
      expect(kinds(outcomes).filter((kind) => kind !== "cancelled")).toEqual([]);
      expect(await at.standIn.executed()).toBe(0);
    });

    test("that has ended is given as it is when it is cancelled", async () => {
      const { provider, batch } = await ended(at, ["a"]);
      expect(await provider.cancel(batch.id)).toMatchObject({ status: "completed", terminal: true });
    });

    test("is forgotten once, and nothing is there to be forgotten afterwards", async () => {
      const { provider, intent, batch } = await ended(at, ["a"]);
      const kept = { batch, staged: intent.staged };
      expect(await provider.forget(kept)).toBeGreaterThan(0);
      expect(await provider.forget(kept)).toBe(0);
      expect(await provider.forget({ batch: null, staged: null })).toBe(0);
    });
  });
}

function describeResults(at: At): void {
  describe("results", () => {
    test("have each request's answer, which fits the schema, with what it used", async () => {
      const prompts = ["A cop hunts a thief.", "A wedding.", 'Space war. \u2028 "Stars" 😀'];
      const { provider, batch } = await ended(at, prompts);
      const { outcomes, end } = await readAll(provider, batch);
      expect(end).toEqual({
        complete: true,
        lines: 3,
        gone: [],
        unread: null,
        pending: null,
        refs: batch.refs,
      });
      expect(new Set(outcomes.map(({ customId }) => customId))).toEqual(
        new Set(at.intents.ids(prompts.length)),
      );
      for (const outcome of outcomes) {
        if (outcome.kind !== "text") expect.fail(`not an answer: ${JSON.stringify(outcome)}`);
        expect(answer.parse(outcome.text)).toMatchObject({ ok: true });
        expect(outcome.usage.inputTokens).toBeGreaterThan(0);
        expect(outcome.usage.outputTokens).toBeGreaterThan(0);
        expect(outcome.model).toContain(at.standIn.model);
      }
    });

    test("name each ending of a request, all of them in one reading", async () => {
      const endings = ["refuse", "truncate", "empty", "error 429", "error 500", "error 400"];
      const { provider, batch } = await ended(at, [
        ...endings.map((ending) => `x [[demo:${ending}]]`),
        "plain",
      ]);
      const { outcomes, end } = await readAll(provider, batch);
      expect(end).toMatchObject({ complete: true, lines: 7 });
      const byId = new Map(outcomes.map((outcome) => [outcome.customId, outcome.kind]));
      expect(at.intents.ids(7).map((id) => byId.get(id))).toEqual([
        "refused",
        "truncated",
        "text",
        "rateLimited",
        "transient",
        "permanent",
        "text",
      ]);
    });

    test("of a batch whose time was over have its answers, and say which requests have none", async () => {
      at.standIn.hold(true);
      const { provider, batch } = await created(at, ["a", "b", "c"]);
      await at.standIn.expire(batch.id, 1);
      await at.standIn.until(batch.id);
      const { outcomes, end } = await readAll(provider, await provider.status(batch.id));
      expect(kinds(outcomes)).toEqual(["expired", "expired", "text"]);
      expect(end.complete).toBe(true);
    });

    test.each(["cut", "stall"] as const)(
      "that break off (%s) may be read again from the start",
      async (kind) => {
        const provider = at.standIn.provider({ stallMs: 200 });
        const { batch } = await ended(at, ["a", "b", "c"], provider);
        at.standIn.break("results", "after", { kind, afterBytes: 120 }, 8);
        const seen: AnswerOutcome[] = [];
        await expect(readAll(provider, batch, { seen })).rejects.toMatchObject({ kind: "retryable" });
        // No half line is ever given.
        for (const outcome of seen) expect(outcome.kind).not.toBe("unknownId");
        at.standIn.mend();
        expect((await readAll(provider, batch)).end).toMatchObject({ complete: true, lines: 3 });
      },
    );

    test("of which a part is gone say so, and give the others", async () => {
      const { provider, batch } = await ended(at, ["a", "b [[demo:error 400]]"]);
      const kept = await at.standIn.losePart(batch.id);
      const { outcomes, end } = await readAll(provider, batch);
      expect(end).toMatchObject({ complete: false, unread: null });
      expect(end.gone).toHaveLength(1);
      expect(outcomes).toHaveLength(kept);
    });

    test("are read no further than they can be long", async () => {
      const { provider, batch } = await ended(at, ["a"]);
      at.standIn.break("results", "after", { kind: "reply", status: 200, body: "{}\n".repeat(5_000) });
      const { end } = await readAll(provider, batch);
      expect(end).toMatchObject({ complete: false, unread: expect.stringContaining("lines") });
      expect(end.lines).toBeLessThan(5_000);
    });

    test("with a line that cannot be read give the others", async () => {
      const { provider, batch } = await ended(at, ["a"]);
      at.standIn.break("results", "after", { kind: "reply", status: 200, body: "{broken\n\n[]\n7\n" });
      const { outcomes } = await readAll(provider, batch);
      expect(kinds(outcomes)).toEqual(["unknownId", "unknownId", "unknownId"]);
    });

    test("that hold fewer lines than were counted are not complete", async () => {
      const { provider, batch } = await ended(at, ["a", "b"]);
      at.standIn.break("results", "after", { kind: "reply", status: 200, body: "" });
      // Or it is known to be cut short, and is read again.
      const end = await readAll(provider, batch).then(
        (read) => read.end,
        (error: unknown) => error,
      );
      if (end instanceof ProviderError) expect(end.kind).toBe("retryable");
      else expect(end).toMatchObject({ complete: false, pending: { isPaid: true } });
    });

    test("may be left half read", async () => {
      const { provider, batch } = await ended(at, ["a", "b", "c"]);
      for await (const outcome of provider.results(batch, { requests: 3 })) {
        expect(outcome.kind).toBe("text");
        break;
      }
      expect((await readAll(provider, batch)).outcomes).toHaveLength(3);
    });

    test("end when the caller says so, also between two of them", async () => {
      const prompts = Array.from({ length: 10 }, (_, n) => `text ${n}`);
      const { provider, batch } = await ended(at, prompts);
      const stop = new AbortController();
      at.standIn.break("results", "after", { kind: "stall", afterBytes: 1_200 });
      const results = provider.results(batch, { requests: prompts.length, signal: stop.signal });
      expect(await results.next()).toMatchObject({ done: false });
      setImmediate(() => stop.abort());
      await expect(drained(results)).rejects.toMatchObject({ kind: "retryable" });
    });
  });
}
