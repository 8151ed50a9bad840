/**
 * Rows that change beside three workers that are killed. `changeAtRandom` with the seed of a failure tries it again.
 */
import { expect, it } from "vitest";
import { changeAtRandom } from "./changing-rows.js";

const KILLS = 4;

it.each([1, 2, 3, 4, 5, 6])(
  `Source and targets agree, and unchanged content is asked once, after ${KILLS} kills amid transactions of users (seed %i)`,
  async (seed) => {
    const end = await changeAtRandom({ kills: KILLS, seed });
    expect(end.wrong).toEqual([]);
    // Else nothing was tried.
    expect(end.transactions).toBeGreaterThan(10);
    expect(end.executed).toBeGreaterThan(10);
  },
);
