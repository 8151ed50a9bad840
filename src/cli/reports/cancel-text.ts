/** Owns what `rowmill cancel` says: what each batch loses and costs, and what happened to it. Pure. */
import { isActed, type CancelAction } from "../../model/batch/cancelling.js";
import { formatUsd } from "../../model/provider/pricing.js";
import type { CancelCandidate } from "../../store/batches/cancellation.js";
import { counted, formatCount, shortId } from "../screen/text.js";
import { STATE_WORDS } from "./batch-text.js";

export interface Wanted {
  readonly batch: CancelCandidate;
  readonly action: CancelAction;
}

/** Before the question. */
export function noteOf({ batch, action }: Wanted): string {
  const { done, rows, sharing, reservedNanoUsd } = batch;
  const name = `Batch ${shortId(batch.id)} of ${batch.pipeline}`;
  if (action === "withdraw")
    return `${name} was not sent yet: ${counted(rows, "row")}, nothing spent, ${formatUsd(reservedNanoUsd)} freed.`;
  if (action === "dropRest")
    return `${name} has ended at the provider, and its answers are being collected: ${counted(rows, "row")} left.`;
  // The provider counts lines.
  const lines = Math.max(0, rows - sharing);
  const asked = sharing === 0 ? counted(rows, "row") : `${counted(lines, "line")} for ${counted(rows, "row")}`;
  const share = lines === 0 ? 0 : Math.min(1, done / lines);
  const paid = `up to ${formatUsd(Math.ceil(reservedNanoUsd * share))} of the ${formatUsd(reservedNanoUsd)} reserved`;
  return done === 0
    ? `${name} is at the provider: ${counted(rows, "row")}, none answered at the last check. ` +
        `You keep and pay for what it answers before it stops, at most the ${formatUsd(reservedNanoUsd)} reserved.`
    : `${name} is at the provider: ${formatCount(done)} of ${asked} answered at the last check. ` +
        `Those are kept and paid, ${paid}.`;
}

/** What happens to the rows that come back. */
export function consequences(acted: readonly Wanted[], drops: boolean): readonly string[] {
  const names = [...new Set(acted.map(({ batch }) => batch.pipeline))];
  if (drops)
    return [
      "Rows without an answer are dropped: Rowmill does not send them again unless the row changes.",
      ...names.map((name) => `To send them anyway: rowmill retry ${name} --reason dropped`),
    ];
  return [
    "Rows without an answer wait, and are sent again with the next batch.",
    ...names.map((name) => `To send nothing more: rowmill pause ${name}`),
  ];
}

export interface CancelOutcome {
  readonly text: string;
  readonly hints: readonly string[];
  /** Nothing can be done. */
  readonly refused: boolean;
}

/** `now`: the batch after the command. */
export function outcomeOf({ batch, action }: Wanted, now: CancelCandidate): CancelOutcome {
  const name = `Batch ${shortId(batch.id)} of ${batch.pipeline}`;
  const done = (text: string) => ({ text: `${name} ${text}`, hints: [], refused: false });
  const refused = (text: string, ...hints: readonly string[]) => ({ text: `${name} ${text}`, hints, refused: true });
  const hasEnded = now.state === "settled" || now.state === "rejected" || now.state === "cancelled";
  switch (action) {
    case "ended":
      return refused(
        `has already ended: it is ${STATE_WORDS[batch.state]}.`,
        `See what happened to it: rowmill log ${shortId(batch.id)}`,
      );
    case "shared":
      return refused("is not canceled: it belongs to another database too, which collects it.");
    case "presumed":
      return refused("is not canceled: it is probably Rowmill's, but only its results can confirm that.");
    case "collecting":
      return refused("has ended at the provider: its answers are being collected.");
    case "already":
      return done("is being canceled already.");
    case "withdraw":
      return done(
        hasEnded ? "is withdrawn. Nothing was sent, and nothing was spent." : "will be withdrawn before it is sent.",
      );
    case "cancel":
      if (hasEnded) return done("is canceled. Rowmill collects the finished answers.");
      return done(
        now.cancel?.asked === true ? "is being canceled at the provider." : "will be canceled at the provider.",
      );
    case "dropRest":
      return done("is being collected. Rows without an answer are dropped.");
  }
}

/** The shape of `cancel --json`. */
export function cancelJson(
  wanted: readonly Wanted[],
  now: ReadonlyMap<string, CancelCandidate>,
  worker: { readonly pid: number; readonly host: string } | undefined,
): object {
  return {
    batches: wanted.map(({ batch, action }) => ({
      batch: batch.id,
      pipeline: batch.pipeline,
      action,
      wanted: isActed(action) || action === "already",
      drop: now.get(batch.id)?.cancel?.drops ?? false,
      state: now.get(batch.id)?.state ?? batch.state,
      rows: batch.rows,
      done: batch.done,
      reservedUsd: batch.reservedNanoUsd / 1e9,
      costUsd: (now.get(batch.id) ?? batch).costNanoUsd / 1e9,
    })),
    worker: worker === undefined ? null : { pid: worker.pid, host: worker.host },
  };
}
