/** What happens at a provider whose list shows nothing of ours, and the steps at which a worker is killed in it. */
import type { StepName } from "../../src/worker/step-names.js";
import type { PlainFaultStep } from "../support/plain-faults.js";

export interface PlainScene {
  readonly title: string;
  readonly steps: readonly StepName[];
  readonly faults?: readonly PlainFaultStep[];
  /** Others create batches in the workspace: one of as many requests, as soon as ours was asked for. */
  readonly shared?: boolean;
}

const lost = (at: "before" | "after"): readonly PlainFaultStep[] => [{ call: "create", at, fault: { kind: "drop" } }];

export const plainScenes: readonly PlainScene[] = [
  {
    title: "an ordinary run",
    steps: [
      "render.move",
      "upload.move",
      "submit.baseline",
      "submit.intent",
      "submit.create",
      "submit.record",
      "poll.ask",
      "poll.note",
      "poll.move",
      "collect.read",
      "collect.chunk",
      "end.chunk",
      "clean.spool",
    ],
  },
  {
    title: "a reply that is lost",
    steps: ["reconcile.look", "submit.record", "collect.prove"],
    faults: lost("after"),
  },
  { title: "a create that is lost", steps: ["reconcile.look", "submit.uploadAgain"], faults: lost("before") },
  {
    title: "a create that is lost, beside another client's",
    steps: ["submit.record", "reconcile.refute", "turn.pause"],
    faults: lost("before"),
    shared: true,
  },
  {
    title: "a reply that is lost, in a workspace that others use",
    steps: ["submit.record", "collect.prove"],
    faults: lost("after"),
    shared: true,
  },
  {
    title: "a create in a workspace that others use",
    steps: ["submit.create"],
    shared: true,
  },
];
