/** What a stage is given for one look at a batch, and what it answers. */
import type { Batch, Lease } from "../../store/batches/batches.js";
import type { Pipeline, WorkerContext } from "../context.js";

/** What follows for the batch. */
export type Next =
  /** The batch moved: it is looked at again at once. */
  | { readonly next: "again" }
  /** Nothing to do before then. `heldFor`: this account, until a worker comes with the batch's own. */
  | {
      readonly next: "wait";
      readonly delayMs: number;
      readonly heldFor?: string;
      /** Turns in a row that came to nothing, this one included; absent: this one was well. */
      readonly failures?: number;
    }
  /** The batch ended. */
  | { readonly next: "done" }
  /** Somebody else holds the batch by now: nothing of ours was written, nothing more may be. */
  | { readonly next: "lost" };

export const AGAIN: Next = { next: "again" };
export const DONE: Next = { next: "done" };
export const LOST: Next = { next: "lost" };

/** A batch, the pipeline that it belongs to, and the right to act on it. */
export interface Turn<B extends Batch = Batch> {
  readonly context: WorkerContext;
  readonly pipeline: Pipeline;
  readonly batch: B;
  readonly lease: Lease;
  readonly signal: AbortSignal;
}

export type BatchIn<S extends Batch["state"]> = Extract<Batch, { readonly state: S }>;
