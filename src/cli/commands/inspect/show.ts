/** `rowmill show`: everything about one row, from its columns to its answer. Reads only. */
import { choiceOf } from "../../../app/open/providers.js";
import { readRowStory, type ResultNow, type RowNow, type RowStory } from "../../../app/story/row-story.js";
import type { AccountWords } from "../../../model/provider/account.js";
import { formatUsd } from "../../../model/provider/pricing.js";
import { proseLine } from "../../../model/words/one-line.js";
import type { AttemptStory, BatchEventStory, RequestStory } from "../../../store/ledger/overview.js";
import type { RowTry } from "../../../store/tries/tries.js";
import type { Cli, ProjectOptions } from "../../cli.js";
import { configOf, registeredPipeline, withProjectLedger } from "../../project.js";
import { rowDeliveryLines } from "../../reports/delivery-text.js";
import { EXIT_STATUS } from "../../screen/exit-status.js";
import type { Terminal } from "../../screen/terminal.js";
import { counted, formatCount, formatTime, shortId } from "../../screen/text.js";

const ANSWER_NAMES: Readonly<Record<string, string>> = {
  invalid: "unusable answer",
  truncated: "answer cut off",
  cutShort: "answer cut off",
  refused: "refusal",
  stale: "answer to an earlier version of the row or config",
  gone: "answer for a deleted row",
  unwritable: "answer that could not be written",
};

export async function runShow(
  { terminal }: Cli,
  ...[name, key, options]: [name: string, key: readonly string[], options: ProjectOptions & { readonly json?: true }]
): Promise<number> {
  const { story, dialect } = await withProjectLedger(terminal, options, async ({ database, project }) => {
    const row = await registeredPipeline(database, name);
    const { dialect: words } = choiceOf(project, row.name);
    return { story: await readRowStory(database, row, { config: configOf(project, row.name), key }), dialect: words };
  });
  const style = { ...terminal, accountText: (account: string) => dialect.accountText(account) };
  if (options.json) terminal.data(JSON.stringify({ ...story, tries: story.tries.map(rowTryJson) }));
  else for (const line of renderStory(story, style)) terminal.quote(line);
  if (story.request !== null) return EXIT_STATUS.ok;
  if (!options.json)
    terminal.note(`There is no request for this key in ${story.pipeline}. Find new rows: rowmill sweep`);
  return EXIT_STATUS.usage;
}

type Style = Pick<Terminal, "bold" | "ago"> & Pick<AccountWords, "accountText">;

export function renderStory(story: RowStory, style: Style): string[] {
  const section = (title: string, lines: readonly string[]) =>
    lines.length === 0 ? [] : [style.bold(title), ...lines.map((line) => `  ${line}`), ""];
  return [
    ...section(proseLine(`${story.pipeline} ${story.key}`), requestLines(story, style)),
    ...section("row", rowLines(story.row)),
    ...story.attempts.flatMap((attempt) => section(`attempt ${attempt.attempt}`, attemptLines(attempt, story.events))),
    ...story.tries.flatMap((tried) => section(`try ${tried.try}`, tryLines(tried))),
    ...section("older tries", olderTries(story)),
    ...section("result", resultLines(story.result)),
    ...section("delivery", story.delivery === null ? [] : rowDeliveryLines(story.delivery, style)),
  ].slice(0, -1);
}

function requestLines({ request, refused, row }: RowStory, style: Style): string[] {
  if (request === null) return [missingText(refused, row)];
  const error = [request.errorCode, request.error].filter((part) => part !== null).join(": ");
  return [
    `${request.state}${whereText(request)}`,
    ...(error === "" ? [] : [proseLine(`error: ${error}`)]),
    `${counted(request.attempt, "attempt")}; ${counted(request.tries, "unusable answer")} for this content`,
    `first seen ${timeText(request.createdAt, style)}, changed ${timeText(request.changedAt, style)}`,
    ...answererLines(request, style),
  ];
}

function answererLines({ answeredBy, answeredVersion, demo }: RequestStory, { accountText }: Style): string[] {
  if (answeredBy === null) return [];
  const version = answeredVersion === null ? "" : `, version ${answeredVersion} of the config`;
  return [`answered by ${accountText(answeredBy)}${demo ? ", the demo model" : ""}${version}`];
}

function missingText(refused: string | null, row: RowNow): string {
  if (refused !== null) return `refused: ${refused}`;
  if (row.state === "absent") return "unknown: no row has this key";
  if (row.state === "unknown") return "unknown to Rowmill";
  return row.matchesWhere
    ? "unknown: the row exists, but Rowmill has not seen it yet"
    : "unknown: the row exists, but source.where excludes it";
}

function timeText(at: Date, { ago }: Style): string {
  const since = ago(at);
  return since === null ? formatTime(at) : `${formatTime(at)} (${since})`;
}

function whereText(request: RequestStory): string {
  if (request.batchId !== null) return ` in batch ${request.batchId}`;
  if (request.notBefore === null) return "";
  return `, not before ${formatTime(request.notBefore)}`;
}

function rowLines(row: RowNow): string[] {
  if (row.state === "absent") return ["no row has this key anymore"];
  if (row.state === "unknown") return [row.reason];
  const note = row.matchesWhere ? [] : ["(source.where excludes this row)"];
  return [...note, ...cellLines(row.cells)];
}

function resultLines(result: ResultNow): string[] {
  if (result.state === "absent") return ["none yet"];
  return result.state === "unknown" ? [result.reason] : cellLines(result.cells);
}

