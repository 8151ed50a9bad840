/** Of the suite: what lies at the vendor for one batch, from the upload of its input until it is forgotten. */
import { describe, expect, test, type TestContext } from "vitest";
import type { Staging } from "../../src/model/provider/provider.js";
import { ended, UNSHOWN, type At } from "./provider-stand-in.js";

const IN_THE_CREATE = "its input is the body of the create";
const UNLISTED = "the vendor lists no uploads";
/** Of the same length, so that only their content tells them apart. */
const [ONE, OTHER] = [["a"], ["b"]];

const sorted = (ids: readonly string[]) => [...ids].sort();
const lying = async (at: At) => sorted(await at.standIn.lying());

function stagingOf(at: At, { skip }: TestContext): Staging {
  return at.standIn.provider().staging ?? skip(IN_THE_CREATE);
}

/** A staging whose uploads can be found. */
function listedStagingOf(at: At, context: TestContext): Staging {
  const staging = stagingOf(at, context);
  return at.standIn.shows.uploads ? staging : context.skip(UNLISTED);
}

export function describeStaging(at: At): void {
  describe("staged input", () => {
    test("is found by another worker, as the same input", async (context) => {
      const staging = listedStagingOf(at, context);
      const spool = await at.intents.spool(ONE);
      expect(await staging.find(spool)).toEqual({ same: null, others: [] });
      const { ref } = await staging.send(spool);
      const again = at.standIn.provider().staging;
      const { same, others } = (await again?.find(spool)) ?? {};
      expect(same?.ref).toEqual(ref);
      expect(["ready", "staged", "pending"]).toContain(same?.readiness);
      expect(others).toEqual([]);
    });

    test("is not taken for the equal input of another batch", async (context) => {
      const staging = listedStagingOf(at, context);
      const [spool, another] = [await at.intents.spool(ONE), await at.intents.spool(ONE)];
      expect(another.sha256).toBe(spool.sha256);
      const first = await staging.send(spool);
      expect(await staging.find(another)).toEqual({ same: null, others: [] });
      const second = await staging.send(another);
      expect(await staging.find(another)).toMatchObject({ same: { ref: second.ref }, others: [] });
      expect(await staging.find(spool)).toMatchObject({ same: { ref: first.ref }, others: [] });
    });

    test("of the same batch with other content is one of the others, until it is removed", async (context) => {
      const staging = listedStagingOf(at, context);
      const before = await at.intents.spool(ONE);
      const spool = await at.intents.spool(OTHER, before.batchId);
      expect(spool.bytes).toBe(before.bytes);
      const old = await staging.send(before);
      expect(await staging.find(spool)).toEqual({ same: null, others: [old.ref] });
      const sent = await staging.send(spool);
      expect(await staging.find(spool)).toMatchObject({ same: { ref: sent.ref }, others: [old.ref] });
      expect(await staging.remove(old.ref)).toBe(true);
      expect(await staging.find(spool)).toMatchObject({ same: { ref: sent.ref }, others: [] });
    });

    test("that cannot be listed is never found", async (context) => {
      const staging = stagingOf(at, context);
      if (at.standIn.shows.uploads) context.skip("the vendor lists uploads");
      const spool = await at.intents.spool(ONE);
      await staging.send(spool);
      expect(await staging.find(spool)).toEqual({ same: null, others: [] });
    });

    test("that is inspected is the one that was sent, unless the vendor does not say", async (context) => {
      const staging = stagingOf(at, context);
      const { ref } = await staging.send(await at.intents.spool(ONE));
      const seen = await staging.inspect(ref);
      if (seen === null) context.skip("the vendor does not say how an upload stands");
      expect(seen?.ref).toEqual(ref);
      expect(["ready", "staged", "pending"]).toContain(seen?.readiness);
    });

    test("stays at the vendor until it is removed, and no other input is removed with it", async (context) => {
      const staging = stagingOf(at, context);
      const kept = await staging.send(await at.intents.spool(ONE));
      const before = await lying(at);
      expect(before).toHaveLength(1);
      const { ref } = await staging.send(await at.intents.spool(OTHER));
      expect(ref).not.toEqual(kept.ref);
      expect(await at.standIn.lying()).toHaveLength(2);
      expect(await staging.remove(ref)).toBe(true);
      expect(await lying(at)).toEqual(before);
      expect(await staging.remove(ref)).toBe(false);
      expect(await lying(at)).toEqual(before);
    });
  });
}

const ANSWER_AND_FAILURE = ["a", "b [[demo:error 400]]"];

/** A batch of another client, ended, that must stay; and what lies there then. */
async function foreign(at: At): Promise<readonly string[]> {
  await at.standIn.until(await at.standIn.createForeign(1));
  return lying(at);
}

export function describeForget(at: At): void {
  describe("a batch that is forgotten", () => {
    test("leaves nothing of itself at the vendor, and everything of others", async () => {
      const others = await foreign(at);
      const { provider, intent, batch } = await ended(at, ANSWER_AND_FAILURE);
      const there = await lying(at);
      expect(there.length).toBeGreaterThan(others.length);
      const kept = { batch, staged: intent.staged };
      expect(await provider.forget(kept)).toBe(there.length - others.length);
      expect(await lying(at)).toEqual(others);
      expect(await provider.forget(kept)).toBe(0);
      expect(await provider.forget({ batch: null, staged: null })).toBe(0);
      expect(await lying(at)).toEqual(others);
    });

    test("leaves nothing either where the ledger knows no input of it", async ({ skip }) => {
      const others = await foreign(at);
      const { provider, batch } = await ended(at, ANSWER_AND_FAILURE);
      if (provider.staging !== null && !at.standIn.shows.input) skip(UNSHOWN);
      expect(await provider.forget({ batch, staged: null })).toBeGreaterThan(0);
      expect(await lying(at)).toEqual(others);
    });

    test("leaves nothing either where a part was deleted before", async () => {
      const others = await foreign(at);
      const { provider, intent, batch } = await ended(at, ANSWER_AND_FAILURE);
      await at.standIn.losePart(batch.id);
      const left = (await at.standIn.lying()).length - others.length;
      expect(await provider.forget({ batch, staged: intent.staged })).toBe(left);
      expect(await lying(at)).toEqual(others);
    });

    test("takes along the input alone where no batch was made of it", async (context) => {
      stagingOf(at, context);
      const { provider } = await ended(at, ["a"]);
      const others = await lying(at);
      const { staged } = await at.intents.make(["b"], provider);
      expect((await at.standIn.lying()).length).toBe(others.length + 1);
      expect(await provider.forget({ batch: null, staged })).toBe(1);
      expect(await lying(at)).toEqual(others);
    });
  });
}
