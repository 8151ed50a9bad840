/** Owns the words for one batch: how far it is, at the provider too, what holds it up, and what it came to. Pure. */
import { asSentence } from "../../model/words/as-sentence.js";
import { proseLine } from "../../model/words/one-line.js";
import { formatUsd } from "../../model/provider/pricing.js";
import type { BatchEnding, BatchProgress } from "../../store/batches/batch-progress.js";
import { counted, fit, formatAgo, formatCount, formatDuration, formatWait, shortId } from "../screen/text.js";
import { sharingText } from "./sharing-text.js";

const TROUBLE_CHARACTERS = 300;
const REASON_CHARACTERS = 160;

/** `412/1,000`: by the provider's own counts while it has the batch, then by the answers that were written. */
export function doneOf({ state, requests, ended, providerCounts }: BatchProgress): string {
  if (state === "running" && providerCounts !== null && providerCounts.total > 0)
    return `${formatCount(providerCounts.completed + providerCounts.failed)}/${formatCount(providerCounts.total)}`;
  return `${formatCount(state === "collecting" ? ended : 0)}/${formatCount(requests)}`;
}

/** `12 min/18 min`: how long it has been at the provider or in its state, and how long others usually took. */
export function timeOf({ sentMs, sinceMs, usualMs }: BatchProgress): string {
  const elapsed = formatDuration(sentMs ?? sinceMs);
  return usualMs === null || sentMs === null ? elapsed : `${elapsed}/${formatDuration(usualMs)}`;
}

/** What is awaited, and since when. */
export function progressText(batch: BatchProgress): string {
  const { pipeline, id, state, sinceMs, sentMs, requests, ended, cancelMs } = batch;
  const cancel = cancelMs === null ? "" : `canceling for ${formatDuration(cancelMs)}; `;
  const name = `${pipeline} ${shortId(id)}: ${cancel}`;
  if (state === "collecting")
    return (
      `${name}writing the answers for ${formatDuration(sinceMs)}, ` +
      `${formatCount(ended)} of ${formatCount(requests)} done`
    );
  if (state !== "running" || sentMs === null) {
    const next = cancelMs !== null ? "" : state === "planned" ? ", waits to be rendered" : ", waits to be sent";
    return `${name}${state} for ${formatDuration(sinceMs)}${next}`;
  }
  return proseLine(`${name}${atProvider(batch)}; sent ${formatAgo(sentMs)}${usually(batch)}`);
}

function atProvider({ provider, providerStatus, providerCounts }: BatchProgress): string {
  const status = `${providerStatus ?? "not asked yet"} at ${provider}`;
  // Some count only what they have validated.
  if (providerCounts === null || providerCounts.total === 0) return status;
  const { completed, failed, total } = providerCounts;
  const lost = failed === 0 ? "" : `, ${formatCount(failed)} failed there`;
  return `${status}, ${formatCount(completed)} of ${formatCount(total)} done${lost}`;
}

function usually({ usualMs }: BatchProgress): string {
  return usualMs === null ? "" : `; others usually took ${formatDuration(usualMs)}`;
}

/** Null: its last turn did not fail. */
export function troubleText(batch: BatchProgress): string | null {
  const { pipeline, id, state, trouble, failures, nextLookMs } = batch;
  if (trouble === null) return null;
  const tries = failures > 1 ? `${formatCount(failures)} tries in a row failed` : "The last try failed";
  const since = failures > 1 ? `, for ${formatDuration(trouble.sinceMs)}` : "";
  const why = asSentence(fit(trouble.message, TROUBLE_CHARACTERS));
  const next = nextLookMs < 500 ? "The next try is due." : `Next try in ${formatWait(nextLookMs)}.`;
  return proseLine(`${pipeline} ${shortId(id)} is ${state}. ${tries}${since}: ${why} ${next}`);
}

/** One line for `up`, with its sign. */
export function endingText(ending: BatchEnding): string {
  const { pipeline, id, state, succeeded, failed, returned, costNanoUsd, tookMs, reason } = ending;
  const { cancelWanted, drops } = ending;
  const name = `${pipeline}: batch ${shortId(id)}`;
  const rows = succeeded + failed + returned;
  if (state !== "settled" || rows === 0) {
    const how = cancelWanted && state !== "cancelled" ? "canceled" : state === "settled" ? "empty" : state;
    return proseLine(`! ${name} was ${how}: ${fit(reason, REASON_CHARACTERS)}`);
  }
  const isCanceled = cancelWanted && returned > 0;
  const rest = isCanceled ? (drops ? "dropped" : "wait again") : "to send again";
  const again = returned === 0 ? "" : `, ${formatCount(returned)} ${rest}`;
  const shared = sharingText({ ...ending, requests: rows });
  const price = costNanoUsd === null ? "price unknown" : formatUsd(costNanoUsd);
  const paid = shared === null ? price : `${price} (${shared})`;
  const counts = `${counted(succeeded, "row")} succeeded, ${formatCount(failed)} failed${again}`;
  const took = formatDuration(tookMs);
  const sign = failed > 0 ? "✗" : isCanceled ? "!" : "✓";
  const how = isCanceled ? "was canceled" : "is done";
  return proseLine(`${sign} ${name} ${how}: ${counts}; ${paid}; took ${took}`);
}
