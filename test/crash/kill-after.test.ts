/** A worker is killed when a step took effect, before it can know of it; another one brings everything to its end. */
import { describe, it } from "vitest";
import { strike, struck } from "./strike.js";

describe("kill -9 after", () => {
  it.each(struck)("$step ($scene.title) loses nothing, and pays for nothing twice", ({ step, scene }) =>
    strike(scene, { step, when: "after", action: "kill" }),
  );
});
