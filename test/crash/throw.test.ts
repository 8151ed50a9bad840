/** A step throws when it took effect, as at any trouble that nobody foresaw: the same worker goes on by itself. */
import { describe, it } from "vitest";
import type { StepName } from "../../src/worker/step-names.js";
import { strike, struck } from "./strike.js";

/** At its first word a worker does not begin, and at its last one there is nothing left to go on with. */
const outerWords: ReadonlySet<StepName> = new Set(["worker.beat", "worker.signOff"]);

describe("An error after", () => {
  it.each(struck.filter(({ step }) => !outerWords.has(step)))(
    "$step ($scene.title) is got over, nothing is lost, and nothing paid twice",
    ({ step, scene }) => strike(scene, { step, when: "after", action: "throw" }),
  );
});
