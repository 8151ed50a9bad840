import fc from "fast-check";
import { expect, it } from "vitest";
import { errorWaitMs } from "../../src/worker/loop.js";

const chance = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
const failures = fc.integer({ min: 1, max: 1_000_000 });

it("waits from one second to half a minute after a failed round, however many failed", () => {
  fc.assert(
    fc.property(failures, chance, (count, random) => {
      const waitMs = errorWaitMs(count, random);
      expect(waitMs).toBeGreaterThanOrEqual(1_000);
      expect(waitMs).toBeLessThanOrEqual(30_000);
    }),
  );
});

it("waits longer after each further failure, chance being equal", () => {
  fc.assert(
    fc.property(failures, chance, (count, random) => {
      expect(errorWaitMs(count + 1, random)).toBeGreaterThanOrEqual(errorWaitMs(count, random));
    }),
  );
});

it("spreads the waits of many workers over half of the longest one, so that they do not come back as one", () => {
  fc.assert(
    fc.property(failures, (count) => {
      expect(errorWaitMs(count, 0.999) / errorWaitMs(count, 0)).toBeCloseTo(2, 1);
    }),
  );
});
