/** What `rowmill deployment` says. Pure. */
import type { CopyCounts } from "../../app/deployment/copy-ledger.js";
import type { LostBatch, Restoration, RestoreCounts } from "../../app/deployment/restore-ledger.js";
import { counted } from "./text.js";

const BATCHES_SHOWN = 20;

/** What the person's word would do. */
export function describeRestoration(restoration: Restoration): string[] {
  const { lost, unlisted, gone, unsent } = restoration;
  const again = rowsAskedAgain(restoration);
  return [
    "This database goes on in place of the former one. That one must be gone: two of them would pay twice.",
    ...(lost.length === 0 && unlisted.length === 0
      ? ["  every batch of this ledger at the provider is known here"]
      : shortened(lost.map(lostLine))),
    ...unlisted.map(
      (title) =>
        `  ${title} shows nothing of Rowmill's with a batch: what the former database sent there after the backup is not found, and its rows are asked, and paid, again`,
    ),
    ...shortened(
      gone.map(
        ({ providerBatchId, rows }) =>
          `  ${providerBatchId}: in flight here, and its answers were deleted at the provider: ${counted(rows, "row")} asked again`,
      ),
    ),
    ...(unsent.length === 0 ? [] : [`  ${counted(unsent.length, "batch")} not sent: taken back`]),
    ...(again === 0 ? [] : [`Up to ${counted(again, "row")} have to be asked, and paid, again.`]),
  ];
}

function lostLine({ batch, pipeline, collectable, requests, gone, promptKnown }: LostBatch): string {
  const what = `  ${batch.id} (${batch.statusText}): ${counted(requests, "request")}`;
  if (pipeline === null)
    return `${what} of the pipeline ${batch.mark?.pipeline ?? "?"}, which the config does not have: left alone, with its answers. To collect them, put it into the config before`;
  if (!collectable) return `${what}, and its answers were deleted: its rows are asked again where they wait`;
  const some = gone.length === 0 ? "its answers are collected" : "what is left of its answers is collected";
  const trusted = promptKnown ? "" : ", and taken for answers to the present prompt: its input file is gone";
  return `${what} not known here: ${some}${trusted}`;
}

function shortened(lines: readonly string[]): string[] {
  const more = lines.length - BATCHES_SHOWN;
  return more <= 0 ? [...lines] : [...lines.slice(0, BATCHES_SHOWN), `  … and ${more} more`];
}

/** At most: by the provider's counts, where nobody can read any more which rows they were. */
export function rowsAskedAgain({ lost, gone }: Restoration): number {
  const unreadable = lost.filter(({ collectable }) => !collectable);
  return (
    unreadable.reduce((sum, { requests }) => sum + requests, 0) +
    gone.reduce((sum, { rows }) => sum + rows, 0)
  );
}

export function describeRestored({ adoptedBatches, adoptedRows }: RestoreCounts): string[] {
  const taken =
    adoptedBatches === 0
      ? "There was nothing to take over."
      : `${counted(adoptedRows, "row")} in ${counted(adoptedBatches, "batch")} taken over: their answers are collected, and not paid again.`;
  return [`This database goes on in place of the former one. ${taken}`, "Next: rowmill up"];
}

/** What the person's word would do. */
export function describeCopy(copy: CopyCounts): string[] {
  const { sharedBatches, sharedRows, withdrawnBatches, waitingRows } = copy;
  return [
    "This database becomes a ledger of its own. The other one goes on as it is.",
    ...(sharedBatches === 0
      ? []
      : [
          `  ${counted(sharedRows, "row")} in ${counted(sharedBatches, "batch")} in flight: collected here too, as far as the files can be read; nothing of them is deleted or cancelled`,
        ]),
    ...(withdrawnBatches === 0 ? [] : [`  ${counted(withdrawnBatches, "batch")} not sent: taken back`]),
    ...(waitingRows === 0
      ? []
      : [`  ${counted(waitingRows, "row")} waiting: asked by this database too, and paid`]),
  ];
}

export const COPIED: readonly string[] = [
  "This database is a ledger of its own from now on.",
  "Next: rowmill up. To keep it from asking what the other one asks: rowmill pause PIPELINE",
];
