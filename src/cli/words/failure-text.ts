/** Owns how failures look to a person. Pure but for the terminal's width and style. */
import { asSentence } from "../../model/words/as-sentence.js";
import type { FailureGroup } from "../../store/requests/failures.js";
import { wrapQuoted } from "./table.js";
import type { Terminal } from "../screen/terminal.js";
import { counted, fit, fitKey, formatCount } from "./text.js";

/** The shape of one entry of `failures --json`. */
export interface ShownFailure extends Omit<FailureGroup, "pipelineId"> {
  readonly pipeline: string;
  readonly fix: string;
}

const INDENT = 2;
const MESSAGE_CHARACTERS = 400;
const NOTE_CHARACTERS = 160;

export function failureLines(failure: ShownFailure, style: Pick<Terminal, "columns" | "bold">): string[] {
  const { pipeline, reason, rows, kept, key, message, fix } = failure;
  const answers = kept === 0 ? "" : `, ${counted(kept, "answer")} kept`;
  const show =
    reason === "refusedKey" ? `such as ${fitKey(key)}` : `such as ${key}: ${showCommandOf(pipeline, key)}`;
  const indented = [fit(message, MESSAGE_CHARACTERS), show, fix]
    .flatMap((text) => wrapQuoted(text, style.columns() - INDENT))
    .map((line) => " ".repeat(INDENT) + line);
  const [first = "", ...further] = wrapQuoted(
    `${pipeline}: ${counted(rows, "row")} ${reason}${answers}`,
    style.columns(),
  );
  return [style.bold(first), ...further, ...indented];
}

/** Of what is not listed. */
export function moreLine(more: { readonly groups: number; readonly rows: number }): string {
  return `… and ${formatCount(more.groups)} more ${more.groups === 1 ? "reason" : "reasons"}, of ${counted(more.rows, "row")}`;
}

/** For `status`: the reason of most failures in one line, and where the others are. */
export function topFailureText(
  { rows, reason, message }: FailureGroup,
  { name, failed }: { readonly name: string; readonly failed: number },
): string {
  const part =
    rows === failed
      ? `${counted(failed, "row")} failed as ${reason}`
      : `${formatCount(rows)} of ${counted(failed, "failed row")}: ${reason}`;
  return `${part}: ${asSentence(fit(message, NOTE_CHARACTERS))} All reasons, and what fixes them: rowmill failures ${name}`;
}

/** As a shell takes it. */
function showCommandOf(pipeline: string, key: string): string {
  const dashes = key.startsWith("-") ? "-- " : "";
  return `rowmill show ${pipeline} ${dashes}${shellWord(key)}`;
}

function shellWord(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}
