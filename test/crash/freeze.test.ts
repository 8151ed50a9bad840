/** A worker freezes before each step until its lease has ended and others have done its work; then it continues. */
import { describe, it } from "vitest";
import type { StepName } from "../../src/worker/step-names.js";
import { strike, struck } from "./strike.js";

/** The last word of a worker that stops: there is nothing after it. */
const lastWords: ReadonlySet<StepName> = new Set(["worker.signOff"]);

describe("A worker that freezes past its lease", () => {
  it.each(struck.filter(({ step }) => !lastWords.has(step)))(
    "before $step ($scene.title), and continues after others did its work, does no harm",
    ({ step, scene }) => strike(scene, { step, when: "before", action: "freeze" }),
  );
});
