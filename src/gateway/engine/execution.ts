/**
 * Executes the requests of one batch, and writes the lines of those that will not be executed. Up to 100 lines at a
 * time are answered, appended to the work file, then to the journal. After a crash the journal is never ahead of the
 * work file, which the engine cuts back to it: each line is journalled as executed once. An error inside a line becomes
 * the answer to that line.
 */
import { setImmediate as breathe, setTimeout as pause } from "node:timers/promises";
import type { BatchRecord } from "../storage/batch-store.js";
import { usageOf } from "./batch-moves.js";
import { userTextOf, type ChatContext, type ChatModel, type ChatReply } from "./chat-model.js";
import { readLineChunks } from "../protocol/input-lines.js";
import { contentHashOf, type ExecutedEntry, type Journal } from "../storage/journal.js";
import { isJsonObject, parseJson } from "../protocol/json.js";
import { checkLine, type InputLine } from "../protocol/line-check.js";
import { nowSeconds, type GatewaySettings } from "../settings.js";
import { Turns } from "../protocol/signal.js";
import { SERVER_ERROR } from "../protocol/wire.js";
import type { MadeLine, WorkFile } from "../storage/work-file.js";

const LINES_AT_ONCE = 100;

export interface Execution {
  readonly record: BatchRecord;
  readonly inputPath: string;
  readonly work: WorkFile;
  readonly model: ChatModel;
  readonly journal: Journal;
  readonly settings: GatewaySettings;
  readonly closing: AbortSignal;
  /** The most requests to execute in all, asked before each line; 0 stops at once. */
  readonly mayExecute: () => number;
  /** Called after each chunk that is in the work file and in the journal. */
  readonly progressed: () => void;
}

/** Continues after the lines in the work file, until the input ends or `mayExecute` is reached. */
export async function executeRequests(execution: Execution): Promise<void> {
  const { settings, closing } = execution;
  const turns = new Turns();
  for await (const lines of remainingLines(execution)) {
    const executed = await executeChunk(execution, lines, turns);
    if (executed < lines.length) return;
    if (settings.latencyMs > 0) await pause(settings.latencyMs, undefined, { signal: closing });
    else await breathe();
  }
}

/** One line of the error file for each request that was not executed. */
export async function writeUnexecuted(execution: Execution, as: "expired" | "cancelled"): Promise<void> {
  const error = UNEXECUTED_ERRORS[as];
  for await (const lines of remainingLines(execution)) {
    const made = lines.map((line, index): MadeLine => {
      const id = lineId(execution.record, execution.work.lines + index);
      const text = JSON.stringify({ id, custom_id: customIdOf(line), response: null, error });
      return { ok: false, text };
    });
    execution.work.append(made);
    await breathe();
  }
}

const UNEXECUTED_ERRORS = {
  expired: {
    code: "batch_expired",
    message: "This request could not be executed before the completion window expired.",
  },
  cancelled: { code: "batch_cancelled", message: "This request was not executed because the batch was cancelled." },
} as const;

/** Chunks of the input after the lines that the work file had at the start. */
async function* remainingLines({ inputPath, work }: Execution): AsyncGenerator<readonly (string | null)[]> {
  let skip = work.lines;
  for await (const lines of readLineChunks(inputPath, LINES_AT_ONCE)) {
    const rest = skip === 0 ? lines : lines.slice(skip);
    skip = Math.max(0, skip - lines.length);
    if (rest.length > 0) yield rest;
  }
}

/** The number of executed lines; fewer than given if the batch was stopped. */
async function executeChunk(execution: Execution, lines: readonly (string | null)[], turns: Turns): Promise<number> {
  const { work } = execution;
  const done: ExecutedLine[] = [];
  for (const line of lines) {
    if (work.lines + done.length >= execution.mayExecute()) break;
    done.push(await executeLine(execution, line, work.lines + done.length));
    await turns.pass();
  }
  if (done.length > 0) keepChunk(execution, done);
  return done.length;
}

function keepChunk({ work, journal, record, settings, progressed }: Execution, done: readonly ExecutedLine[]): void {
  work.append(done.map(({ made }) => made));
  journal.append(...done.map(({ entry }) => entry));
  const { usage } = record.batch;
  const sum = (of: "inputTokens" | "outputTokens") =>
    done.reduce((tokens, { reply }) => tokens + (reply.usage?.[of] ?? 0), 0);
  record.batch.usage = usageOf(usage.input_tokens + sum("inputTokens"), usage.output_tokens + sum("outputTokens"));
  countLines(record, work);
  const failures = done.flatMap(({ failure }) => failure ?? []);
  if (failures.length > 0)
    settings.log(
      `batch ${record.batch.id}: ${failures.length} requests got status 500, the first because of ${failures[0]}`,
    );
  progressed();
}

/** Takes the counts of executed requests from the work file. */
export function countLines(record: BatchRecord, work: WorkFile): void {
  const { total } = record.batch.request_counts;
  record.batch.request_counts = { total, completed: work.completed, failed: work.lines - work.completed };
}

interface ExecutedLine {
  readonly made: MadeLine;
  readonly entry: ExecutedEntry;
  readonly reply: ChatReply;
  /** The internal error, for the log. */
  readonly failure: string | null;
}

async function executeLine(execution: Execution, line: string | null, index: number): Promise<ExecutedLine> {
  try {
    const request = requestOf(line, execution);
    const reply = await execution.model.answer(request.body, contextOf(execution, index));
    return executedLine(execution, { index, request, reply, failure: null });
  } catch (error) {
    const failure = error instanceof Error ? (error.stack ?? error.message) : String(error);
    const reply = { status: 500, body: SERVER_ERROR, usage: null, behaviour: null };
    const request = { customId: customIdOf(line), model: execution.record.batch.model ?? "", body: {} };
    return executedLine(execution, { index, request, reply, failure });
  }
}

interface Executed {
  readonly index: number;
  readonly request: Omit<InputLine, "customId"> & { readonly customId: string | null };
  readonly reply: ChatReply;
  readonly failure: string | null;
}

function executedLine({ record, settings }: Execution, { index, request, reply, failure }: Executed): ExecutedLine {
  const id = lineId(record, index);
  const response = { status_code: reply.status, request_id: id.replace("batch_req_", "req_"), body: reply.body };
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
  return { made: { ok: reply.status === 200, text }, entry, reply, failure };
}

function contextOf({ record, settings }: Execution, index: number): ChatContext {
  const id = `chatcmpl-${lineId(record, index).slice("batch_req_".length)}`;
  return { id, nowSeconds: nowSeconds(settings.clock) };
}

/** @throws Error for a line that is invalid with the present settings, such as other models */
function requestOf(line: string | null, { record, settings }: Execution): InputLine {
  const verdict = checkLine(line, { endpoint: record.batch.endpoint, models: settings.models });
  if ("request" in verdict) return verdict.request;
  throw new Error(`a line that is no longer valid: ${verdict.error.message}`);
}

function customIdOf(line: string | null): string | null {
  const parsed = line === null ? undefined : parseJson(line);
  const customId = isJsonObject(parsed) ? parsed["custom_id"] : null;
  return typeof customId === "string" ? customId : null;
}

/** Unique in all batches, and the same if the line is executed again after a crash. */
function lineId(record: BatchRecord, index: number): string {
  return `batch_req_${record.batch.id.slice("batch_".length)}${index.toString(16).padStart(5, "0")}`;
}
