/** Decides when most answers fail, so that further tries would be paid for nothing, and words the reason. Pure. */
import { CHANGES } from "../words/failure-fixes.js";
import { proseLine } from "../words/one-line.js";
import type { PipelineConfig } from "../pipeline.js";
import { FAILURE_OUTCOMES, type AttemptOutcome, type FailureOutcome } from "../words/what-next.js";

/** The last answers of a definition that are judged, over all its batches; fewer answers prove nothing. */
export const ANSWERS_JUDGED = 20;
/** Percent of them that may fail. */
export const FAILED_PERCENT_MAX = 50;
const KEY_CHARACTERS_MAX = 40;
const DETAIL_CHARACTERS_MAX = 200;

export interface JudgedAnswer {
  readonly key: string;
  readonly outcome: AttemptOutcome;
  readonly detail: string | null;
  /** You accepted failures of this kind as normal for the definition. */
  readonly accepted: boolean;
}

type Failure = JudgedAnswer & { readonly outcome: FailureOutcome };

/**
 * The failures among a definition's last answers, newest first; none when too few failed, or there are too few answers.
 * `first`: the last answers to rows that had not failed before; if those are fine, only a few hard rows are asked
 * again.
 */
export function failuresAmong(answers: readonly JudgedAnswer[], first: readonly JudgedAnswer[]): readonly Failure[] {
  const enough =
    answers.length >= ANSWERS_JUDGED && mostlyFailed(answers) && (first.length === 0 || mostlyFailed(first));
  return enough ? answers.filter(isFailure) : [];
}

function mostlyFailed(answers: readonly JudgedAnswer[]): boolean {
  return answers.filter(isFailure).length * 100 > FAILED_PERCENT_MAX * answers.length;
}

function isFailure(answer: JudgedAnswer): answer is Failure {
  return !answer.accepted && isFailureOutcome(answer.outcome);
}

function isFailureOutcome(outcome: AttemptOutcome): boolean {
  return FAILURE_OUTCOMES.some((failure) => failure === outcome);
}

/** The most frequent kinds of failure: once these are accepted, the others are not too many. */
export function failuresToAccept(answers: readonly JudgedAnswer[]): FailureOutcome[] {
  const [most] = countsOf(answers.filter(isFailure));
  if (most === undefined || !mostlyFailed(answers)) return [];
  const rest = answers.map((answer) => ({ ...answer, accepted: answer.accepted || answer.outcome === most.outcome }));
  return [most.outcome, ...failuresToAccept(rest)];
}

function countsOf(failures: readonly Failure[]): { outcome: FailureOutcome; count: number }[] {
  return FAILURE_OUTCOMES.map((outcome) => ({
    outcome,
    count: failures.filter((failure) => failure.outcome === outcome).length,
  }))
    .filter(({ count }) => count > 0)
    .sort((one, other) => other.count - one.count);
}

/** On one line: what failed, an example, the key to change, and how to continue. */
export function failingText(failures: readonly Failure[], config: Pick<PipelineConfig, "name" | "request">): string {
  const counts = countsOf(failures);
  const most = counts[0]?.outcome ?? "invalid";
  const example = failures.find(({ outcome }) => outcome === most);
  const kinds = counts.map(({ outcome, count }) => `${count} ${outcome}`);
  return [
    `${failures.length} of the last ${ANSWERS_JUDGED} answers failed: ${kinds.join(", ")}.`,
    `Row ${quoted(example?.key ?? "", KEY_CHARACTERS_MAX)}: ${quoted(example?.detail ?? "", DETAIL_CHARACTERS_MAX)}.`,
    `${CHANGES[most](config)}, and start rowmill up again.`,
    `To try again unchanged: rowmill resume ${config.name}.`,
    `If this many failures are normal: rowmill resume ${config.name} --accept`,
  ].join(" ");
}

/** An answer that fits, and that the target refused even when its row was written alone. */
export interface Refusal {
  readonly key: string;
  /** SQLSTATE of the database's error; null: no error, but the table does not hold what was written. */
  readonly sqlState: string | null;
  readonly detail: string;
  /** The error is about the statement, not about this row: a right or a column is missing. */
  readonly ofStatement: boolean;
}

/**
 * Does the target refuse every row? Yes where it refuses all rows of a chunk alike and took none of the definition's
 * last answers. One row alone proves nothing, unless the error is about the statement, or the target took none of
 * ANSWERS_JUDGED answers: a pipeline that sends row by row would otherwise pay indefinitely for answers that nothing
 * can hold.
 */
export function refusesAll(refusals: readonly Refusal[], last: readonly JudgedAnswer[]): boolean {
  const [first] = refusals;
  if (first === undefined || refusals.some(({ sqlState }) => sqlState !== first.sqlState)) return false;
  const before = last.map(({ outcome }) => outcome).filter((outcome) => !isFailureOutcome(outcome));
  const unwritten = before.slice(0, Math.max(0, ANSWERS_JUDGED - refusals.length));
  const isEnough = refusals.length > 1 || first.ofStatement || refusals.length + unwritten.length === ANSWERS_JUDGED;
  return isEnough && unwritten.every((outcome) => outcome === "unwritable");
}

/** On one line: what the target refuses, an example, and that nothing is lost. */
export function refusalText(
  refusals: readonly Refusal[],
  { name, target }: Pick<PipelineConfig, "name" | "target">,
): string {
  const [example] = refusals;
  const answers = refusals.length === 1 ? "The answer" : `Each of ${refusals.length} answers`;
  return [
    `${answers} was refused by the target ${proseLine(target.table)}.`,
    `Row ${quoted(example?.key ?? "", KEY_CHARACTERS_MAX)}: ${quoted(example?.detail ?? "", DETAIL_CHARACTERS_MAX)}.`,
    "No answer is lost and no row failed: Rowmill writes them once the target accepts them.",
    `To let these rows fail instead, each with its reason: rowmill resume ${name} --accept.`,
  ].join(" ");
}

/** Text of rows and models as part of one line. */
function quoted(text: string, charactersMax: number): string {
  const cut = text.length > charactersMax ? `${text.slice(0, charactersMax - 1)}…` : text;
  return proseLine(JSON.stringify(cut));
}
