/** A worker is killed before each step of the stages; another one brings everything to its end. */
import { describe, expect, it } from "vitest";
import { STEP_NAMES } from "../../src/worker/step-names.js";
import { plainScenes } from "./plain-scenes.js";
import { strike, struck } from "./strike.js";

describe("Every step", () => {
  it("is struck in a scene, and no scene strikes at one that is not there", () => {
    const names = new Set([...struck.map(({ step }) => step), ...plainScenes.flatMap(({ steps }) => steps)]);
    expect([...names].toSorted()).toEqual(Object.keys(STEP_NAMES).toSorted());
  });
});

describe("kill -9 before", () => {
  it.each(struck)("$step ($scene.title) loses nothing, and pays for nothing twice", ({ step, scene }) =>
    strike(scene, { step, when: "before", action: "kill" }),
  );
});
