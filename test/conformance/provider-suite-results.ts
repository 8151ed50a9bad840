/** Of the suite: what a batch answered. */
import { describe, expect, test } from "vitest";
import type { AnswerOutcome, TokenUsage } from "../../src/model/provider/outcome.js";
import { ProviderError } from "../../src/model/provider/provider.js";
import { answer, created, drained, ended, kinds, readAll, type At, type SuiteTokens } from "./provider-stand-in.js";

export function describeResults(at: At): void {
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
      expect(new Set(outcomes.map(({ customId }) => customId))).toEqual(new Set(at.intents.ids(prompts.length)));
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
      const { provider, batch } = await ended(at, [...endings.map((ending) => `x [[demo:${ending}]]`), "plain"]);
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

    test.each(["cut", "stall"] as const)("that break off (%s) may be read again from the start", async (kind) => {
      const provider = at.standIn.provider({ stallMs: 200 });
      const { batch } = await ended(at, ["a", "b", "c"], provider);
      at.standIn.break("results", "after", { kind, afterBytes: 120 }, 8);
      const seen: AnswerOutcome[] = [];
      await expect(readAll(provider, batch, { seen })).rejects.toMatchObject({ kind: "retryable" });
      // No half line is ever given.
      for (const outcome of seen) expect(outcome.kind).not.toBe("unknownId");
      at.standIn.fix();
      expect((await readAll(provider, batch)).end).toMatchObject({ complete: true, lines: 3 });
    });

    test("of which a part is gone say so, and give the others", async () => {
      const { provider, batch } = await ended(at, ["a", "b [[demo:error 400]]"]);
      const kept = await at.standIn.losePart(batch.id);
      const { outcomes, end } = await readAll(provider, batch);
      expect(end).toMatchObject({ complete: false, unread: null });
      expect(end.gone).toHaveLength(1);
      expect(outcomes).toHaveLength(kept);
    });

    test("of which parts have no name yet are asked for once more, and pending until they have one", async ({
      skip,
    }) => {
      const { provider, batch } = await ended(at, ["a", "b [[demo:error 400]]"]);
      const replies = await at.standIn.words.unnamed(batch.id);
      if (replies.length === 0) skip("an ended batch always names its results");
      for (const reply of replies) {
        at.standIn.break("status", "after", reply);
        const early = await provider.status(batch.id);
        expect(early).toMatchObject({ terminal: true, counts: { total: 2, completed: 1, failed: 1 } });
        const named = await readAll(provider, early);
        expect(kinds(named.outcomes)).toEqual(["permanent", "text"]);
        expect(named.end).toMatchObject({ complete: true, lines: 2, pending: null });

        at.standIn.break("status", "after", reply, 100);
        const { outcomes, end } = await readAll(provider, early);
        const isPaid = !kinds(outcomes).includes("text");
        expect(end).toMatchObject({ complete: false, gone: [], unread: null, pending: { isPaid } });
        at.standIn.fix();
        const later = await readAll(provider, { ...early, refs: end.refs });
        expect(kinds(later.outcomes)).toEqual(["permanent", "text"]);
        expect(later.end).toEqual({ ...named.end, refs: batch.refs });
      }
    });

    test("say what an answer used: cached input is input, reasoning is output", async () => {
      const { provider, batch } = await ended(at, ["a"]);
      const { words, model, shows } = at.standIn;
      const costs: [SuiteTokens, TokenUsage][] = [
        [
          { uncachedInput: 1_000, cachedInput: 200, shownOutput: 30, reasoning: 4 },
          { inputTokens: 1_200, cachedInputTokens: 200, outputTokens: 34 },
        ],
        [
          { uncachedInput: 1_000, cachedInput: 0, shownOutput: 30, reasoning: 0 },
          { inputTokens: 1_000, cachedInputTokens: 0, outputTokens: 30 },
        ],
        // All of the input, and nothing but thoughts.
        [
          { uncachedInput: 0, cachedInput: 200, shownOutput: 0, reasoning: 4 },
          { inputTokens: 200, cachedInputTokens: 200, outputTokens: 4 },
        ],
      ];
      for (const [tokens, usage] of costs) {
        const body = `${words.answer(at.intents.ids(1)[0] ?? "", tokens)}\n`;
        at.standIn.break("results", "after", { kind: "reply", status: 200, body });
        const { outcomes } = await readAll(provider, batch);
        const cachedInputTokens = shows.cached ? usage.cachedInputTokens : 0;
        expect(outcomes).toMatchObject([{ kind: "text", usage: { ...usage, cachedInputTokens } }]);
        expect(outcomes[0]).toHaveProperty("model", expect.stringContaining(model));
      }
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

    test("end when the caller aborts them, also between two of them", async () => {
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
