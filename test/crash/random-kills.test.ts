/** In all 180 kills at random instants; `npm run soak` runs for as long as you like. */
import { describe, expect, it } from "vitest";
import { killAtRandom } from "./random-kills.js";

const KILLS = 9;
const seeds = [1, 2, 3, 4];

describe.each([
  { kind: "pg18", workers: 1, title: "One worker" },
  { kind: "pg18", workers: 3, title: "Three workers" },
  { kind: "embedded", workers: 1, title: "One worker on the embedded database" },
] as const)("$title", ({ kind, workers }) => {
  it.each(seeds)(
    `killed ${KILLS} times at random instants: nothing is lost, and nothing paid twice (seed %i)`,
    async (seed) => {
      expect((await killAtRandom({ provider: "openai", kind, workers, kills: KILLS, seed })).wrong).toEqual([]);
    },
  );
});

describe.each([
  { provider: "elsewhere", title: "Two workers that deliver to a target elsewhere" },
  { provider: "back", title: "Two workers that write answers back into a source elsewhere" },
] as const)("$title", ({ provider }) => {
  it.each(seeds)(
    `killed ${KILLS} times while rows change: each newest answer is there, and none twice (seed %i)`,
    async (seed) => {
      const run = { provider, kind: "pg18", workers: 2, kills: KILLS, seed } as const;
      expect((await killAtRandom(run)).wrong).toEqual([]);
    },
  );
});
