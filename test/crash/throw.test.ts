/** A step throws after it took effect, as at any unforeseen trouble: the same worker continues. */
import { describe, it } from "vitest";
import type { StepName } from "../../src/worker/step-names.js";
import { strike, struck } from "./strike.js";

/** At its first step a worker has not begun, and at its last one nothing is left to do. */
const outerWords: ReadonlySet<StepName> = new Set(["worker.beat", "worker.signOff"]);

describe("An error after", () => {
  it.each(struck.filter(({ step }) => !outerWords.has(step)))(
    "$step ($scene.title) is survived: nothing is lost, and nothing is paid twice",
    ({ step, scene }) => strike(scene, { step, when: "after", action: "throw" }),
  );
});
