/** Owns how `rowmill status` looks to a person. Pure but for the terminal's width and style. */
import { overdueText, type OverdueBatch } from "../../model/batch/overdue.js";
import { formatUsd } from "../../model/provider/pricing.js";
import type { heldText } from "../../model/provider/account.js";
import type {
  BatchOverview,
  EventOverview,
  LivingWorker,
  MoneyOverview,
  PipelineOverview,
} from "../../store/ledger/overview.js";
import type { UnnamedRows } from "../../store/requests/refused-keys.js";
import type { FailureGroup } from "../../store/requests/failures.js";
import type { AccountWait } from "../../store/batches/money.js";
import { topFailureText } from "./failure-text.js";
import { renderTable, wrap, wrapQuoted, type TableColumn } from "./table.js";
import type { Terminal } from "../screen/terminal.js";
import { counted, fitKey, formatCount, formatTime, formatWait, shortId } from "./text.js";

export interface StatusFacts {
  readonly place: string;
  readonly pipelines: readonly (PipelineOverview & {
    readonly paused: string | null;
    readonly personPaused: boolean;
    readonly topFailure: FailureGroup | null;
  })[];
  readonly money: readonly MoneyOverview[];
  readonly batches: readonly BatchOverview[];
  readonly held: readonly ReturnType<typeof heldText>[];
  readonly overdue: readonly OverdueBatch[];
  /** Accounts to which nothing is sent for now; `place`: the account in words. */
  readonly waits: readonly (AccountWait & { readonly place: string })[];
  readonly events: readonly EventOverview[];
  readonly workers: readonly LivingWorker[];
  /** Of each provider that the config names. */
  readonly promises: readonly { readonly title: string; readonly short: string }[];
}

type Style = Pick<Terminal, "columns" | "bold" | "dim">;

export function renderStatus(facts: StatusFacts, style: Style): string[] {
  return [
    ...pipelineLines(facts, style),
    ...pauseLines(facts, style),
    ...batchLines(facts, style),
    ...heldLines(facts, style),
    ...overdueLines(facts, style),
    ...presumedLines(facts, style),
    ...waitLines(facts, style),
    ...eventLines(facts, style),
    "",
    ...workerLines(facts.workers, style.columns()),
    ...facts.promises.flatMap(({ title, short }) =>
      wrap(`After a lost reply at ${title}: ${short}.`, style.columns(), "").map((line) => style.dim(line)),
    ),
    ...wrapQuoted(`State: ${facts.place}`, style.columns()).map((line) => style.dim(line)),
  ];
}

