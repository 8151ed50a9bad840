/** What a stage gets for one look at a batch, what it returns, and how it moves the batch. */
import type { Batch, Lease } from "../../store/batches/batches.js";
import * as batches from "../../store/batches/batches.js";
import type { Pipeline, WorkerContext } from "../context.js";
import type { StepName } from "../step-names.js";

/** What follows for the batch. */
export type Next =
  /** The batch moved: look at it again at once. */
  | { readonly next: "again" }
  /** Nothing to do before then. */
  | {
      readonly next: "wait";
      readonly delayMs: number;
      /** This worker's account, while the batch waits for a worker with its own. */
      readonly heldFor?: string;
      /** Failed turns in a row, this one included; absent: this one did not fail. */
      readonly failures?: number;
      /** What failed in this turn, for you to see; absent: nothing did. */
      readonly trouble?: string;
    }
  /** The batch ended. */
  | { readonly next: "done" }
  /** Another worker holds the batch by now: this turn wrote nothing, and must write nothing more. */
  | { readonly next: "lost" };

export const AGAIN: Next = { next: "again" };
export const DONE: Next = { next: "done" };
export const LOST: Next = { next: "lost" };

/** A batch, its pipeline, and the right to act on it. */
export interface Turn<B extends Batch = Batch> {
  readonly context: WorkerContext;
  readonly pipeline: Pipeline;
  readonly batch: B;
  readonly lease: Lease;
  readonly signal: AbortSignal;
}

export type BatchIn<S extends Batch["state"]> = Extract<Batch, { readonly state: S }>;

/** One transaction under the lease. False: the lease is lost, or the batch moved in the meantime. */
export function moveBatch(
  name: StepName,
  { context, lease }: Pick<Turn, "context" | "lease">,
  move: batches.BatchMoveRequest,
): Promise<boolean> {
  return context.step(name, () => context.database.transaction((tx) => batches.move(tx, lease, move)));
}
