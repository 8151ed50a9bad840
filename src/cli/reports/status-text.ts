/** Owns how `rowmill status` looks. Pure but for the terminal's width, style and clock. */
import { proseLine } from "../../model/words/one-line.js";
import { asSentence } from "../../model/words/as-sentence.js";
import { overdueText, type OverdueBatch } from "../../model/batch/overdue.js";
import { refusedPushText } from "../../model/words/refused-push-text.js";
import { formatUsd } from "../../model/provider/pricing.js";
import type { heldText } from "../../model/provider/account.js";
import type {
  BatchOverview,
  EventOverview,
  LivingWorker,
  MoneyOverview,
  PipelineOverview,
} from "../../store/ledger/overview.js";
import type { SyncOverview } from "../../store/syncs/sync-overview.js";
import type { Standing } from "../../store/deliveries/deliverers.js";
import type { ListedRefusal } from "../../store/replicas/refused-pushes.js";
import type { UnnamedRows } from "../../store/requests/refused-keys.js";
import type { FailureGroup } from "../../store/requests/failures.js";
import type { AccountWait } from "../../store/batches/money.js";
import type { BatchProgress } from "../../store/batches/batch-progress.js";
import { undecidedText } from "../screen/changed-rows.js";
import { renderTable, type TableColumn } from "../screen/lay-out.js";
import type { Terminal } from "../screen/terminal.js";
import { counted, fit, fitKey, formatCount, formatDuration, formatTime, formatWait, shortId } from "../screen/text.js";
import { deliveryLines } from "./delivery-text.js";
import { progressText, troubleText } from "./batch-progress-text.js";
import { stateWords } from "./batch-text.js";

const NOTE_CHARACTERS = 160;
const TROUBLE_CHARACTERS = 300;

export interface StatusFacts {
  readonly place: string;
  readonly pipelines: readonly (PipelineOverview & {
    readonly paused: string | null;
    /** Why waiting rows are in no batch, though it is not paused. */
    readonly heldBack: string | null;
    readonly topFailure: FailureGroup | null;
  })[];
  readonly money: readonly MoneyOverview[];
  readonly batches: readonly BatchOverview[];
  /** Of the unfinished ones, those at the provider first. */
  readonly progress: readonly BatchProgress[];
  readonly held: readonly ReturnType<typeof heldText>[];
  readonly overdue: readonly OverdueBatch[];
  /** Accounts that get no requests for now; `place`: the account in words. */
  readonly waits: readonly (AccountWait & { readonly place: string })[];
  /** Of the last 24 hours. */
  readonly refusedPushes: readonly ListedRefusal[];
  /** Sources elsewhere, and how far their reading is. */
  readonly syncs: readonly SyncOverview[];
  /** Of pipelines whose target is elsewhere. */
  readonly deliveries: readonly Standing[];
  readonly events: readonly EventOverview[];
  readonly workers: readonly LivingWorker[];
  readonly promises: readonly { readonly title: string; readonly short: string }[];
}

type Style = Pick<Terminal, "columns" | "bold" | "dim" | "ago">;

export function renderStatus(facts: StatusFacts, style: Style): string[] {
  return [
    ...pipelineLines(facts, style),
    ...pipelineNotes(facts),
    ...deliveryLines(facts.deliveries),
    ...batchLines(facts, style),
    ...progressLines(facts),
    ...heldLines(facts),
    ...overdueLines(facts),
    ...presumedLines(facts),
    ...waitLines(facts),
    ...syncLines(facts),
    ...refusedPushLines(facts),
    ...eventLines(facts, style),
    "",
    workerLine(facts),
    ...changedWorkers(facts).map((text) => proseLine(`! ${text}. Restart it to apply the change: rowmill up`)),
    ...facts.promises.map(({ title, short }) => style.dim(`After a lost reply at ${title}: ${short}.`)),
    style.dim(proseLine(`State: ${facts.place}`)),
  ];
}

function pipelineLines(facts: StatusFacts, style: Style): string[] {
  if (facts.pipelines.length === 0) return ["There are no pipelines yet. Set up those of your config: rowmill up"];
  const rare = (["cancelled", "gone"] as const).filter((state) =>
    facts.pipelines.some((pipeline) => pipeline[state] > 0),
  );
  const states = ["waiting", "batched", "succeeded", "failed", ...rare] as const;
  const money = new Map(facts.money.map((sum) => [sum.pipelineId, sum]));
  const header: TableColumn[] = [
    { title: "pipeline", align: "left" },
    ...[...states, "spent", "reserved"].map((title): TableColumn => ({ title, align: "right" })),
  ];
  const rows = facts.pipelines.map((pipeline) => {
    const sum = money.get(pipeline.id);
    return [
      pipeline.name,
      ...states.map((state) => formatCount(pipeline[state])),
      (sum?.unpriced ?? 0) > 0 ? "unknown" : formatUsd(sum?.spentNanoUsd ?? 0),
      formatUsd(sum?.reservedNanoUsd ?? 0),
    ];
  });
  return emphasised(renderTable(header, rows, style.columns()), style);
}

