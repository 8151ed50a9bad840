/**
 * The batches of the invented vendor "plain", in memory: each request is executed once a batch, and the journal says
 * which ones were. The counts of a batch always add up to its requests: with time, all by which its list tells one
 * batch from another.
 */
import { randomBytes } from "node:crypto";
import { answerBySchema, type PlainAnswer, type PlainAsk, type PlainResult } from "./plain-answers.js";

export interface PlainRequest {
  readonly id: string;
  readonly ask: PlainAsk;
}

export type PlainState = "queued" | "working" | "stopping" | "finished";

export interface PlainCounts {
  waiting: number;
  good: number;
  bad: number;
  stopped: number;
  late: number;
}

export interface PlainResultLine {
  readonly id: string;
  readonly result: PlainResult | { readonly type: "stopped" } | { readonly type: "late" };
}

export interface PlainBatch {
  readonly id: string;
  readonly workspace: string;
  /** When its create arrived; the effect may come later. */
  readonly askedAtMs: number;
  readonly madeAtMs: number;
  readonly requests: readonly PlainRequest[];
  readonly results: PlainResultLine[];
  readonly counts: PlainCounts;
  state: PlainState;
  stopAskedAtMs: number | null;
  endedAtMs: number | null;
  isDeleted: boolean;
  /** Requests to be executed before the rest is late; null: all. */
  lateAfter: number | null;
}

export interface PlainBatchesOptions {
  readonly answer?: PlainAnswer | undefined;
  /** In ms since the epoch. */
  readonly clock?: (() => number) | undefined;
  /** Whether a batch stays in the state that it has; sent again at each `release`. */
  readonly hold?: ((batch: PlainBatch) => boolean) | undefined;
  /** Before a batch begins to work. Default: none. */
  readonly delayMs?: number | undefined;
}

/** What was asked of the models, and may have been paid. */
export interface PlainExecution {
  readonly batch: string;
  readonly workspace: string;
  readonly id: string;
  readonly ask: PlainAsk;
}

export class PlainBatches {
  readonly executions: PlainExecution[] = [];
  /** In the order of their creation, deleted ones too. */
  readonly all: PlainBatch[] = [];
  private readonly answer: PlainAnswer;
  private readonly clock: () => number;
  private readonly options: PlainBatchesOptions;
  private readonly finished = new Map<string, () => void>();
  private readonly timers = new Set<NodeJS.Timeout>();

  constructor(options: PlainBatchesOptions) {
    this.options = options;
    this.answer = options.answer ?? answerBySchema;
    this.clock = options.clock ?? Date.now;
  }

  now(): number {
    return this.clock();
  }

  create(workspace: string, requests: readonly PlainRequest[], askedAtMs: number = this.clock()): PlainBatch {
    const batch: PlainBatch = {
      id: `plain_${randomBytes(6).toString("hex")}`,
      workspace,
      askedAtMs,
      madeAtMs: this.clock(),
      requests,
      results: [],
      counts: { waiting: requests.length, good: 0, bad: 0, stopped: 0, late: 0 },
      state: "queued",
      stopAskedAtMs: null,
      endedAtMs: null,
      isDeleted: false,
      lateAfter: null,
    };
    this.all.push(batch);
    this.later(() => this.advance(batch), this.options.delayMs ?? 0);
    return batch;
  }

  find(workspace: string, id: string): PlainBatch | null {
    return this.all.find((batch) => batch.id === id && batch.workspace === workspace) ?? null;
  }

  /** Those that are listed, newest first. */
  listed(workspace: string): readonly PlainBatch[] {
    return this.all.filter((batch) => batch.workspace === workspace && !batch.isDeleted).reverse();
  }

  /** Requests that wait or are worked on. */
  open(workspace: string): number {
    const live = this.all.filter((batch) => batch.workspace === workspace && batch.state !== "finished");
    return live.reduce((sum, batch) => sum + batch.counts.waiting, 0);
  }

  stop(batch: PlainBatch): void {
    batch.stopAskedAtMs ??= this.clock();
    batch.state = "stopping";
    this.later(() => this.advance(batch), 0);
  }

  /** As if its time were over after this many more requests. */
  expire(id: string, afterRequests: number): void {
    const batch = this.all.find((one) => one.id === id);
    if (batch === undefined) throw new Error(`There is no batch ${id}.`);
    batch.lateAfter = afterRequests;
    this.run(batch);
  }

  /** Asks again what is held. */
  release(): void {
    for (const batch of this.all) this.advance(batch);
  }

  /** Resolves when the batch has finished. */
  until(id: string): Promise<void> {
    const batch = this.all.find((one) => one.id === id);
    if (batch?.state === "finished") return Promise.resolve();
    return new Promise((resolve) => {
      const before = this.finished.get(id);
      this.finished.set(id, () => {
        before?.();
        resolve();
      });
    });
  }

  close(): void {
    for (const timer of this.timers) clearTimeout(timer);
    this.timers.clear();
  }

  later(act: () => void, ms: number): void {
    const timer = setTimeout(() => {
      this.timers.delete(timer);
      act();
    }, ms);
    this.timers.add(timer);
  }

  private advance(batch: PlainBatch): void {
    if (batch.state === "finished" || this.options.hold?.(batch) === true) return;
    if (batch.state === "queued") batch.state = "working";
    if (this.options.hold?.(batch) === true) return;
    this.run(batch);
  }

  private run(batch: PlainBatch): void {
    if (batch.state === "finished") return;
    for (const [index, request] of batch.requests.entries()) {
      if (batch.state === "stopping") end(batch, request.id, { type: "stopped" });
      else if (batch.lateAfter !== null && index >= batch.lateAfter) end(batch, request.id, { type: "late" });
      else end(batch, request.id, this.execute(batch, request));
    }
    batch.results.sort(byDigest);
    batch.state = "finished";
    batch.endedAtMs = this.clock();
    this.finished.get(batch.id)?.();
  }

  private execute(batch: PlainBatch, { id, ask }: PlainRequest): PlainResult {
    this.executions.push({ batch: batch.id, workspace: batch.workspace, id, ask });
    return this.answer(ask, { batch: batch.id, id });
  }
}

function end(batch: PlainBatch, id: string, result: PlainResultLine["result"]): void {
  batch.counts.waiting -= 1;
  batch.counts[result.type] += 1;
  batch.results.push({ id, result });
}

/** Any order but that of the requests. */
function byDigest(a: PlainResultLine, b: PlainResultLine): number {
  const reversed = ({ id }: PlainResultLine) => [...id].reverse().join("");
  return reversed(b).localeCompare(reversed(a));
}
