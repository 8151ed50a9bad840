/** Owns how `rowmill batches` and `rowmill log` look. Pure but for the terminal's width, style and clock. */
import { formatUsd } from "../../model/provider/pricing.js";
import { proseLine } from "../../model/words/one-line.js";
import type { BatchStory, ListedBatch, LoggedEvent, OutcomeCount } from "../../store/batches/batch-list.js";
import { renderTable, type TableColumn } from "../screen/lay-out.js";
import type { Terminal } from "../screen/terminal.js";
import { counted, formatCount, formatTime, formatDuration, shortId } from "../screen/text.js";
import { sharingJson, sharingText } from "./sharing-text.js";

type Style = Pick<Terminal, "columns" | "bold" | "ago">;

/** The widest table that fits is shown: without these, one list after the other. */
const LEFT_OUT: readonly (readonly string[])[] = [
  [],
  ["provider's ID"],
  ["provider's ID", "returned", "took"],
  ["provider's ID", "returned", "took", "submitted"],
  ["provider's ID", "returned", "took", "submitted", "failed", "done"],
];

const HEADER: readonly TableColumn[] = [
  { title: "batch", align: "left" },
  { title: "pipeline", align: "left" },
  { title: "state", align: "left" },
  { title: "requests", align: "right" },
  { title: "done", align: "right" },
  { title: "failed", align: "right" },
  { title: "returned", align: "right" },
  { title: "submitted", align: "left" },
  { title: "took", align: "right" },
  { title: "cost", align: "right" },
  { title: "provider's ID", align: "left" },
];

export function batchTable(batches: readonly ListedBatch[], style: Style): string[] {
  if (batches.length === 0) return [];
  const rows = batches.map((batch) => [
    shortId(batch.id),
    batch.pipeline,
    stateWords(batch),
    ...[batch.requests, doneOf(batch), batch.failed, batch.returned].map(formatCount),
    batch.submittedAt === null ? "" : (style.ago(batch.submittedAt) ?? formatTime(batch.submittedAt)),
    batch.submittedAt === null ? "" : formatDuration(batch.elapsedMs),
    moneyWords(batch),
    batch.providerBatchId ?? "",
  ]);
  const [first = "", ...rest] = widestTable(rows, style.columns());
  return [first.startsWith("batch ") ? style.bold(first) : first, ...rest];
}

function widestTable(rows: readonly (readonly string[])[], columns: number): string[] {
  for (const left of LEFT_OUT) {
    const isShown = HEADER.map(({ title }) => !left.includes(title));
    const shown = (row: readonly string[]) => row.filter((_, index) => isShown[index]);
    const header = HEADER.filter((_, index) => isShown[index]);
    const table = renderTable(header, rows.map(shown), columns);
    if (table[0]?.startsWith("batch ") === true) return table;
  }
  return renderTable(HEADER, rows, columns);
}

/** Answered and accepted; while the provider works on it, what it says is done. */
function doneOf({ succeeded, failed, done, state }: ListedBatch): number {
  return state === "running" ? Math.max(done ?? 0, succeeded + failed) : succeeded;
}

/** As every command calls the states of a batch. */
export const STATE_WORDS: Readonly<Record<ListedBatch["state"], string>> = {
  planned: "planned",
  uploading: "uploading",
  submitting: "submitting",
  running: "running",
  collecting: "collecting",
  settled: "done",
  rejected: "refused",
  cancelled: "given up",
};

type Standing = Pick<ListedBatch, "state" | "cancelWanted" | "presumed" | "succeeded" | "requests">;

export function stateWords({ state, cancelWanted, presumed, succeeded, requests }: Standing): string {
  const isOpen = state !== "settled" && state !== "rejected" && state !== "cancelled";
  if (cancelWanted && isOpen) return "canceling";
  if (cancelWanted && state !== "cancelled") return succeeded === requests && requests > 0 ? "done" : "canceled";
  return presumed ? `${STATE_WORDS[state]}?` : STATE_WORDS[state];
}

function moneyWords({ costNanoUsd, lostNanoUsd, reservedNanoUsd, unpriced }: ListedBatch): string {
  if (reservedNanoUsd > 0) return `≤ ${formatUsd(reservedNanoUsd)}`;
  return unpriced > 0 ? "unknown" : formatUsd(costNanoUsd + lostNanoUsd);
}