/** The line of titles is bold, where there is one: narrow terminals show blocks instead of a table. */
function emphasised(lines: readonly string[], style: Style): string[] {
  const [first = "", ...rest] = lines;
  return [/^(pipeline|batch) /.test(first) ? style.bold(first) : first, ...rest];
}

/** A paragraph for each thing that you may want to act on. */
function pipelineNotes({ pipelines }: StatusFacts): string[] {
  return pipelines.flatMap((pipeline) => {
    const { unnamed, arrivals } = pipeline;
    const notes: readonly (readonly [sign: "! " | "✗ " | "", text: string | null])[] = [
      [pipeline.paused === null && pipeline.heldBack === null ? "" : "! ", waitNote(pipeline)],
      ["✗ ", failureNote(pipeline)],
      ["! ", pipeline.undecided === 0 ? null : undecidedText(pipeline.name, pipeline.undecided)],
      ...unnamed.map((rows) => ["✗ ", keyNote(rows)] as const),
      ["", arrivals === 0 ? null : `${counted(arrivals, "changed row")} not processed yet`],
    ];
    return notes.flatMap(([sign, text]) => (text === null ? [] : ["", proseLine(`${sign}${pipeline.name}: ${text}`)]));
  });
}

function waitNote(pipeline: StatusFacts["pipelines"][number]): string | null {
  const { name, paused, heldBack, deadlineMs, isFlushed } = pipeline;
  if (paused !== null) {
    const word = pipeline.pauseReason === null ? "" : "paused: ";
    return `${word}${paused.replace(/\.$/, "")}`;
  }
  if (heldBack !== null) return heldBack;
  if (deadlineMs === null) return null;
  if (deadlineMs <= 0 || isFlushed) return "a batch is due";
  return `the next batch starts within ${formatWait(deadlineMs)}. Start it now: rowmill flush ${name}`;
}

function failureNote({ name, failed, topFailure }: StatusFacts["pipelines"][number]): string | null {
  // Of rows without a usable key, `keyNote` says more.
  if (topFailure === null || topFailure.reason === "refusedKey") return null;
  const { rows, reason, message } = topFailure;
  const part = rows === failed ? "" : `, ${formatCount(rows)} of them`;
  const why = asSentence(fit(message, NOTE_CHARACTERS));
  return `${counted(failed, "row")} failed${part}: ${reason}: ${why} All reasons and fixes: rowmill failures ${name}`;
}

function keyNote({ rows, example, reason }: UnnamedRows): string {
  return `${counted(rows, "failed row")} cannot be sent because of the key, such as ${fitKey(example)}: ${reason}`;
}

const BATCH_HEADER: readonly TableColumn[] = [
  { title: "batch", align: "left" },
  { title: "pipeline", align: "left" },
  { title: "state", align: "left" },
  { title: "requests", align: "right" },
  { title: "succeeded", align: "right" },
  { title: "failed", align: "right" },
  { title: "returned", align: "right" },
  { title: "next check", align: "left" },
];

function batchLines(facts: StatusFacts, style: Style): string[] {
  if (facts.batches.length === 0) return [];
  const rows = facts.batches.map((batch) => [
    shortId(batch.id),
    batch.pipeline,
    stateWords(batch),
    ...[batch.requests, batch.succeeded, batch.failed, batch.returned].map(formatCount),
    batch.nextLookMs === null ? "" : formatWait(batch.nextLookMs),
  ]);
  return ["", ...emphasised(renderTable(BATCH_HEADER, rows, style.columns()), style)];
}

/** How they stand, in one paragraph; a paragraph of its own for what fails. */
function progressLines({ progress }: StatusFacts): string[] {
  const lines = progress
    .map((batch) => (batch.trouble === null ? progressText(batch) : null))
    .filter((line) => line !== null);
  const troubles = progress.map(troubleText).filter((text) => text !== null);
  return [...(lines.length === 0 ? [] : ["", ...lines]), ...troubles.flatMap((text) => ["", `! ${text}`])];
}

function heldLines({ held }: StatusFacts): string[] {
  return held.flatMap(({ wrong, fixes }) => [
    "",
    `! ${proseLine(wrong)}`,
    ...fixes.map((fix) => `  ${proseLine(fix)}`),
  ]);
}

