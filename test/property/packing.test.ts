import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  addLine,
  NOTHING_PACKED,
  pack,
  type LineSize,
  type PackedSoFar,
  type PackingLimits,
} from "../../src/model/request/packing.js";

interface NumberedLine extends LineSize {
  readonly number: number;
}

const line = fc.record({
  bytes: fc.integer({ min: 2, max: 400 }),
  tokens: fc.integer({ min: 0, max: 400 }),
  nanoUsd: fc.integer({ min: 0, max: 400 }),
});
const lines = fc
  .array(line, { maxLength: 60 })
  .map((sizes) => sizes.map((size, number): NumberedLine => ({ ...size, number })));
const limits = fc.record({
  requestsMax: fc.oneof(fc.integer({ min: 1, max: 20 }), fc.constant(Infinity)),
  bytesMax: fc.oneof(fc.integer({ min: 1, max: 1_000 }), fc.constant(Infinity)),
  tokensMax: fc.option(fc.integer({ min: 0, max: 1_000 })),
  nanoUsdMax: fc.option(fc.integer({ min: 0, max: 1_000 })),
});
const fileLimits = limits.map((some) => ({ ...some, tokensMax: null, nanoUsdMax: null }));

function totalOf(packed: readonly LineSize[]): PackedSoFar {
  const sum = (of: keyof LineSize) => packed.reduce((total, size) => total + size[of], 0);
  return { requests: packed.length, bytes: sum("bytes"), tokens: sum("tokens"), nanoUsd: sum("nanoUsd") };
}

function isWithin(total: PackedSoFar, { requestsMax, bytesMax, tokensMax, nanoUsdMax }: PackingLimits): boolean {
  return (
    total.requests <= requestsMax &&
    total.bytes <= bytesMax &&
    total.tokens <= (tokensMax ?? Infinity) &&
    total.nanoUsd <= (nanoUsdMax ?? Infinity)
  );
}

/**
 * As rendering does it: what does not fit opens the next batch; where even an empty one has no room, nothing follows.
 */
function packAll(all: readonly NumberedLine[], within: PackingLimits) {
  const batches: NumberedLine[][] = [];
  const never: NumberedLine[] = [];
  let batch: NumberedLine[] = [];
  let soFar = NOTHING_PACKED;
  for (let next = 0; next < all.length;) {
    const offered = all[next];
    if (offered === undefined) break;
    const packing = pack(soFar, offered, within);
    if (packing === "full") {
      if (batch.length === 0) return { batches, never, left: all.slice(next) };
      batches.push(batch);
      batch = [];
      soFar = NOTHING_PACKED;
      continue;
    }
    next++;
    if (packing === "never") never.push(offered);
    else {
      batch.push(offered);
      soFar = addLine(soFar, offered);
    }
  }
  if (batch.length > 0) batches.push(batch);
  return { batches, never, left: [] };
}

describe("packing", () => {
  it("exceeds no limit in any batch", () => {
    fc.assert(
      fc.property(lines, limits, (all, within) => {
        for (const batch of packAll(all, within).batches) expect(isWithin(totalOf(batch), within)).toBe(true);
      }),
    );
  });

  it("calls a batch full only when the line would break a limit, and takes it only when it would not", () => {
    fc.assert(
      fc.property(lines, line, limits, (packed, offered, within) => {
        const soFar = totalOf(packed);
        const fits = isWithin(totalOf([...packed, offered]), within);
        const packing = pack(soFar, offered, within);
        expect(packing).toBe(offered.bytes > within.bytesMax ? "never" : fits ? "take" : "full");
      }),
    );
  });

  it("keeps the order of the rows, within and across batches", () => {
    fc.assert(
      fc.property(lines, limits, (all, within) => {
        const numbers = packAll(all, within)
          .batches.flat()
          .map(({ number }) => number);
        expect(numbers).toEqual(numbers.toSorted((a, b) => a - b));
      }),
    );
  });

  it("finds a place for every line, or says that no file can hold it", () => {
    fc.assert(
      fc.property(lines, fileLimits, (all, within) => {
        const { batches, never, left } = packAll(all, within);
        expect(left).toEqual([]);
        expect(never).toEqual(all.filter(({ bytes }) => bytes > within.bytesMax));
        expect(batches.flat()).toEqual(all.filter(({ bytes }) => bytes <= within.bytesMax));
      }),
    );
  });

  it("leaves a line out of an empty batch only where its reservation is smaller than the line", () => {
    fc.assert(
      fc.property(line, limits, (offered, within) => {
        const outgrown =
          offered.tokens > (within.tokensMax ?? Infinity) || offered.nanoUsd > (within.nanoUsdMax ?? Infinity);
        expect(pack(NOTHING_PACKED, offered, within) === "full").toBe(outgrown && offered.bytes <= within.bytesMax);
      }),
    );
  });

  it("counts every line once", () => {
    fc.assert(
      fc.property(lines, (all) => {
        expect(all.reduce<PackedSoFar>(addLine, NOTHING_PACKED)).toEqual(totalOf(all));
      }),
    );
  });
});
