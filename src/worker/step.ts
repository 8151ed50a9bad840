/** What one step of a batch leads to. */
import type { Batch, Lease } from "../store/batches.js";
import type { Pipeline, WorkerContext } from "./context.js";

export type Step =
  /** The batch moved: the next step may follow at once. */
  | { readonly next: "again" }
  /** Nothing to do before then. */
  | { readonly next: "wait"; readonly delayMs: number }
  /** The batch ended. */
  | { readonly next: "done" }
  /** Somebody else holds the batch by now: nothing of ours was written, nothing more may be. */
  | { readonly next: "lost" };

export const again: Step = { next: "again" };
export const done: Step = { next: "done" };
export const lost: Step = { next: "lost" };

/** A batch, the pipeline that it belongs to, and the right to act on it. */
export interface Turn<B extends Batch = Batch> {
  readonly context: WorkerContext;
  readonly pipeline: Pipeline;
  readonly batch: B;
  readonly lease: Lease;
  readonly signal: AbortSignal;
}

export type BatchIn<S extends Batch["state"]> = Extract<Batch, { readonly state: S }>;