function overdueLines({ overdue }: StatusFacts): string[] {
  return overdue.flatMap((batch) => {
    const { wrong, fix } = overdueText(batch);
    return ["", proseLine(`! ${wrong} ${fix}`)];
  });
}

function presumedLines({ batches }: StatusFacts): string[] {
  return batches.flatMap(({ presumed, id, pipeline, provider, providerBatchId }) =>
    presumed
      ? [
          "",
          `Batch ${shortId(id)} of ${pipeline} is probably ${providerBatchId} at ${provider}, judging by time and ` +
            "number of requests. Its results will confirm it; until then Rowmill does not cancel it.",
        ]
      : [],
  );
}

function waitLines({ waits }: StatusFacts): string[] {
  return waits.flatMap(({ place, model, waitMs, message }) => [
    "",
    proseLine(
      `! Nothing is sent to ${place} for ${model} now. Next try in ${formatWait(waitMs)}. It answered: ${message}`,
    ),
  ]);
}

/** One line, and another for what is wrong. */
function syncText(sync: SyncOverview): string[] {
  const { pipeline, fullRows, endedAt, nextMs } = sync;
  const source = fullRows === null ? "its source" : `its source of ${counted(fullRows, "row")}`;
  const last = endedAt === null ? "was not read to its end yet" : `was last read at ${formatTime(endedAt)}`;
  const next = nextMs < 500 ? "its next reading is due" : `next reading in ${formatWait(nextMs)}`;
  return [`${pipeline}: ${underWay(sync) ?? `${source} ${last}; ${next}`}`, ...syncProblems(sync)];
}

/** Null: nothing is. */
function underWay({ phase, isFull, rows, gone, failures }: SyncOverview): string | null {
  if (phase === "deleting") return `deleting ${counted(gone, "row")} that vanished from its source`;
  if (phase === "idle" || failures > 0) return null;
  return `reading ${isFull ? "all rows" : "changed rows"} of its source, ${formatCount(rows)} so far`;
}

function syncProblems({ pipeline, trouble, troubleMs, failures, nextMs, held, gone }: SyncOverview): string[] {
  const why = trouble === null ? "" : asSentence(fit(trouble, TROUBLE_CHARACTERS));
  const since = failures > 1 && troubleMs !== null ? ` ${failures} times in ${formatDuration(troubleMs)}` : "";
  const next = nextMs < 500 ? "The next try is due." : `Next try in ${formatWait(nextMs)}.`;
  return [
    ...(trouble === null ? [] : [`! ${pipeline}: its source could not be read${since}: ${why} ${next}`]),
    ...(held
      ? [
          `! ${pipeline}: ${counted(gone, "row")} vanished from its source. If that is right: ` +
            `rowmill sync ${pipeline} --accept-deletions`,
        ]
      : []),
  ];
}

function refusedPushLines({ refusedPushes }: StatusFacts): string[] {
  return refusedPushes.flatMap((refusal) => {
    const { wrong, fix } = refusedPushText(refusal);
    const who = refusal.pipeline ?? "Unknown caller";
    const last = `Last at ${formatTime(refusal.lastAt)}`;
    return ["", proseLine(`! ${who}: ${asSentence(fit(wrong, NOTE_CHARACTERS))} ${last}. ${asSentence(fix)}`)];
  });
}

function syncLines({ syncs }: StatusFacts): string[] {
  return syncs.flatMap((sync) => ["", ...syncText(sync).map(proseLine)]);
}

function eventLines({ events }: StatusFacts, style: Style): string[] {
  if (events.length === 0) return [];
  const lines = events.map(({ at, pipeline, batchId, event, reason }) => {
    const batch = batchId === null ? "" : ` ${shortId(batchId)}`;
    const why = reason === null ? "" : ` (${reason})`;
    return `${style.ago(at) ?? formatTime(at)}  ${proseLine(`${pipeline}${batch}: ${event}${why}`)}`;
  });
  return ["", style.bold("last events"), ...lines];
}

function workerLine({ workers }: StatusFacts): string {
  if (workers.length === 0) return "! No worker is running, so nothing moves. Start one: rowmill up";
  const names = workers.map((worker) => `process ${worker.pid} on ${worker.host}`);
  return proseLine(`✓ ${counted(workers.length, "worker")}: ${names.join(", ")}`);
}

/** A sentence without a full stop for each worker whose config was changed. */
export function changedWorkers({ workers }: Pick<StatusFacts, "workers">): string[] {
  return workers.flatMap(({ configChangedAt, pid, host }) =>
    configChangedAt === null
      ? []
      : [`The config changed at ${formatTime(configChangedAt)}; process ${pid} on ${host} still uses the previous one`],
  );
}
