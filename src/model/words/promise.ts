/** Owns the words for what an adapter promises about a create whose reply was lost, made from its `Recovery`. Pure. */
import type { Recovery } from "../provider/provider.js";

export interface SubmissionPromise {
  /** How a lost batch is found. */
  readonly found: string;
  /** What makes it harmless if it was not found. */
  readonly fenced: string;
  /** What could be paid twice, and when. */
  readonly paidTwice: string;
  /** For a line of `status`. */
  readonly short: string;
}

const FOUND: Readonly<Record<Recovery["find"], string>> = {
  token: "Rowmill sends the create again with the same token, which has no second effect.",
  name: "The provider's list shows the id that Rowmill gave to the batch.",
  input: "The provider's list shows the id of the input file that Rowmill uploaded for it.",
  circumstance:
    "The provider's list shows no name of Rowmill's. The time and the number of requests point to the batch, " +
    "and its results prove it.",
};

const FENCED: Readonly<Record<Recovery["fence"], string>> = {
  recorded:
    "Rowmill deletes the uploaded input first, so a create that takes effect later fails. " +
    "This was recorded with the live service.",
  tried:
    "Rowmill deletes the uploaded input first, so a create that takes effect later should fail. " +
    "No one has recorded it with the live service.",
  none: "Rowmill cannot stop a create that takes effect later.",
};

export function promiseOf(recovery: Recovery): SubmissionPromise {
  const { find, fence } = recovery;
  return { found: FOUND[find], fenced: find === "token" ? NOT_NEEDED : FENCED[fence], ...paidTwice(recovery) };
}

const NOT_NEEDED = "Nothing needs to be stopped: one token creates one batch.";

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
            "At most one extra batch per lost reply, and only if the create takes effect after Rowmill stopped " +
            "looking for it. Rowmill shows that batch and counts it as spent. It cancels nothing that is not proved " +
            "to be its own.",
          short: "at most one extra batch per lost reply, if its create takes effect late",
        }
      : {
          paidTwice:
            "Nothing without your consent: if Rowmill cannot find a lost batch, it asks you before it creates the " +
            "batch again (`reconcile.unknown`). If you agree and the first create takes effect later, there are two " +
            "batches. Rowmill shows the other one, and cancels nothing that is not proved to be its own.",
          short: "nothing is paid twice unless you let Rowmill create a lost batch again",
        };
  return fence === "recorded"
    ? { paidTwice: "Nothing.", short: "nothing is paid twice" }
    : {
        paidTwice:
          "A duplicate batch, only if the lost create takes effect after Rowmill stopped looking for it" +
          `${fence === "tried" ? " and runs although its input was deleted" : ""}. ` +
          "Rowmill then finds it, cancels it, and shows it.",
        short: "at most one extra batch per lost reply, if its create takes effect late",
      };
}