function pipelineLines(facts: StatusFacts, style: Style): string[] {
  if (facts.pipelines.length === 0) return ["There are no pipelines yet. Set them up: rowmill up"];
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

/** The line of titles, where the rows are laid out as a table. */
function emphasised(lines: readonly string[], style: Style): string[] {
  const [first = "", ...rest] = lines;
  return [/^(pipeline|batch) /.test(first) ? style.bold(first) : first, ...rest];
}

/** One paragraph for each pipeline that does not simply go on. */
function pauseLines(facts: StatusFacts, style: Style): string[] {
  return facts.pipelines.flatMap((pipeline) => {
    const notes = [
      waitNote(pipeline),
      failureNote(pipeline),
      ...pipeline.unnamed.map(keyNote),
      arrivalNote(pipeline),
    ];
    return notes.flatMap((note) =>
      note === null ? [] : ["", ...wrapQuoted(`${pipeline.name}: ${note}`, style.columns())],
    );
  });
}

function waitNote(pipeline: StatusFacts["pipelines"][number]): string | null {
  if (pipeline.paused !== null) {
    const wayOn = pipeline.personPaused ? `. To go on: rowmill resume ${pipeline.name}` : "";
    const word = pipeline.pauseReason === null ? "" : "paused: ";
    return `${word}${pipeline.paused.replace(/\.$/, "")}${wayOn}`;
  }
  if (pipeline.deadlineMs === null) return null;
  return pipeline.deadlineMs <= 0
    ? "a batch is due"
    : `the next batch starts in ${formatWait(pipeline.deadlineMs)} at the latest; at once: rowmill flush ${pipeline.name}`;
}

function failureNote({ name, failed, topFailure }: StatusFacts["pipelines"][number]): string | null {
  // Of rows without a usable key, `keyNote` says more.
  if (topFailure === null || topFailure.reason === "refusedKey") return null;
  return topFailureText(topFailure, { name, failed });
}

function keyNote({ rows, example, reason }: UnnamedRows): string {
  return `${counted(rows, "row")} of those that failed cannot be asked about, such as ${fitKey(example)}: ${reason}`;
}

function arrivalNote(pipeline: PipelineOverview): string | null {
  return pipeline.arrivals === 0 ? null : `${counted(pipeline.arrivals, "changed row")} not looked at yet`;
}

const BATCH_HEADER: readonly TableColumn[] = [
  { title: "batch", align: "left" },
  { title: "pipeline", align: "left" },
  { title: "state", align: "left" },
  { title: "requests", align: "right" },
  { title: "succeeded", align: "right" },
  { title: "failed", align: "right" },
  { title: "returned", align: "right" },
  { title: "next look", align: "left" },
];

function batchLines(facts: StatusFacts, style: Style): string[] {
  if (facts.batches.length === 0) return [];
  const rows = facts.batches.map((batch) => [
    shortId(batch.id),
    batch.pipeline,
    batch.state,
    ...[batch.requests, batch.succeeded, batch.failed, batch.returned].map(formatCount),
    batch.nextLookMs === null ? "" : formatWait(batch.nextLookMs),
  ]);
  return ["", ...emphasised(renderTable(BATCH_HEADER, rows, style.columns()), style)];
}

function heldLines(facts: StatusFacts, style: Style): string[] {
  return facts.held.flatMap((batch) => {
    const { wrong, mends } = batch;
    return ["", ...[wrong, ...mends].flatMap((text) => wrap(text, style.columns(), ""))];
  });
}

function overdueLines(facts: StatusFacts, style: Style): string[] {
  return facts.overdue.flatMap((batch) => {
    const { wrong, fix } = overdueText(batch);
    return ["", ...wrapQuoted(`${wrong} ${fix}`, style.columns())];
  });
}

function presumedLines(facts: StatusFacts, style: Style): string[] {
  return facts.batches.flatMap(({ presumed, id, pipeline, provider, providerBatchId }) => {
    if (!presumed) return [];
    const text = `Batch ${shortId(id)} of ${pipeline} is taken to be ${providerBatchId} at ${provider}, by time and number of requests. Its results will tell; until then it is not cancelled.`;
    return ["", ...wrapQuoted(text, style.columns())];
  });
}

function waitLines(facts: StatusFacts, style: Style): string[] {
  return facts.waits.flatMap(({ place, model, waitMs, message }) => {
    const text = `Nothing is sent to ${place} for ${model} now; it is asked again in ${formatWait(waitMs)}. It said: ${message}`;
    return ["", ...wrapQuoted(text, style.columns())];
  });
}

function eventLines(facts: StatusFacts, style: Style): string[] {
  if (facts.events.length === 0) return [];
  const lines = facts.events.flatMap((event) => {
    const batch = event.batchId === null ? "" : ` ${shortId(event.batchId)}`;
    const reason = event.reason === null ? "" : ` (${event.reason})`;
    const text = `${formatTime(event.at)}  ${event.pipeline}${batch}: ${event.event}${reason}`;
    return wrapQuoted(text, style.columns());
  });
  return ["", style.bold("last events"), ...lines];
}

function workerLines(workers: readonly LivingWorker[], columns: number): string[] {
  if (workers.length === 0)
    return wrap("No worker is running, so nothing moves. Start one: rowmill up", columns, "");
  const names = workers.map((worker) => `process ${worker.pid} on ${worker.host}`);
  return wrapQuoted(`${counted(workers.length, "worker")}: ${names.join(", ")}`, columns);
}
