/** Owns how `rowmill show` looks to a person. Pure but for the terminal's width and style. */
import { proseLine } from "../../model/words/one-line.js";
import { formatUsd } from "../../model/provider/pricing.js";
import type { AccountWords } from "../../model/provider/account.js";
import type { AttemptStory, BatchEventStory, RequestStory } from "../../store/ledger/overview.js";
import type { ResultNow, RowNow, RowStory } from "../../app/story/row-story.js";
import { wrapQuoted } from "./table.js";
import type { Terminal } from "../screen/terminal.js";
import { counted, formatCount, formatTime, shortId } from "./text.js";

type Style = Pick<Terminal, "columns" | "bold"> & Pick<AccountWords, "accountText">;

export function renderStory(story: RowStory, style: Style): string[] {
  const section = (title: string, lines: readonly string[]) =>
    lines.length === 0 ? [] : [style.bold(title), ...lines.map((line) => `  ${line}`), ""];
  return [
    ...section(proseLine(`${story.pipeline} ${story.key}`), requestLines(story, style)),
    ...section("row", rowLines(story.row)),
    ...story.attempts.flatMap((attempt) =>
      section(`attempt ${attempt.attempt}`, attemptLines(attempt, story.events, style)),
    ),
    ...section("result", resultLines(story.result)),
  ].slice(0, -1);
}

function requestLines({ request, refused, row }: RowStory, style: Style): string[] {
  if (request === null) return [missingText(refused, row)];
  const error = [request.errorCode, request.error].filter((part) => part !== null).join(": ");
  return [
    `${request.state}${whereText(request)}`,
    ...(error === "" ? [] : wrapQuoted(`error: ${error}`, style.columns() - 2)),
    `${counted(request.attempt, "attempt")}; ${counted(request.tries, "unusable answer")} for this content`,
    `first seen ${formatTime(request.createdAt)}, changed ${formatTime(request.changedAt)}`,
    ...answererLines(request, style),
  ];
}

function answererLines({ answeredBy, demo }: RequestStory, { accountText }: Style): string[] {
  if (answeredBy === null) return [];
  return [`answered by ${accountText(answeredBy)}${demo ? ", the demo model" : ""}`];
}

function missingText(refused: string | null, row: RowNow): string {
  if (refused !== null) return `refused: ${refused}`;
  if (row.state === "absent") return "unknown: no row has this key";
  if (row.state === "unknown") return "unknown to Rowmill";
  return row.matchesWhere
    ? "unknown: the row is there, but was not looked at yet. If that stays so: rowmill sweep"
    : "unknown: the row is there, but source.where leaves it out";
}

function whereText(request: RequestStory): string {
  if (request.batchId !== null) return ` in batch ${request.batchId}`;
  if (request.notBefore === null) return "";
  return `, not before ${formatTime(request.notBefore)}`;
}

function rowLines(row: RowNow): string[] {
  if (row.state === "absent") return ["no row has this key now"];
  if (row.state === "unknown") return [row.reason];
  const note = row.matchesWhere ? [] : ["(source.where leaves this row out)"];
  return [...note, ...cellLines(row.cells)];
}

function resultLines(result: ResultNow): string[] {
  if (result.state === "absent") return ["none yet"];
  return result.state === "unknown" ? [result.reason] : cellLines(result.cells);
}

function cellLines(cells: Readonly<Record<string, unknown>>): string[] {
  const named = Object.entries(cells).map(([name, value]) => [proseLine(name), value] as const);
  const width = Math.max(0, ...named.map(([name]) => name.length));
  return named.flatMap(([name, value]) =>
    labelled(
      name.padEnd(width),
      typeof value === "string" ? value : value === null ? "null" : JSON.stringify(value),
    ),
  );
}

/** The further lines of a text stand below its first one. */
function labelled(label: string, text: string): string[] {
  const [first = "", ...more] = text.split("\n").map(proseLine);
  return [`${label}  ${first}`, ...more.map((line) => `${" ".repeat(label.length)}  ${line}`)];
}

function attemptLines(attempt: AttemptStory, events: readonly BatchEventStory[], style: Style): string[] {
  const outcome =
    attempt.ending === null || attempt.at === null
      ? `under way, the batch is ${attempt.batchState}`
      : `${attempt.ending} (${attempt.outcome}) ${formatTime(attempt.at)}`;
  const detail = attempt.detail === null ? [] : wrapQuoted(attempt.detail, style.columns() - 2);
  const answer = attempt.answer === null ? [] : labelled(`${answerName(attempt.outcome)}:`, attempt.answer);
  const written =
    attempt.writtenAt === null
      ? []
      : [`its kept answer was written by rowmill retry ${formatTime(attempt.writtenAt)}, at no cost`];
  return [
    outcome,
    ...detail,
    ...written,
    ...answer,
    ...usageLines(attempt),
    `batch ${attempt.batchId}`,
    ...(attempt.providerBatchId === null ? [] : [`at ${attempt.provider}: ${attempt.providerBatchId}`]),
    ...events.filter((event) => event.batchId === attempt.batchId).map(eventText),
  ];
}

const ANSWER_NAMES: Readonly<Record<string, string>> = {
  invalid: "unusable answer",
  truncated: "answer that was cut off",
  refused: "refusal",
  stale: "answer to what the row or the definition was before",
  gone: "answer for a row that is gone",
  unwritable: "answer that could not be written",
};

/** Of an answer that is not in the target: by its outcome, because many of them are good. */
function answerName(outcome: string | null): string {
  return ANSWER_NAMES[outcome ?? ""] ?? "answer";
}

function usageLines(attempt: AttemptStory): string[] {
  if (attempt.ending === null || attempt.inputTokens + attempt.outputTokens === 0) return [];
  const cost = attempt.costNanoUsd === null ? "price not known" : formatUsd(attempt.costNanoUsd);
  const cached = attempt.cachedInputTokens === 0 ? "" : ` (${formatCount(attempt.cachedInputTokens)} cached)`;
  const tokens = `${formatCount(attempt.inputTokens)} input${cached} and ${formatCount(attempt.outputTokens)} output tokens`;
  return [`${attempt.model ?? "model not named"}: ${tokens}, ${cost}`];
}

function eventText(event: BatchEventStory): string {
  const move = event.from === null ? event.to : `${event.from} → ${event.to}`;
  return `  ${formatTime(event.at)}  batch ${shortId(event.batchId)} ${move} (${event.reason})`;
}
