/** A move of a batch as a step of its own: one transaction under the lease. */
import * as batches from "../../store/batches/batches.js";
import type { StepName } from "../step-names.js";
import type { Turn } from "./turn.js";

/** False: the lease is lost, or somebody else moved the batch. */
export function moveBatch(
  name: StepName,
  { context, lease }: Pick<Turn, "context" | "lease">,
  move: batches.BatchMoveRequest,
): Promise<boolean> {
  return context.step(name, () => context.database.transaction((tx) => batches.move(tx, lease, move)));
}
