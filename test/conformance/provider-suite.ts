/**
 * What every adapter of a provider must hold, on a server of its vendor's shape: `describeProvider(name,
 * makeStandIn)`. It goes by
 * `Provider` alone; what is a vendor's own (words, bodies) the stand-in gives.
 */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { CreateIntent, ListedBatch, Provider } from "../../src/model/provider/provider.js";
import { describeCalls } from "./provider-suite-calls.js";
import { describeDialect } from "./provider-suite-dialect.js";
import { describeResults } from "./provider-suite-results.js";
import { describeForget, describeStaging } from "./provider-suite-kept.js";
import {
  created,
  ended,
  FAR_PAST,
  Intents,
  kinds,
  readAll,
  UNSHOWN,
  type At,
  type MakeStandIn,
} from "./provider-stand-in.js";

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
    describeStaging(at);
    describeList(at);
    describeLostCreate(at);
    describeBatches(at);
    describeForget(at);
    describeResults(at);
  });
}

async function listed(provider: Provider, since = FAR_PAST): Promise<string[]> {
  const ids: string[] = [];
  for await (const { batch } of provider.list(since)) ids.push(batch.id);
  return ids;
}

function describeList(at: At): void {
  const entriesOf = async (provider: Provider): Promise<readonly ListedBatch[]> => {
    const entries: ListedBatch[] = [];
    for await (const entry of provider.list(FAR_PAST)) entries.push(entry);
    return entries;
  };

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

    test("that does not end is an error", async () => {
      const { provider, intent, batch } = await created(at, ["a"]);
      at.standIn.break("list", "after", await at.standIn.words.page([batch.id], true), 1_000);
      await expect(listed(provider)).rejects.toMatchObject({ kind: "retryable" });
      const found = provider.find(intent, FAR_PAST);
      // It does not read the list.
      if (provider.recovery.find === "token") expect((await found).certain).toMatchObject([{ id: batch.id }]);
      else await expect(found).rejects.toMatchObject({ kind: "retryable" });
    });

    test("gives a batch once that stands on two pages", async () => {
      const { provider, batch } = await created(at, ["a"]);
      const { batch: other } = await created(at, ["b"], provider);
      at.standIn.break("list", "after", await at.standIn.words.page([other.id], true));
      at.standIn.break("list", "after", await at.standIn.words.page([other.id, batch.id], false));
      expect(await listed(provider)).toEqual([other.id, batch.id]);
    });

    test("with an entry that cannot be read reports it, and its other entries can be read", async () => {
      const { provider, intent, batch } = await created(at, ["a", "b"]);
      at.standIn.break("list", "after", await at.standIn.words.page([null, batch.id], false), 2);
      const entries = await entriesOf(provider);
      expect(entries.filter(({ batch: { id } }) => id === batch.id)).toHaveLength(1);
      expect(entries.filter(({ untold }) => untold !== null)).not.toEqual([]);
      const { certain, doubts } = await provider.find(intent, FAR_PAST);
      if (provider.recovery.find !== "token") expect(doubts).not.toEqual([]);
      else expect(certain).toMatchObject([{ id: batch.id }]);
    });

    test("with an entry that does not tell whose it is reports it, and no other", async ({ skip }) => {
      const { provider, intent, batch } = await created(at, ["a", "b"]);
      const foreign = await at.standIn.createForeign(2);
      const { find } = provider.recovery;
      if (find === "circumstance") skip("no entry of the vendor's list tells whose it is");
      const page = await at.standIn.words.page([{ untold: foreign }, batch.id], false);
      at.standIn.break("list", "after", page, 2);
      const untold = (await entriesOf(provider)).filter((entry) => entry.untold !== null);
      expect(untold.map((entry) => entry.batch.id)).toEqual([foreign]);
      const { certain, doubts } = await provider.find(intent, FAR_PAST);
      expect(certain.map(({ id }) => id)).toEqual([batch.id]);
      expect(doubts).toHaveLength(find === "token" ? 0 : 1);
    });

    test("names the owner of no entry exactly where the vendor shows nothing of ours", async ({ skip }) => {
      const { provider, batch } = await created(at, ["a"]);
      const { find } = provider.recovery;
      if (find === "token") skip("the vendor may show something of ours, or not");
      const foreign = await at.standIn.createForeign(1);
      const entries = await entriesOf(provider);
      expect(entries.map((entry) => entry.batch.id)).toEqual([foreign, batch.id]);
      expect(entries.map(({ untold }) => untold !== null)).toEqual(entries.map(() => find === "circumstance"));
    });
  });
}

