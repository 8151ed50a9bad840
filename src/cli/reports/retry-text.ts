/** Owns what `rowmill retry` reports. Pure. */
import { formatUsd } from "../../model/provider/pricing.js";
import type { Estimate } from "../../worker/rounds/estimate.js";
import { fit, fitKey, formatCount } from "../screen/text.js";

const MESSAGE_CHARACTERS = 300;

export interface Left {
  readonly why: "unwritable" | "held" | "gone" | "nextTime" | "notConfirmed" | "notFailed";
  readonly rows: number;
  readonly key?: string;
  /** The database's message; for a row that did not fail, its state. */
  readonly message?: string;
}

export interface Retried {
  readonly pipeline: string;
  readonly written: number;
  readonly askedAgain: number;
  /** Of sending again; null: nothing to send. */
  readonly estimate: Estimate | null;
  readonly left: readonly Left[];
}

export function retriedJson({ estimate, ...retried }: Retried): object {
  const usd = (nanoUsd: number | null | undefined) =>
    nanoUsd === null || nanoUsd === undefined ? null : nanoUsd / 1e9;
  const left = retried.left.map(({ why, rows, key, message }) => ({ why, rows, key, message }));
  return { ...retried, left, likelyUsd: usd(estimate?.likelyNanoUsd), capUsd: usd(estimate?.capNanoUsd) };
}

/** `filtered`: by options, so that other rows may have failed. */
export function retriedLines(retried: readonly Retried[], filtered: boolean): string[] {
  const none = filtered ? "No failed row matches" : "No row failed";
  if (retried.length === 0) return [`✓ ${none}, so there is nothing to retry.`];
  return retried.flatMap((one) => [summary(one, none), ...one.left.map((left) => `  ${leftText(one.pipeline, left)}`)]);
}

function summary({ pipeline, written, askedAgain, estimate, left }: Retried, none: string): string {
  const rest = left.reduce((sum, { rows }) => sum + rows, 0);
  if (written + askedAgain + rest === 0) return `✓ ${none} in ${pipeline}, so there is nothing to retry.`;
  const likely = estimate?.likelyNanoUsd ?? null;
  const price = likely === null ? "unknown price" : `estimated ${formatUsd(likely)}`;
  const cost = askedAgain === 0 ? "" : ` (${price}; now: rowmill flush ${pipeline})`;
  const again = `${formatCount(askedAgain)} to be sent again${cost}`;
  const sign = rest === 0 ? "✓" : "!";
  return `${sign} ${pipeline}: ${formatCount(written)} written at no cost, ${again}, ${formatCount(rest)} left`;
}

function leftText(pipeline: string, { why, rows, key = "", message = "" }: Left): string {
  const count = formatCount(rows);
  const is = rows === 1 ? "is" : "are";
  switch (why) {
    case "unwritable":
      return `${count} still cannot be written, such as ${fitKey(key)}: ${fit(message, MESSAGE_CHARACTERS)}`;
    case "held":
      return `${count} ${is} locked in the target by another transaction. After it: rowmill retry ${pipeline}`;
    case "gone":
      return `${count} no longer ${rows === 1 ? "exists" : "exist"} in the source`;
    case "nextTime":
      return `${count} did not fit into one command. For these: rowmill retry ${pipeline}`;
    case "notConfirmed":
      return `${count} ${is} not sent again, because you did not confirm it`;
    case "notFailed":
      return message === "cancelled"
        ? `${fitKey(key)} did not fail: it is cancelled. If you dropped it: rowmill retry ${pipeline} --reason dropped`
        : `${fitKey(key)} did not fail: it is ${message}`;
  }
}
