/** Owns the words and the JSON of `rowmill failures`. Pure. */
import { proseLine } from "../../model/words/one-line.js";
import { formatUsd } from "../../model/provider/pricing.js";
import type { FailureGroup, Failures } from "../../store/requests/failures.js";
import type { Terminal } from "../screen/terminal.js";
import { counted, fit, fitKey } from "../screen/text.js";

const MESSAGE_CHARACTERS = 400;

export interface ShownFailure extends Omit<FailureGroup, "pipelineId" | "cause"> {
  readonly pipeline: string;
  readonly fix: string;
  /** What asking these rows again would likely cost; 0: their answers are kept. Null: unknown, or they cannot be. */
  readonly retryNanoUsd: number | null;
}

export function failuresJson(shown: readonly ShownFailure[], more: Failures["more"]): object {
  return {
    failures: shown.map(({ retryNanoUsd, ...failure }) => ({
      ...failure,
      retryUsd: retryNanoUsd === null ? null : retryNanoUsd / 1e9,
    })),
    more,
  };
}

/** The reasons with an empty line between them. */
export function failuresLines(
  shown: readonly ShownFailure[],
  more: Failures["more"],
  style: Pick<Terminal, "bold">,
): string[] {
  const blocks = shown.map((failure) => failureLines(failure, style));
  const rest = more.groups === 0 ? [] : [moreLine(more)];
  return [...blocks, rest]
    .filter((block) => block.length > 0)
    .flatMap((block, index) => (index === 0 ? block : ["", ...block]));
}

export function failureLines(failure: ShownFailure, style: Pick<Terminal, "bold">): string[] {
  const { pipeline, reason, rows, kept, key, message, fix, retryNanoUsd } = failure;
  const answers = kept === 0 ? "" : `, ${counted(kept, "answer")} kept`;
  const show = reason === "refusedKey" ? fitKey(key) : `${key}: ${showCommandOf(pipeline, key)}`;
  return [
    style.bold(proseLine(`${pipeline}: ${counted(rows, "row")} ${reason}${answers}`)),
    ...[fit(message, MESSAGE_CHARACTERS), `Example: ${show}`, `Hint: ${fix}`, ...costLine(retryNanoUsd)].map(
      (text) => `  ${proseLine(text)}`,
    ),
  ];
}

function costLine(retryNanoUsd: number | null): readonly string[] {
  if (retryNanoUsd === null) return [];
  return [`To retry: ${retryNanoUsd === 0 ? "no cost" : `about ${formatUsd(retryNanoUsd)}`}`];
}

function moreLine(more: Failures["more"]): string {
  return `… and ${counted(more.groups, "more reason")} (${counted(more.rows, "row")})`;
}

function showCommandOf(pipeline: string, key: string): string {
  const dashes = key.startsWith("-") ? "-- " : "";
  return `rowmill show ${pipeline} ${dashes}${shellWord(key)}`;
}

function shellWord(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}
