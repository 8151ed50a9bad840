import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  BACKOFF_MAX_MS,
  backoffMs,
  decidePlanning,
  isFilling,
  pollDelayMs,
  type PlanningFacts,
} from "../../src/model/batch/schedule.js";

const HOUR_MS = 3_600_000;
const chance = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
const count = fc.oneof(fc.integer({ min: 0, max: 40 }), fc.integer({ min: 0, max: 1_000_000 }));
const range = fc
  .tuple(fc.integer({ min: 1, max: HOUR_MS }), fc.integer({ min: 1, max: 24 * HOUR_MS }))
  .map(([a, b]) => ({ minMs: Math.min(a, b), maxMs: Math.max(a, b) }));

describe("the wait before the next poll", () => {
  it("is never below polling.min nor above polling.max, however often it was asked", () => {
    fc.assert(
      fc.property(count, range, chance, (polls, within, random) => {
        const delayMs = pollDelayMs(polls, within, random);
        expect(delayMs).toBeGreaterThanOrEqual(within.minMs);
        expect(delayMs).toBeLessThanOrEqual(within.maxMs);
        expect(Number.isInteger(delayMs)).toBe(true);
      }),
    );
  });

  it("never shrinks from one poll to the next, chance being equal", () => {
    fc.assert(
      fc.property(count, range, chance, (polls, within, random) => {
        expect(pollDelayMs(polls + 1, within, random)).toBeGreaterThanOrEqual(pollDelayMs(polls, within, random));
      }),
    );
  });

  it("spreads by a fifth at most to both sides of its middle, and does spread", () => {
    const wide = { minMs: 1_000, maxMs: 24 * HOUR_MS };
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 20 }), chance, (polls, random) => {
        const middle = pollDelayMs(polls, wide, 0.5);
        const delayMs = pollDelayMs(polls, wide, random);
        expect(delayMs).toBeGreaterThanOrEqual(Math.floor(middle * 0.8));
        expect(delayMs).toBeLessThanOrEqual(Math.ceil(middle * 1.2));
      }),
    );
    expect(pollDelayMs(5, wide, 0)).toBeLessThan(pollDelayMs(5, wide, 0.9));
  });

  it("reaches polling.max within a bounded number of polls", () => {
    fc.assert(
      fc.property(range, (within) => {
        expect(pollDelayMs(100, within, 0.5)).toBe(within.maxMs);
      }),
    );
  });
});

describe("the wait after a failure", () => {
  const base = fc.integer({ min: 1, max: 300_000 });

  it("lies in the upper half of base × 2^failures, and is at most an hour", () => {
    expect(BACKOFF_MAX_MS).toBe(HOUR_MS);
    fc.assert(
      fc.property(count, base, chance, (failures, baseMs, random) => {
        const full = Math.min(HOUR_MS, baseMs * 2 ** Math.min(failures, 60));
        const delayMs = backoffMs(failures, baseMs, random);
        expect(delayMs).toBeGreaterThanOrEqual(Math.floor(full / 2));
        expect(delayMs).toBeLessThanOrEqual(full);
      }),
    );
  });

  it("never shrinks with another failure, chance being equal", () => {
    fc.assert(
      fc.property(count, base, chance, (failures, baseMs, random) => {
        expect(backoffMs(failures + 1, baseMs, random)).toBeGreaterThanOrEqual(backoffMs(failures, baseMs, random));
      }),
    );
  });
});

describe("planning", () => {
  const facts = fc.record({
    ready: fc.integer({ min: 0, max: 3_000 }),
    oldestWaitMs: fc.option(fc.integer({ min: 0, max: 10 * HOUR_MS })),
    rowsThreshold: fc.integer({ min: 1, max: 2_000 }),
    maxWaitMs: fc.integer({ min: 0, max: 10 * HOUR_MS }),
    flush: fc.boolean(),
  });

  it("sends at the threshold, at the deadline or at a flush, and at nothing else", () => {
    fc.assert(
      fc.property(facts, (now) => {
        const waiting = now.ready > 0 && now.oldestWaitMs !== null;
        const due = now.ready >= now.rowsThreshold || (now.oldestWaitMs ?? 0) >= now.maxWaitMs || now.flush;
        expect(decidePlanning(now).plan).toBe(waiting && due);
      }),
    );
  });

  it("lets a flush wait for rows that are being taken in, never for more than a full batch nor longer than ten seconds", () => {
    const filling = { arriving: true, ready: 999, oldestWaitMs: 9_999, requestsMax: 1_000 };
    expect(isFilling(filling)).toBe(true);
    expect(isFilling({ ...filling, ready: 0, oldestWaitMs: null })).toBe(true);
    expect(isFilling({ ...filling, arriving: false })).toBe(false);
    expect(isFilling({ ...filling, ready: 1_000 })).toBe(false);
    expect(isFilling({ ...filling, oldestWaitMs: 10_000 })).toBe(false);
  });

  it("names a reason that holds", () => {
    const holds = {
      threshold: (now: PlanningFacts) => now.ready >= now.rowsThreshold,
      deadline: (now: PlanningFacts) => (now.oldestWaitMs ?? -1) >= now.maxWaitMs,
      flush: (now: PlanningFacts) => now.flush,
    };
    fc.assert(
      fc.property(facts, (now) => {
        const decision = decidePlanning(now);
        expect(decision.plan ? holds[decision.because](now) : true).toBe(true);
      }),
    );
  });

  it("does not change its mind when more rows wait, or wait longer", () => {
    fc.assert(
      fc.property(facts, fc.nat(1_000), fc.nat(HOUR_MS), (now, moreRows, longerMs) => {
        fc.pre(decidePlanning(now).plan);
        const later = {
          ...now,
          ready: now.ready + moreRows,
          oldestWaitMs: (now.oldestWaitMs ?? 0) + longerMs,
        };
        expect(decidePlanning(later).plan).toBe(true);
      }),
    );
  });
});
