/** Owns the refusals of a gateway that is full: the caller deletes something, or waits until old batches go. Pure. */
import type { GatewaySettings } from "../settings.js";
import { refusal, type Answer } from "../protocol/wire.js";

/** Not for outputs of batches: their requests have been executed. */
export function noRoom({ limits, organization }: GatewaySettings): Answer {
  const gigabytes = (limits.storedBytesMax / 1e9).toLocaleString("en-US");
  return quotaRefusal(
    `organization ${organization} stores as many files, or as many bytes (${gigabytes} GB), as it may. ` +
      "Please delete files that you no longer need.",
  );
}

export function tooManyBatches({ organization }: GatewaySettings): Answer {
  return quotaRefusal(
    `organization ${organization} has as many batches as it may. They are deleted some time after their end.`,
  );
}

function quotaRefusal(reason: string): Answer {
  const message = `You exceeded your current quota: ${reason}`;
  return refusal(429, message, { type: "insufficient_quota", code: "insufficient_quota" });
}