/** The shape of one entry of `batches --json`. */
export function batchJson(batch: ListedBatch): Readonly<Record<string, unknown>> {
  const { id, pipeline, version, state, provider, providerBatchId, providerStatus, model, requests } = batch;
  const { succeeded, failed, returned, unpriced, cancelWanted } = batch;
  return {
    batch: id,
    pipeline,
    version,
    state,
    stateText: stateWords(batch),
    cancelWanted,
    provider,
    providerBatchId,
    providerStatus,
    model,
    requests,
    done: doneOf(batch),
    succeeded,
    failed,
    returned,
    plannedAt: batch.plannedAt.toISOString(),
    submittedAt: batch.submittedAt?.toISOString() ?? null,
    settledAt: batch.settledAt?.toISOString() ?? null,
    elapsedSeconds: Math.round(batch.elapsedMs / 1_000),
    likelyUsd: batch.likelyNanoUsd === null ? null : batch.likelyNanoUsd / 1e9,
    reservedUsd: batch.reservedNanoUsd / 1e9,
    costUsd: (batch.costNanoUsd + batch.lostNanoUsd) / 1e9,
    ...sharingJson(batch),
    unpriced,
  };
}

export interface BatchLog {
  readonly story: BatchStory;
  readonly events: readonly LoggedEvent[];
  readonly outcomes: readonly OutcomeCount[];
  /** The account in words. */
  readonly place: string;
}

const ERRORS_SHOWN = 5;

export function logLines({ story, events, outcomes, place }: BatchLog, style: Style): string[] {
  const { id, pipeline, version, model, provider } = story;
  const facts: readonly (readonly [string, string | null])[] = [
    ["state", stateWords(story)],
    ["asked", `${model} at ${provider} (${place})`],
    ["version", version === null ? null : `${version} of the config (rowmill versions ${pipeline})`],
    ["provider", providerText(story)],
    ["cancel", cancelText(story)],
    ["trouble", troubleText(story)],
    ["requests", accountsText(story)],
    ["shared", sharingText(story)],
    ["endings", outcomes.map(({ outcome, rows }) => `${formatCount(rows)} ${outcome}`).join(", ")],
    ["tokens", tokensText(story)],
    ["money", moneyText(story)],
    ["file", fileText(story)],
    ...errorsOf(story.providerErrors).map((text): [string, string] => ["error", text]),
  ];
  const shown = facts.flatMap(([title, text]) =>
    text === null || text === "" ? [] : [`  ${title.padEnd(8)}  ${proseLine(text)}`],
  );
  const log = events.map(({ at, from, to, reason }) => {
    const move = from === null || from === to ? to : `${from} → ${to}`;
    return `  ${formatTime(at)}  ${proseLine(`${move}: ${reason}`)}`;
  });
  return [style.bold(`batch ${id} of ${proseLine(pipeline)}`), ...shown, "", style.bold("events"), ...log];
}

function providerText({ providerBatchId, providerStatus, providerCounts, presumed }: BatchStory): string | null {
  if (providerBatchId === null) return "not sent";
  const status = providerStatus === null ? "" : `, ${providerStatus}`;
  const probably = presumed ? ", probably: its results will confirm it" : "";
  return `${providerBatchId}${status}${countsText(providerCounts)}${probably}`;
}

function countsText(counts: unknown): string {
  if (typeof counts !== "object" || counts === null) return "";
  const { total, completed, failed }: { total?: unknown; completed?: unknown; failed?: unknown } = counts;
  // Some count only what they have validated.
  if (total === 0) return "";
  if (typeof total !== "number" || typeof completed !== "number" || typeof failed !== "number") return "";
  return `, ${formatCount(completed)} of ${formatCount(total)} completed, ${formatCount(failed)} failed`;
}

function cancelText({ cancelWantedAt, cancelWantedBy, drops }: BatchStory): string | null {
  if (cancelWantedAt === null) return null;
  const what = drops ? "; rows without an answer are dropped" : "; rows without an answer wait again";
  return `wanted by ${cancelWantedBy ?? "someone"} at ${formatTime(cancelWantedAt)}${what}`;
}

function troubleText({ trouble, troubleSince, failures }: BatchStory): string | null {
  if (trouble === null || troubleSince === null) return null;
  const tries = failures > 1 ? `${formatCount(failures)} tries in a row failed` : "the last try failed";
  return `${tries}, since ${formatTime(troubleSince)}: ${trouble}`;
}

