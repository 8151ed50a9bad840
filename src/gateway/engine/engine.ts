/**
 * Owns running batches: one loop each, a few at work at once. After a crash, the disk (status, work file, journal)
 * shows where each batch continues. An unexpected error in one batch, such as a full disk, is logged and retried with
 * exponential backoff; the others continue. A cancel ends such a batch, without its files if they cannot be written.
 */
import { setTimeout as pause } from "node:timers/promises";
import { RowmillError } from "../../model/errors.js";
import { failWith, missingFileError, moveTo, newRecord, type NewBatch } from "./batch-moves.js";
import { wireForm, type BatchRecord, type BatchStore } from "../storage/batch-store.js";
import { BatchWork, writeOutputFiles } from "./batch-files.js";
import type { ChatModel } from "./chat-model.js";
import { executeRequests, writeUnexecuted, type Execution } from "./execution.js";
import type { FileStore } from "../storage/file-store.js";
import type { Journal } from "../storage/journal.js";
import { nowSeconds, type GatewaySettings } from "../settings.js";
import { Signal, Slots } from "../protocol/signal.js";
import { validateInput, type ValidInput } from "../protocol/validation.js";
import { isTerminal, type BatchInputError, type BatchObject } from "../protocol/wire.js";

/** Batches that validate, execute or finish at the same time; others wait, except cancelled ones. */
const BATCHES_AT_ONCE = 4;
/** Between tries of a failing batch: doubled each time, up to the longest. */
const RETRY_MS_FIRST = 200;
const RETRY_MS_MAX = 60_000;
/** After them, a batch that is being cancelled ends without its files. */
const CANCEL_TRIES_MAX = 3;

export interface EngineParts {
  readonly settings: GatewaySettings;
  readonly files: FileStore;
  readonly batches: BatchStore;
  readonly journal: Journal;
  readonly model: ChatModel;
  readonly workDir: string;
  /** How many executed lines the journal has of each batch that was unfinished at the start. */
  readonly journalled: ReadonlyMap<string, number>;
}

export class Engine {
  readonly #parts: EngineParts;
  readonly #closing = new AbortController();
  readonly #changed = new Signal();
  readonly #woken = new Signal();
  readonly #slots = new Slots(BATCHES_AT_ONCE);
  readonly #running = new Set<Promise<void>>();

  constructor(parts: EngineParts) {
    this.#parts = parts;
    for (const record of parts.batches.listRunning()) this.#start(record);
  }

  /** On disk and journalled before it returns; then it runs on its own. */
  create(input: NewBatch): BatchRecord {
    const { batches, files, journal, settings } = this.#parts;
    const record = batches.add(newRecord(input, nowSeconds(settings.clock)));
    journal.append({
      kind: "batch",
      at: settings.clock.nowMs(),
      batchId: record.batch.id,
      inputFileId: input.inputFileId,
      inputFilename: files.get(input.inputFileId, input.owner)?.filename ?? null,
      metadata: input.metadata,
    });
    this.#start(record);
    return record;
  }

  /** Begins to cancel an unfinished batch. Repeatable. */
  cancel(record: BatchRecord): void {
    if (record.batch.status === "cancelling" || isTerminal(record.batch.status)) return;
    this.#move(record, "cancelling");
    this.#slots.hurry();
    this.#woken.notify();
  }

  /** As a provider may: the batch ends once it has executed that many requests, even if it is held. */
  stopAfter(id: string, as: "expired" | "cancelled", afterRequests: number): void {
    const record = this.#parts.batches.get(id, null);
    if (record === undefined || isTerminal(record.batch.status)) {
      const state = record === undefined ? "is unknown" : `is already ${record.batch.status}`;
      throw new RowmillError("refused", `Batch ${id} cannot become ${as}: it ${state}.`);
    }
    record.stop = { as, afterRequests };
    this.#parts.batches.save(record);
    this.#woken.notify();
  }

  /** Asks `hold` again for each held batch, and checks the clock. */
  wake(): void {
    this.#woken.notify();
  }

