/** Owns what `rowmill retry` says. Pure but for the terminal. */
import type { Again } from "../../app/story/ask-again.js";
import type { PipelineConfig } from "../../model/pipeline.js";
import { formatUsd } from "../../model/provider/pricing.js";
import type { Terminal } from "./terminal.js";
import { counted, describeEstimate, fit, fitKey, formatCount, formatWait, percentOf } from "./text.js";

const MESSAGE_CHARACTERS = 300;

/** Rows that did not change, and why. */
export interface Left {
  readonly why: "unwritable" | "held" | "gone" | "nextTime" | "notConfirmed" | "notFailed";
  readonly rows: number;
  /** One of them. */
  readonly key?: string;
  /** The database's message; for a row that did not fail, its state. */
  readonly message?: string;
}

export interface Retried {
  readonly pipeline: string;
  readonly written: number;
  readonly askedAgain: number;
  /** The cost cap of sending again, 1e-9 US dollars; null: nothing to send, or an unknown price. */
  readonly mostNanoUsd: number | null;
  readonly left: readonly Left[];
}

/** Shows how many of at most `total` kept answers are written. */
export function keptProgress(terminal: Terminal, pipeline: string, total: number) {
  const startedAtMs = performance.now();
  return ({ written }: { readonly written: number }): void => {
    if (!terminal.drawsOver || terminal.quiet) return;
    const share = `${percentOf(written, total)} in ${formatWait(performance.now() - startedAtMs)}`;
    terminal.live([
      `${pipeline}: ${formatCount(written)} of ${counted(total, "kept answer")} written, ${share}`,
    ]);
  };
}

/** Done before the question, whatever the answer. */
export function noteWritten(terminal: Terminal, pipeline: string, written: number): void {
  terminal.note(`✓ ${pipeline}: ${counted(written, "kept answer")} written at no cost`);
}

/** Before the question. */
export function noteCost(terminal: Terminal, config: PipelineConfig, { estimate, sameRoom }: Again): void {
  if (estimate === null) return;
  terminal.note(`${config.name}: to send again: ${describeEstimate(estimate, config)}`);
  if (sameRoom > 0)
    terminal.note(
      `! ${counted(sameRoom, "answer")} of these ${sameRoom === 1 ? "was" : "were"} cut off at the current limit, ` +
        `and would be again. First raise pipelines.${config.name}.request.maxOutputTokens`,
    );
}

export function retriedJson({ mostNanoUsd, ...retried }: Retried): object {
  const left = retried.left.map(({ why, rows, key, message }) => ({ why, rows, key, message }));
  return { ...retried, left, mostUsd: mostNanoUsd === null ? null : mostNanoUsd / 1e9 };
}

export function retriedLines(retried: readonly Retried[]): string[] {
  if (retried.length === 0) return ["✓ No row failed, so there is nothing to retry."];
  return retried.flatMap((one) => [
    summary(one),
    ...one.left.map((left) => `  ${leftText(one.pipeline, left)}`),
  ]);
}

function summary({ pipeline, written, askedAgain, mostNanoUsd, left }: Retried): string {
  const rest = left.reduce((sum, { rows }) => sum + rows, 0);
  const most = mostNanoUsd === null ? "unknown price" : `at most ${formatUsd(mostNanoUsd)}`;
  const cost = askedAgain === 0 ? "" : ` (${most}; now: rowmill flush ${pipeline})`;
  const again = `${formatCount(askedAgain)} to be sent again${cost}`;
  return `${rest === 0 ? "✓" : "!"} ${pipeline}: ${formatCount(written)} written at no cost, ${again}, ${formatCount(rest)} left`;
}

function leftText(pipeline: string, { why, rows, key = "", message = "" }: Left): string {
  const count = formatCount(rows);
  const is = rows === 1 ? "is" : "are";
  switch (why) {
    case "unwritable":
      return `${count} still cannot be written, such as ${fitKey(key)}: ${fit(message, MESSAGE_CHARACTERS)}`;
    case "held":
      return `${count} ${is} locked in the target by a transaction of yours. When it has ended: rowmill retry ${pipeline}`;
    case "gone":
      return `${count} no longer ${rows === 1 ? "exists" : "exist"} in the source`;
    case "nextTime":
      return `${count} did not fit into one command. For these: rowmill retry ${pipeline}`;
    case "notConfirmed":
      return `${count} ${is} not sent again, because you did not confirm it`;
    case "notFailed":
      return `${fitKey(key)} did not fail: it is ${message}`;
  }
}