/** While it is planned, its requests are those queued for it. */
function accountsText({ requests, succeeded, failed, returned, inFlight, state }: BatchStory): string {
  if (state === "planned") return `${counted(requests, "request")} queued`;
  const parts = [`${formatCount(succeeded)} succeeded`, `${formatCount(failed)} failed`];
  const open = inFlight === null ? [] : [`${formatCount(inFlight)} open`];
  return `${formatCount(requests)} = ${[...parts, `${formatCount(returned)} returned`, ...open].join(" + ")}`;
}

function tokensText({ inputTokens, cachedInputTokens, outputTokens }: BatchStory): string | null {
  if (inputTokens + outputTokens === 0) return null;
  const cached = cachedInputTokens === 0 ? "" : ` (${formatCount(cachedInputTokens)} cached)`;
  return `${formatCount(inputTokens)} input${cached}, ${formatCount(outputTokens)} output`;
}

function moneyText(story: BatchStory): string {
  const { costNanoUsd, lostNanoUsd, reservedNanoUsd, likelyNanoUsd, liveNanoUsd, unpriced } = story;
  const parts = [
    unpriced > 0 ? `${counted(unpriced, "paid answer")} of unknown price` : `${formatUsd(costNanoUsd)} spent`,
    ...(lostNanoUsd > 0 ? [`${formatUsd(lostNanoUsd)} given up`] : []),
    ...(reservedNanoUsd > 0 ? [`at most ${formatUsd(reservedNanoUsd)} reserved`] : []),
    ...(likelyNanoUsd === null ? [] : [`estimated ${formatUsd(likelyNanoUsd)}`]),
    ...(costNanoUsd > 0 ? [`live requests: ${formatUsd(liveNanoUsd)}`] : []),
  ];
  return parts.join(", ");
}

function fileText({ lines, spoolBytes, adopted, shared, forgottenAt, settledAt }: BatchStory): string | null {
  const parts = [
    ...(lines === null ? [] : [counted(lines, "line")]),
    ...(spoolBytes === null ? [] : [`${formatCount(spoolBytes)} bytes`]),
    ...(adopted ? ["adopted: its files are yours"] : []),
    ...(shared ? ["another database has it too"] : []),
    ...(settledAt === null
      ? []
      : [forgottenAt === null ? "files left at the provider" : "files deleted at the provider"]),
  ];
  return lines === null ? null : parts.join(", ");
}

function errorsOf(errors: unknown): string[] {
  if (!Array.isArray(errors)) return [];
  const texts = errors.slice(0, ERRORS_SHOWN).flatMap((error: unknown): string[] => {
    if (typeof error !== "object" || error === null) return [];
    const { line, message }: { line?: unknown; message?: unknown } = error;
    if (typeof message !== "string") return [];
    return [typeof line === "number" ? `line ${line}: ${message}` : message];
  });
  const more = errors.length - texts.length;
  return more > 0 ? [...texts, `… and ${counted(more, "more error")}`] : texts;
}

/** The shape of `log --json`. */
export function logJson({ story, events, outcomes }: BatchLog): object {
  return {
    ...batchJson(story),
    account: story.account,
    definitionHash: story.definitionHash,
    inFlight: story.inFlight,
    lines: story.lines,
    bytes: story.spoolBytes,
    inputTokens: story.inputTokens,
    cachedInputTokens: story.cachedInputTokens,
    outputTokens: story.outputTokens,
    lostUsd: story.lostNanoUsd / 1e9,
    liveUsd: story.liveNanoUsd / 1e9,
    presumed: story.presumed,
    adopted: story.adopted,
    shared: story.shared,
    creates: story.creates,
    providerCounts: story.providerCounts,
    providerErrors: story.providerErrors,
    providerData: story.providerData,
    filesDeletedAt: story.forgottenAt?.toISOString() ?? null,
    cancel:
      story.cancelWantedAt === null
        ? null
        : { wantedAt: story.cancelWantedAt.toISOString(), by: story.cancelWantedBy, drop: story.drops },
    trouble:
      story.trouble === null
        ? null
        : { message: story.trouble, since: story.troubleSince?.toISOString() ?? null, tries: story.failures },
    outcomes,
    events: events.map(({ at, from, to, reason }) => ({ at: at.toISOString(), from, to, reason })),
  };
}
