/** May a new or changed pipeline send its first batch? By its estimate, or by a person. */
import type { Json } from "../../model/pipeline.js";
import * as arrivals from "../../store/requests/arrivals.js";
import * as counts from "../../store/requests/counts.js";
import * as pipelines from "../../store/pipelines/pipelines.js";
import * as sweeps from "../../store/requests/sweeps.js";
import type { Pipeline, WorkerContext } from "../context.js";
import { estimatePipeline, type Estimate } from "./estimate.js";

export type Approval =
  /** This definition was approved before. */
  | { readonly kind: "approved" }
  /** Nothing waits yet, or the first sweep is not through: decided when the first batch is due. */
  | { readonly kind: "nothing" }
  /** Cheap enough by `approveAboveUsd`: approved by this call. */
  | { readonly kind: "cheap"; readonly estimate: Estimate }
  /** Cheap or not, by what has arrived and was not looked at yet: decided when it was. */
  | { readonly kind: "open"; readonly estimate: Estimate }
  /** A person has to say yes; price unknown or above `approveAboveUsd`. */
  | { readonly kind: "needed"; readonly estimate: Estimate };

/**
 * Call it after the first sweep, and again when a first batch is due. It counts what waits and what has arrived, or little would approve the
 * rest. While the sweep is under way, perhaps in another process, that would be some of the rows only.
 */
export async function approvalOf(context: WorkerContext, pipeline: Pipeline): Promise<Approval> {
  const row = await pipelines.byId(context.read, pipeline.id);
  if (row === null || row.approvedHash === pipeline.definitionHash) return { kind: "approved" };
  if (!(await sweeps.isSwept(context.read, pipeline.id, pipeline.definitionHash))) return { kind: "nothing" };
  // In this order: what is taken in between is counted twice, and not left out.
  const arrived = await arrivals.countArrivedKeys(context.read, pipeline.id);
  const waiting = await counts.countState(context.read, pipeline.id, "waiting");
  if (waiting === 0) return { kind: "nothing" };
  const estimate = await estimatePipeline(context, pipeline, { waiting, arrived });
  await context.step("plan.estimate", () =>
    pipelines.recordEstimate(context.database, pipeline.id, { ...estimate } satisfies Json),
  );
  if (isCheap(pipeline, estimate)) {
    await approve(context, pipeline, "its estimate is not above approveAboveUsd");
    return { kind: "cheap", estimate };
  }
  const least = await estimatePipeline(context, pipeline, { waiting, arrived: 0 });
  return { kind: isCheap(pipeline, least) ? "open" : "needed", estimate };
}

function isCheap({ config }: Pipeline, { batchNanoUsd }: Estimate): boolean {
  return batchNanoUsd !== null && batchNanoUsd <= config.approveAboveUsd * 1e9;
}

export async function approve(context: WorkerContext, pipeline: Pipeline, by: string): Promise<void> {
  const { definitionHash } = pipeline;
  const { account } = pipeline.provider;
  await context.step("plan.approve", () =>
    pipelines.approve(context.database, pipeline.id, { definitionHash, by, account }),
  );
}

/** For `up`, before it sends anything: other commands may be called without the worker's variables. */
export async function withdrawLocalApproval(context: WorkerContext, pipeline: Pipeline): Promise<void> {
  const { account } = pipeline.provider;
  await context.step("plan.approve", () =>
    context.database.transaction((tx) => pipelines.withdrawLocalApproval(tx, pipeline.id, account)),
  );
}
