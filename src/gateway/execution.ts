/**
 * Executes the requests of one batch, and writes the lines of those that will not be executed any more.
 *
 * A hundred lines at a time: asked of the model, appended to the work file, then to the journal. After a crash the
 * journal is never ahead of the work file, and the engine cuts the work file back to what is journalled: each line
 * is journalled as executed once.
 */
import { setImmediate as breathe, setTimeout as pause } from "node:timers/promises";
import { RowmillError } from "../model/errors.js";
import type { BatchRecord } from "./batch-store.js";
import { usageOf } from "./batch-moves.js";
import { userTextOf, type ChatModel, type ChatReply } from "./chat-model.js";
import { readLineChunks } from "./input-lines.js";
import { contentHashOf, type ExecutedEntry, type Journal } from "./journal.js";
import { checkLine, type InputLine } from "./line-check.js";
import { nowSeconds, type GatewaySettings } from "./settings.js";
import type { MadeLine, WorkFile } from "./work-file.js";

const LINES_AT_ONCE = 100;

export interface Execution {
  readonly record: BatchRecord;
  readonly inputPath: string;
  readonly work: WorkFile;
  readonly model: ChatModel;
  readonly journal: Journal;
  readonly settings: GatewaySettings;
  readonly closing: AbortSignal;
  /** How many requests may be executed in all, asked before each chunk; 0 stops at once. */
  readonly mayExecute: () => number;
  /** Told after each chunk. */
  readonly progressed: () => void;
}

/** Goes on behind the lines that are in the work file, until the input ends or `mayExecute` is reached. */
export async function executeRequests(execution: Execution): Promise<void> {
  const { work, settings, closing } = execution;
  for await (const lines of remainingLines(execution)) {
    const chunk = lines.slice(0, Math.max(0, execution.mayExecute() - work.lines));
    if (chunk.length > 0) await executeChunk(execution, chunk);
    if (chunk.length < lines.length) return;
    if (settings.latencyMs > 0) await pause(settings.latencyMs, undefined, { signal: closing });
    else await breathe();
  }
}

/** One line for each request that was not executed, to be put into the error file. */
export async function writeUnexecuted(execution: Execution, as: "expired" | "cancelled"): Promise<void> {
  const error = unexecutedErrors[as];
  for await (const lines of remainingLines(execution)) {
    const made = lines.map((line, index): MadeLine => {
      const id = lineId(execution.record, execution.work.lines + index);
      const text = JSON.stringify({
        id,
        custom_id: requestOf(line, execution).customId,
        response: null,
        error,
      });
      return { ok: false, text };
    });
    execution.work.append(made);
    await breathe();
  }
}

const unexecutedErrors = {
  expired: {
    code: "batch_expired",
    message: "This request could not be executed before the completion window expired.",
  },
  cancelled: {
    code: "batch_cancelled",
    message: "This request was not executed because the batch was cancelled.",
  },
} as const;

/** Chunks of the input behind what the work file had at the start. */
async function* remainingLines({ inputPath, work }: Execution): AsyncGenerator<readonly (string | null)[]> {
  let skip = work.lines;
  for await (const lines of readLineChunks(inputPath, LINES_AT_ONCE)) {
    const rest = skip === 0 ? lines : lines.slice(skip);
    skip = Math.max(0, skip - lines.length);
    if (rest.length > 0) yield rest;
  }
}

async function executeChunk(execution: Execution, lines: readonly (string | null)[]): Promise<void> {
  const { work, journal, record } = execution;
  const first = work.lines;
  const done = await Promise.all(lines.map((line, index) => executeLine(execution, line, first + index)));
  work.append(done.map(({ made }) => made));
  journal.append(...done.map(({ entry }) => entry));
  const { usage } = record.batch;
  const sum = (of: "inputTokens" | "outputTokens") =>
    done.reduce((tokens, { reply }) => tokens + (reply.usage?.[of] ?? 0), 0);
  record.batch.usage = usageOf(
    usage.input_tokens + sum("inputTokens"),
    usage.output_tokens + sum("outputTokens"),
  );
  countLines(record, work);
  execution.progressed();
}

/** Counts of executed requests, as they stand in the work file. */
export function countLines(record: BatchRecord, work: WorkFile): void {
  const { total } = record.batch.request_counts;
  record.batch.request_counts = { total, completed: work.completed, failed: work.lines - work.completed };
}

interface ExecutedLine {
  readonly made: MadeLine;
  readonly entry: ExecutedEntry;
  readonly reply: ChatReply;
}

async function executeLine(execution: Execution, line: string | null, index: number): Promise<ExecutedLine> {
  const { record, settings, model } = execution;
  const request = requestOf(line, execution);
  const id = lineId(record, index);
  const context = { id: `chatcmpl-${id.slice("batch_req_".length)}`, nowSeconds: nowSeconds(settings.clock) };
  const reply = await model.answer(request.body, context);
  const response = {
    status_code: reply.status,
    request_id: id.replace("batch_req_", "req_"),
    body: reply.body,
  };
  const text = JSON.stringify({ id, custom_id: request.customId, response, error: null });
  const entry: ExecutedEntry = {
    kind: "executed",
    at: settings.clock.nowMs(),
    batchId: record.batch.id,
    customId: request.customId,
    model: request.model,
    contentHash: contentHashOf(userTextOf(request.body)),
    status: reply.status,
    behaviour: reply.behaviour,
  };
  return { made: { ok: reply.status === 200, text }, entry, reply };
}

function requestOf(line: string | null, { record, settings }: Execution): InputLine {
  const verdict = checkLine(line, { endpoint: record.batch.endpoint, models: settings.models });
  if ("request" in verdict) return verdict.request;
  throw new RowmillError("internal", `Batch ${record.batch.id}: its input changed after it was validated.`);
}

/** Unique over all batches, and the same when the line is executed again after a crash. */
function lineId(record: BatchRecord, index: number): string {
  return `batch_req_${record.batch.id.slice("batch_".length)}${index.toString(16).padStart(5, "0")}`;
}