  /** The batch, once `is` returns true. Rejects with `interrupted` if the gateway closes first. */
  async until(id: string, is: (batch: BatchObject) => boolean): Promise<BatchObject> {
    for (;;) {
      const record = this.#parts.batches.get(id, null);
      if (record === undefined) throw new RowmillError("not_found", `The gateway has no batch ${id}.`);
      const batch = this.show(record);
      if (is(batch)) return batch;
      if (this.#closing.signal.aborted) throw new RowmillError("interrupted", `The gateway was closed.`);
      await this.#changed.next();
    }
  }

  show(record: BatchRecord): BatchObject {
    const { settings } = this.#parts;
    return settings.faults.showBatch(wireForm(record, settings.absentFileIds));
  }

  /** Stops between two lines; the next start continues there. */
  async close(): Promise<void> {
    this.#closing.abort();
    this.#woken.notify();
    this.#changed.notify();
    await Promise.all(this.#running);
  }

  #start(record: BatchRecord): void {
    const run = this.#run(record)
      .catch((error: unknown) => this.#parts.settings.log(`batch ${record.batch.id} has stopped: ${String(error)}`))
      .finally(() => this.#running.delete(run));
    this.#running.add(run);
  }

  async #run(record: BatchRecord): Promise<void> {
    const work = new BatchWork(record, this.#parts.workDir, this.#parts.journalled.get(record.batch.id) ?? 0);
    let failed = { status: record.batch.status, times: 0 };
    while (!isTerminal(record.batch.status) && !this.#closing.signal.aborted) {
      try {
        if (record.batch.status === "cancelling" && failed.times >= CANCEL_TRIES_MAX) this.#move(record, "cancelled");
        else await this.#advance(record, work);
      } catch (error) {
        if (this.#closing.signal.aborted) break;
        const { status } = record.batch;
        failed = { status, times: status === failed.status ? failed.times + 1 : 1 };
        work.close();
        await this.#recover(record, failed.times, error);
      }
    }
    if (isTerminal(record.batch.status)) work.remove();
    else work.close();
  }

  async #advance(record: BatchRecord, work: BatchWork): Promise<void> {
    await this.#mayMove(record);
    if (this.#closing.signal.aborted) return;
    const isCancelled = () => record.batch.status === "cancelling";
    await this.#slots.run(() => this.#step(record, work), isCancelled);
  }

  /** Logs the error, and waits for the next try or a cancel. */
  async #recover(record: BatchRecord, times: number, error: unknown): Promise<void> {
    const { status, id } = record.batch;
    const reason = error instanceof Error ? (error.stack ?? error.message) : String(error);
    const waitMs = Math.min(RETRY_MS_FIRST * 2 ** (times - 1), RETRY_MS_MAX);
    this.#parts.settings.log(`batch ${id} (${status}) failed and is retried in ${waitMs} ms: ${reason}`);
    let isDue = false;
    const timer = setTimeout(() => {
      isDue = true;
      this.#woken.notify();
    }, waitMs);
    const waits = () => !isDue && !this.#closing.signal.aborted && record.batch.status === status;
    while (waits()) await this.#woken.next();
    clearTimeout(timer);
  }

  /** Waits for the least time in a status, and while the batch is held. */
  async #mayMove(record: BatchRecord): Promise<void> {
    const { batchDelayMs, faults } = this.#parts.settings;
    if (batchDelayMs > 0) await pause(batchDelayMs, undefined, { signal: this.#closing.signal });
    const held = () => record.stop === null && !this.#isLate(record) && faults.hold(this.show(record));
    while (!this.#closing.signal.aborted && held()) await this.#woken.next();
  }

  #step(record: BatchRecord, work: BatchWork): Promise<void> {
    if (record.batch.status === "validating") return this.#validate(record, work);
    if (record.batch.status === "in_progress") return this.#execute(record, work);
    if (record.batch.status === "cancelling") return this.#finishCancelled(record, work);
    return this.#finish(record, work, "completed");
  }

  async #validate(record: BatchRecord, work: BatchWork): Promise<void> {
    const { files, settings, model } = this.#parts;
    const { endpoint, input_file_id: fileId } = record.batch;
    const abandoned = () => this.#closing.signal.aborted || record.batch.status !== "validating";
    const isThere = () => files.get(fileId, record.owner) !== undefined && settings.faults.seesInput(fileId);
    const missing = [missingFileError(fileId, settings.organization)];
    if (!isThere()) return this.#fail(record, missing);
    work.keepInput(files);
    const validation = await validateInput(work.inputPath, { endpoint, model, settings }, abandoned);
    if (abandoned()) return;
    if (!isThere()) return this.#fail(record, missing);
    if ("errors" in validation) return this.#fail(record, validation.errors);
    const overLimit = this.#tokenLimitError(validation.input);
    if (overLimit !== null) return this.#fail(record, [overLimit]);
    record.enqueuedTokens = validation.input.promptTokens;
    record.batch.model = validation.input.model;
    record.batch.request_counts = { total: validation.input.requests, completed: 0, failed: 0 };
    this.#move(record, "in_progress");
  }

  #tokenLimitError({ model, promptTokens }: ValidInput): BatchInputError | null {
    const { limits, organization } = this.#parts.settings;
    const perModel = limits.enqueuedTokensPerModel;
    const limit = typeof perModel === "number" ? perModel : (perModel?.[model] ?? null);
    if (limit === null) return null;
    const queued = this.#parts.batches
      .listRunning()
      .filter((other) => other.batch.model === model)
      .reduce((sum, other) => sum + other.enqueuedTokens, 0);
    if (queued + promptTokens <= limit) return null;
    const message =
      `Enqueued token limit reached for ${model} in organization ${organization}. ` +
      `Limit: ${limit.toLocaleString("en-US")} enqueued tokens. ` +
      "Please try again once some in_progress batches have been completed.";
    return { code: "token_limit_exceeded", line: null, param: null, message };
  }

  #fail(record: BatchRecord, errors: readonly BatchInputError[]): void {
    this.#change(record, () => failWith(record, errors, this.#now()));
  }

  async #execute(record: BatchRecord, work: BatchWork): Promise<void> {
    const execution = await this.#executionOf(record, work);
    const mayContinue = () => record.batch.status === "in_progress" && !this.#isLate(record);
    const mayExecute = () => (mayContinue() ? this.#requestsAllowed(record) : 0);
    if (record.endedAfter === null) await executeRequests({ ...execution, mayExecute });
    if (this.#closing.signal.aborted || record.batch.status !== "in_progress") return;
    if (record.stop?.as === "cancelled") return this.#move(record, "cancelling");
    const unfinished = execution.work.lines < record.batch.request_counts.total;
    if (!unfinished && record.endedAfter === null && record.stop === null) return this.#move(record, "finalizing");
    await this.#abandonRest(record, execution, "expired");
    await this.#finish(record, work, "expired");
  }

  async #finishCancelled(record: BatchRecord, work: BatchWork): Promise<void> {
    const wasValidated = record.batch.request_counts.total > 0;
    if (!wasValidated) return this.#move(record, "cancelled");
    const execution = await this.#executionOf(record, work);
    if (!this.#parts.settings.faults.cancelWins(this.show(record))) {
      await executeRequests({ ...execution, mayExecute: () => this.#requestsAllowed(record) });
      if (!this.#closing.signal.aborted) await this.#finish(record, work, "completed");
      return;
    }
    await this.#abandonRest(record, execution, "cancelled");
    await this.#finish(record, work, "cancelled");
  }

  async #abandonRest(record: BatchRecord, execution: Execution, as: "expired" | "cancelled"): Promise<void> {
    if (record.endedAfter === null) {
      record.endedAfter = execution.work.lines;
      this.#parts.batches.save(record);
    }
    await writeUnexecuted(execution, as);
  }

  async #finish(record: BatchRecord, work: BatchWork, status: "completed" | "expired" | "cancelled"): Promise<void> {
    const { work: lines } = await this.#executionOf(record, work);
    const ids = await writeOutputFiles(record, lines, this.#parts);
    this.#change(record, () => {
      record.batch.output_file_id = ids.output;
      record.batch.error_file_id = ids.error;
      moveTo(record, status, this.#now());
    });
  }

  async #executionOf(record: BatchRecord, work: BatchWork): Promise<Execution> {
    const { model, journal, settings } = this.#parts;
    const lines = await work.file();
    return {
      record,
      inputPath: work.inputPath,
      work: lines,
      model,
      journal,
      settings,
      closing: this.#closing.signal,
      mayExecute: () => 0,
      progressed: () => {
        work.journalled = lines.lines;
        this.#changed.notify();
      },
    };
  }

  #requestsAllowed(record: BatchRecord): number {
    return this.#closing.signal.aborted ? 0 : (record.stop?.afterRequests ?? Infinity);
  }

  #isLate(record: BatchRecord): boolean {
    return this.#now() >= record.batch.expires_at;
  }

  #move(record: BatchRecord, status: Parameters<typeof moveTo>[1]): void {
    this.#change(record, () => moveTo(record, status, this.#now()));
  }

  /** On disk and journalled, or undone when it throws. */
  #change(record: BatchRecord, change: () => void): void {
    const { batches, journal, settings } = this.#parts;
    const before = structuredClone(record.batch);
    change();
    try {
      batches.save(record);
    } catch (error) {
      record.batch = before;
      throw error;
    }
    const { id: batchId, status } = record.batch;
    journal.append({ kind: "status", at: settings.clock.nowMs(), batchId, status });
    this.#changed.notify();
  }

  #now(): number {
    return nowSeconds(this.#parts.settings.clock);
  }
}