function describeLostCreate(at: At): void {
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
      const provider = at.standIn.provider();
      const batches = await at.standIn.batches();
      const found = await provider.find(intent, at.standIn.nowSeconds() - 10);
      if (provider.recovery.find === "token") {
        // It is made by the search, and by no other one.
        const again = await provider.find(intent, at.standIn.nowSeconds() - 10);
        expect(found).toMatchObject({ certain: [{ isOfThisCreate: true }], possible: [], doubts: [] });
        expect(again.certain.map(({ id }) => id)).toEqual(found.certain.map(({ id }) => id));
        expect(await at.standIn.batches()).toBe(batches + 1);
      } else {
        expect(found).toEqual({ certain: [], possible: [], doubts: [] });
        expect(await at.standIn.batches()).toBe(batches);
      }
    });

    test("is found without a second effect, however often it is looked for", async () => {
      const intent = await lost(["a", "b"], "after");
      const provider = at.standIn.provider();
      const look = async () => {
        const { certain, possible } = await provider.find(intent, at.standIn.nowSeconds() - 60);
        return [...certain, ...possible].map(({ id }) => id);
      };
      expect(await look()).toEqual(await listed(provider));
      expect(await look()).toEqual(await listed(provider));
      expect(await at.standIn.batches()).toBe(1);
    });

    test("is never taken for another batch of this ledger", async ({ skip }) => {
      const intent = await lost(["a", "b"], "after");
      const { provider, batch } = await created(at, ["a", "b"]);
      if (provider.recovery.find === "circumstance") skip("one create at a time is open in the account");
      const found = await provider.find(intent, at.standIn.nowSeconds() - 60);
      expect(found).toMatchObject({ certain: [{ isOfThisCreate: true }], possible: [], doubts: [] });
      expect(found.certain.map(({ id }) => id)).not.toContain(batch.id);
    });

    test("is distinguished from the create of an earlier try with other input", async ({ skip }) => {
      const provider = at.standIn.provider();
      const { find } = provider.recovery;
      if (provider.staging === null) skip("its input is the body of the create");
      if (!at.standIn.shows.input || find === "circumstance") skip(UNSHOWN);
      if (find === "token") skip("a token stands for one create");
      const first = await lost(["a"], "after");
      const [earlier] = await listed(provider);
      await at.standIn.advance(2_000);
      const spool = await at.intents.spool(["b"], first.spool.batchId);
      const second = { ...first, spool, staged: (await provider.staging?.send(spool))?.ref ?? null };
      const since = at.standIn.nowSeconds() - 60;
      const seen = async (intent: CreateIntent) => {
        const { certain, possible, doubts } = await provider.find(intent, since);
        expect([possible, doubts]).toEqual([[], []]);
        return certain.map(({ id, isOfThisCreate }) => [id, isOfThisCreate]);
      };
      const byName = (id: string | undefined) => (find === "name" ? [[id, false]] : []);
      expect(await seen(second)).toEqual(byName(earlier));
      at.standIn.break("create", "after", { kind: "drop" });
      await expect(provider.create(second)).rejects.toMatchObject({ kind: "ambiguous" });
      const [later] = await listed(provider);
      expect(later).not.toBe(earlier);
      expect(await seen(second)).toEqual([[later, true], ...byName(earlier)]);
      expect(await seen(first)).toEqual([...byName(later), [earlier, true]]);
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

    test("is still running in an unknown status, at an unreadable time", async () => {
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
  });
}
