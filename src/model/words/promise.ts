/** What an adapter promises about a create whose reply was lost, in words: from its `Recovery`, for `status`, `doctor` and docs/providers.md. Pure. */
import type { Recovery } from "../provider/provider.js";

export interface SubmissionPromise {
  /** How a lost batch is found. */
  readonly found: string;
  /** What makes it harmless where it was not found. */
  readonly fenced: string;
  /** What could be paid twice, and when. */
  readonly paidTwice: string;
  /** For a line of `status`. */
  readonly short: string;
}

const FOUND: Readonly<Record<Recovery["find"], string>> = {
  token: "Rowmill sends the create again with the same token, which has no second effect.",
  name: "The provider's list shows the batch's own id, which Rowmill gave it.",
  input: "The provider's list shows the id of the input that Rowmill staged for it.",
  circumstance:
    "Nothing of Rowmill's stands in the provider's list: the time and the number of requests point to it, and its results prove it.",
};

const FENCED: Readonly<Record<Recovery["fence"], string>> = {
  recorded:
    "Rowmill deletes the staged input first: a create that takes effect later then fails, as recorded of the live service.",
  tried:
    "Rowmill deletes the staged input first; no one has recorded that a create that takes effect later then fails.",
  none: "There is nothing that Rowmill could delete to stop a create that takes effect later.",
};

export function promiseOf(recovery: Recovery): SubmissionPromise {
  const { find, fence } = recovery;
  return {
    found: FOUND[find],
    fenced: find === "token" ? NOT_NEEDED : FENCED[fence],
    ...paidTwice(recovery),
  };
}

const NOT_NEEDED = "Nothing has to be stopped: the same token creates one batch.";

function paidTwice({ find, fence, exclusive }: Recovery): Pick<SubmissionPromise, "paidTwice" | "short"> {
  if (find === "token")
    return {
      paidTwice: "Nothing, as long as the provider honors the token.",
      short: "nothing is paid twice, as long as the provider honors the token of a create",
    };
  if (find === "circumstance")
    return exclusive
      ? {
          paidTwice:
            "At most one extra batch per lost reply, and only if the create takes effect after Rowmill stopped looking for it. Rowmill shows that batch and counts it as spent; it cancels nothing that is not proved to be its own.",
          short: "at most one extra batch per lost reply, if its create takes effect late",
        }
      : {
          paidTwice:
            "Nothing without your word: where a lost batch cannot be found, Rowmill asks you before it creates the batch again (`reconcile.unknown`). If you say yes and the first create takes effect later, there are two; Rowmill shows the other one, and cancels nothing that is not proved to be its own.",
          short: "nothing is paid twice unless you let a lost batch be created again that cannot be found",
        };
  return fence === "recorded"
    ? { paidTwice: "Nothing.", short: "nothing is paid twice" }
    : {
        paidTwice: `A second batch, only if the lost create takes effect after Rowmill stopped looking for it${fence === "tried" ? " and runs although its input was deleted" : ""}. Rowmill then finds it, cancels it, and shows it.`,
        short: "at most one extra batch per lost reply, if its create takes effect late",
      };
}
