import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { BACKOFF_MAX_MS } from "../../src/model/batch/schedule.js";
import { RETURNS_MAX, whatNext, type AttemptOutcome, type Next, type Policy } from "../../src/model/words/what-next.js";

type Fault = "model" | "provider" | "final" | "overtaken" | "unsent" | "answer";

/** Whose doing each outcome is, written from the design. Leaving one out does not compile. */
const faults: Readonly<Record<AttemptOutcome, Fault>> = {
  answered: "answer",
  answeredGone: "answer",
  invalid: "model",
  truncated: "model",
  refused: "model",
  rateLimited: "provider",
  expired: "provider",
  cancelled: "provider",
  transient: "provider",
  missing: "provider",
  // Not sent with the room it needed: Rowmill's own limit, so no try.
  cutShort: "unsent",
  // The model was not asked for it.
  unshared: "unsent",
  batchRefused: "unsent",
  permanent: "final",
  unwritable: "final",
  empty: "final",
  unrenderable: "final",
  tooLarge: "final",
  stale: "overtaken",
  gone: "unsent",
  abandoned: "unsent",
  withdrawn: "unsent",
  noRoom: "unsent",
  alreadyAnswered: "answer",
};
// Object.keys knows no keys of its argument; the record above is their definition.
const outcomes = Object.keys(faults) as AttemptOutcome[];
const PROVIDER_FAULTS_MAX = 10;

const chance = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
const policy = fc.record({
  triesMax: fc.integer({ min: 1, max: 8 }),
  baseDelayMs: fc.integer({ min: 1, max: 300_000 }),
  moreRoom: fc.boolean(),
});
const anyOutcomes = fc.array(fc.constantFrom(...outcomes), { maxLength: 200 });
const stubborn = fc.array(
  fc.constantFrom(...outcomes.filter((outcome) => !["final", "answer"].includes(faults[outcome]))),
  { minLength: 50, maxLength: 200 },
);

interface Told {
  readonly outcome: AttemptOutcome;
  readonly next: Next;
}

/** The attempts of one request until it ends, or the script does. */
function play(script: readonly AttemptOutcome[], by: Policy, random: number): Told[] {
  const told: Told[] = [];
  let counters = { tries: 0, returns: 0 };
  for (const outcome of script) {
    const next = whatNext(outcome, counters, by, random);
    told.push({ outcome, next });
    if (next.ending !== "returned" || outcome === "alreadyAnswered" || outcome === "gone") break;
    counters = next;
  }
  return told;
}

/** The longest run of attempts that the predicate counts, where `restarts` begins a new one. */
function longestRun(told: readonly Told[], counts: Fault, restarts: readonly Fault[]): number {
  let longest = 0;
  let run = 0;
  for (const { outcome } of told) {
    if (restarts.includes(faults[outcome])) run = 0;
    if (faults[outcome] === counts) run++;
    longest = Math.max(longest, run);
  }
  return longest;
}

describe("what becomes of a request after an attempt", () => {
  it("lets the model try `attempts` times for one content, and never once more", () => {
    fc.assert(
      fc.property(fc.oneof(anyOutcomes, stubborn), policy, chance, (script, by, random) => {
        expect(longestRun(play(script, by, random), "model", ["overtaken"])).toBeLessThanOrEqual(by.triesMax);
      }),
    );
  });

  it("bears ten faults of the provider in a row, and no more", () => {
    expect(RETURNS_MAX).toBe(PROVIDER_FAULTS_MAX);
    fc.assert(
      fc.property(fc.oneof(anyOutcomes, stubborn), policy, chance, (script, by, random) => {
        const run = longestRun(play(script, by, random), "provider", ["model", "overtaken"]);
        expect(run).toBeLessThanOrEqual(PROVIDER_FAULTS_MAX);
      }),
    );
  });

  it("fails at the bound itself, not before it", () => {
    fc.assert(
      fc.property(policy, chance, (by, random) => {
        const invalid = play(Array<AttemptOutcome>(20).fill("invalid"), by, random);
        const expired = play(Array<AttemptOutcome>(20).fill("expired"), by, random);
        expect(invalid.map(({ next }) => next.ending)).toEqual([
          ...Array<string>(by.triesMax - 1).fill("returned"),
          "failed",
        ]);
        expect(expired.map(({ next }) => next.ending)).toEqual([
          ...Array<string>(PROVIDER_FAULTS_MAX - 1).fill("returned"),
          "failed",
        ]);
      }),
    );
  });

  it("asks again for an answer that was cut off only with more room, and within its tries", () => {
    fc.assert(
      fc.property(policy, chance, (by, random) => {
        const { ending, tries } = whatNext("truncated", { tries: 0, returns: 0 }, by, random);
        expect(ending).toBe(by.moreRoom && by.triesMax > 1 ? "returned" : "failed");
        expect(tries).toBe(1);
      }),
    );
  });

  it("keeps an answer exactly when there is one, so that nothing is both kept and failed", () => {
    fc.assert(
      fc.property(anyOutcomes, policy, chance, (script, by, random) => {
        for (const { outcome, next } of play(script, by, random)) {
          expect(next.ending === "succeeded").toBe(["answered", "answeredGone"].includes(outcome));
          if (faults[outcome] === "final") expect(next.ending).toBe("failed");
        }
      }),
    );
  });

  it("never asks again after an end", () => {
    fc.assert(
      fc.property(anyOutcomes, policy, chance, (script, by, random) => {
        const endings = play(script, by, random).map(({ next }) => next.ending);
        expect(endings.slice(0, -1).every((ending) => ending === "returned")).toBe(true);
      }),
    );
  });

  it("waits after a fault of the provider, an hour at most, and after nothing else", () => {
    fc.assert(
      fc.property(anyOutcomes, policy, chance, (script, by, random) => {
        for (const { outcome, next } of play(script, by, random)) {
          const waits = faults[outcome] === "provider" && next.ending === "returned";
          expect(next.delayMs > 0).toBe(waits);
          expect(next.delayMs).toBeLessThanOrEqual(BACKOFF_MAX_MS);
        }
      }),
    );
  });

  it("counts a try only where the model had one", () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...outcomes),
        fc.record({ tries: fc.nat(20), returns: fc.nat(20) }),
        policy,
        chance,
        (outcome, before, by, random) => {
          const grown = whatNext(outcome, before, by, random).tries - before.tries;
          const fault = faults[outcome];
          const expected = fault === "model" ? 1 : fault === "overtaken" ? 0 - before.tries : 0;
          expect(grown).toBe(expected);
        },
      ),
    );
  });

  it("starts again when the row or the definition has changed", () => {
    fc.assert(
      fc.property(fc.nat(20), fc.nat(20), policy, chance, (tries, returns, by, random) => {
        expect(whatNext("stale", { tries, returns }, by, random)).toEqual({
          ending: "returned",
          tries: 0,
          returns: 0,
          delayMs: 0,
        });
      }),
    );
  });
});