function attemptLines(attempt: AttemptStory, events: readonly BatchEventStory[]): string[] {
  const outcome =
    attempt.ending === null || attempt.at === null
      ? `in progress: the batch is ${attempt.batchState}`
      : `${attempt.ending} (${attempt.outcome}) ${formatTime(attempt.at)}`;
  const detail = attempt.detail === null ? [] : [proseLine(attempt.detail)];
  const answer = attempt.answer === null ? [] : labelled(`${answerName(attempt.outcome)}:`, attempt.answer);
  const written =
    attempt.writtenAt === null
      ? []
      : [`kept answer written by rowmill retry at no cost, ${formatTime(attempt.writtenAt)}`];
  return [
    outcome,
    ...detail,
    ...written,
    ...answer,
    ...usageLines(attempt),
    `batch ${attempt.batchId}${attempt.version === null ? "" : `, version ${attempt.version} of the config`}`,
    ...(attempt.providerBatchId === null ? [] : [`at ${attempt.provider}: ${attempt.providerBatchId}`]),
    ...events.filter((event) => event.batchId === attempt.batchId).map(eventText),
  ];
}

function usageLines(attempt: AttemptStory): string[] {
  if (attempt.sharedWith !== null)
    return [proseLine(`shared the line of row ${attempt.sharedWith}, which asked the same, at no cost`)];
  if (attempt.ending === null || attempt.inputTokens + attempt.outputTokens === 0) return [];
  const cost = attempt.costNanoUsd === null ? "unknown price" : formatUsd(attempt.costNanoUsd);
  const cached = attempt.cachedInputTokens === 0 ? "" : ` (${formatCount(attempt.cachedInputTokens)} cached)`;
  const input = `${formatCount(attempt.inputTokens)} input${cached}`;
  const tokens = `${input} and ${formatCount(attempt.outputTokens)} output tokens`;
  return [`${attempt.model ?? "unnamed model"}: ${tokens}, ${cost}`];
}

function eventText(event: BatchEventStory): string {
  const move = event.from === null ? event.to : `${event.from} → ${event.to}`;
  return `  ${formatTime(event.at)}  batch ${shortId(event.batchId)} ${move} (${event.reason})`;
}

/** Of `rowmill try`: paid live, and no result before it is accepted. */
export function tryLines(tried: RowTry): string[] {
  const { outcome, askedAt, detail, cells, answer, acceptedAt, batchId } = tried;
  const shown = cells !== null ? cellLines(cells) : answer === null ? [] : labelled(`${answerName(outcome)}:`, answer);
  const accepted = acceptedAt === null ? [] : [`accepted ${formatTime(acceptedAt)}, in batch ${batchId}`];
  return [
    `${outcome ?? "unknown: its call was not finished"} ${formatTime(askedAt)}${askedText(tried)}`,
    ...(detail === null ? [] : [proseLine(detail)]),
    ...shown,
    ...triedUsageLines(tried),
    ...accepted,
  ];
}

/** What differed from the config then, and whether it is the pipeline's definition now. */
function askedText({ overridden, isCurrent }: RowTry): string {
  const changed = [
    ...(overridden.model === true ? ["another model"] : []),
    ...(overridden.prompt === undefined ? [] : [proseLine(overridden.prompt)]),
  ];
  if (changed.length > 0) return `, with ${changed.join(" and ")}`;
  return isCurrent ? "" : ", by another config";
}

function triedUsageLines(tried: RowTry): string[] {
  const { inputTokens, outputTokens, costNanoUsd, reservedNanoUsd, model, latencyMs } = tried;
  if (reservedNanoUsd > 0) return [`${proseLine(model)}: counted at up to ${formatUsd(reservedNanoUsd)}`];
  if (inputTokens + outputTokens === 0) return [];
  const cost = costNanoUsd === null ? "unknown price" : formatUsd(costNanoUsd);
  const took = latencyMs === null ? "" : `, ${formatCount(latencyMs)} ms`;
  const tokens = `${formatCount(inputTokens)} input and ${formatCount(outputTokens)} output tokens`;
  return [`${proseLine(model)}: ${tokens}, ${cost} live${took}`];
}

export function olderTries({ triesMore }: RowStory): string[] {
  return triesMore === 0 ? [] : [`${formatCount(triesMore)} more`];
}

/** As in `try --json`, with money in dollars. */
export function rowTryJson({ costNanoUsd, reservedNanoUsd, cells, answer, ...tried }: RowTry): object {
  return {
    ...tried,
    ...(cells === null ? { text: answer } : { answer: cells }),
    costUsd: costNanoUsd === null ? null : costNanoUsd / 1e9,
    reservedUsd: reservedNanoUsd / 1e9,
  };
}

export function cellLines(cells: Readonly<Record<string, unknown>>): string[] {
  const named = Object.entries(cells).map(([name, value]) => [proseLine(name), value] as const);
  const width = Math.max(0, ...named.map(([name]) => name.length));
  return named.flatMap(([name, value]) =>
    labelled(name.padEnd(width), typeof value === "string" ? value : value === null ? "null" : JSON.stringify(value)),
  );
}

/** Further lines of a text are aligned below its first one. */
export function labelled(label: string, text: string): string[] {
  const [first = "", ...more] = text.split("\n").map(proseLine);
  return [`${label}  ${first}`, ...more.map((line) => `${" ".repeat(label.length)}  ${line}`)];
}

/** An answer that is not in the target may still be a good one: its outcome says why. */
export function answerName(outcome: string | null): string {
  return ANSWER_NAMES[outcome ?? ""] ?? "answer";
}
