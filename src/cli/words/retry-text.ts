/** Owns how `rowmill retry` says what it costs and what it did. Pure but for the terminal. */
import type { Again } from "../../app/story/ask-again.js";
import type { PipelineConfig } from "../../model/pipeline.js";
import { formatUsd } from "../../model/provider/pricing.js";
import type { Terminal } from "../screen/terminal.js";
import { counted, describeEstimate, fit, fitKey, formatCount } from "./text.js";

const MESSAGE_CHARACTERS = 300;

/** Rows that still are as they were, and why. */
export interface Left {
  readonly why: "unwritable" | "held" | "gone" | "nextTime" | "notConfirmed" | "notFailed";
  readonly rows: number;
  /** One of them. */
  readonly key?: string;
  /** What the database said of it; of one that did not fail, its state. */
  readonly message?: string;
}

export interface Retried {
  readonly pipeline: string;
  readonly written: number;
  readonly askedAgain: number;
  /** What asking again costs at most, 1e-9 US dollars; null: nothing was to be asked again, or the price is not known. */
  readonly mostNanoUsd: number | null;
  readonly left: readonly Left[];
}

export function noteProgress(terminal: Terminal, pipeline: string, written: number): void {
  if (terminal.drawsOver) terminal.live([`${pipeline}: ${counted(written, "kept answer")} written …`]);
}

/** What is done when the question comes, and stays so whatever the answer. */
export function noteWritten(terminal: Terminal, pipeline: string, written: number): void {
  terminal.note(`${pipeline}: ${counted(written, "kept answer")} written at no cost`);
}

/** Before the question. */
export function noteCost(terminal: Terminal, config: PipelineConfig, { estimate, sameRoom }: Again): void {
  if (estimate === null) return;
  terminal.note(`${config.name}: to ask again: ${describeEstimate(estimate, config)}`);
  if (sameRoom > 0)
    terminal.note(
      `  ${counted(sameRoom, "answer")} of these ${sameRoom === 1 ? "was" : "were"} cut off with the room that it would get again: first raise pipelines.${config.name}.request.maxOutputTokens`,
    );
}

export function retriedJson({ mostNanoUsd, ...retried }: Retried): object {
  const left = retried.left.map(({ why, rows, key, message }) => ({ why, rows, key, message }));
  return { ...retried, left, mostUsd: mostNanoUsd === null ? null : mostNanoUsd / 1e9 };
}

export function retriedLines(retried: readonly Retried[]): string[] {
  if (retried.length === 0) return ["No row failed: there is nothing to retry."];
  return retried.flatMap((one) => [
    summary(one),
    ...one.left.map((left) => `  ${leftText(one.pipeline, left)}`),
  ]);
}

function summary({ pipeline, written, askedAgain, mostNanoUsd, left }: Retried): string {
  const rest = left.reduce((sum, { rows }) => sum + rows, 0);
  const most = mostNanoUsd === null ? "its price is not known" : `at most ${formatUsd(mostNanoUsd)} by batch`;
  const cost = askedAgain === 0 ? "" : ` (${most}; at once: rowmill flush ${pipeline})`;
  return `${pipeline}: ${formatCount(written)} written at no cost, ${formatCount(askedAgain)} asked again${cost}, ${formatCount(rest)} left`;
}

function leftText(pipeline: string, { why, rows, key = "", message = "" }: Left): string {
  const count = formatCount(rows);
  const is = rows === 1 ? "is" : "are";
  switch (why) {
    case "unwritable":
      return `${count} still cannot be written, such as ${fitKey(key)}: ${fit(message, MESSAGE_CHARACTERS)}`;
    case "held":
      return `${count} ${is} held in the target by a transaction of yours. When it has ended: rowmill retry ${pipeline}`;
    case "gone":
      return `${count} ${rows === 1 ? "has" : "have"} no row any more`;
    case "nextTime":
      return `${count} ${is} too many for one command. For these: rowmill retry ${pipeline}`;
    case "notConfirmed":
      return `${count} ${is} not asked again: not confirmed`;
    case "notFailed":
      return `${fitKey(key)} did not fail: it is ${message}`;
  }
}
