/** Owns how failures look. Pure but for the terminal's style. */
import { proseLine } from "../../model/words/one-line.js";
import { asSentence } from "../../model/words/as-sentence.js";
import type { FailureGroup } from "../../store/requests/failures.js";
import type { Terminal } from "./terminal.js";
import { counted, fit, fitKey, formatCount } from "./text.js";

/** The shape of one entry of `failures --json`. */
export interface ShownFailure extends Omit<FailureGroup, "pipelineId"> {
  readonly pipeline: string;
  readonly fix: string;
}

const MESSAGE_CHARACTERS = 400;
const NOTE_CHARACTERS = 160;

export function failureLines(failure: ShownFailure, style: Pick<Terminal, "bold">): string[] {
  const { pipeline, reason, rows, kept, key, message, fix } = failure;
  const answers = kept === 0 ? "" : `, ${counted(kept, "answer")} kept`;
  const show = reason === "refusedKey" ? fitKey(key) : `${key}: ${showCommandOf(pipeline, key)}`;
  return [
    style.bold(proseLine(`${pipeline}: ${counted(rows, "row")} ${reason}${answers}`)),
    ...[fit(message, MESSAGE_CHARACTERS), `Example: ${show}`, `Hint: ${fix}`].map(
      (text) => `  ${proseLine(text)}`,
    ),
  ];
}

/** Of what is not listed. */
export function moreLine(more: { readonly groups: number; readonly rows: number }): string {
  return `… and ${counted(more.groups, "more reason")} (${counted(more.rows, "row")})`;
}

/** For `status`: the most common reason in one line, and where the others are. */
export function topFailureText(
  { rows, reason, message }: FailureGroup,
  { name, failed }: { readonly name: string; readonly failed: number },
): string {
  const part =
    rows === failed
      ? `${counted(failed, "row")} failed: ${reason}`
      : `${counted(failed, "row")} failed, ${formatCount(rows)} of them: ${reason}`;
  return `${part}: ${asSentence(fit(message, NOTE_CHARACTERS))} All reasons and fixes: rowmill failures ${name}`;
}

/** As a shell takes it. */
function showCommandOf(pipeline: string, key: string): string {
  const dashes = key.startsWith("-") ? "-- " : "";
  return `rowmill show ${pipeline} ${dashes}${shellWord(key)}`;
}

function shellWord(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}
