/** May a new or changed pipeline send its first batch? Its estimate decides, or you do. */
import type { Json } from "../../model/pipeline.js";
import * as arrivals from "../../store/requests/arrivals.js";
import * as counts from "../../store/requests/counts.js";
import * as pipelines from "../../store/pipelines/pipelines.js";
import * as syncs from "../../store/syncs/syncs.js";
import * as sweeps from "../../store/requests/sweeps.js";
import type { Pipeline, WorkerContext } from "../context.js";
import { estimatePipeline, type Estimate } from "./estimate.js";

export type Approval =
  /** This definition was approved before. */
  | { readonly kind: "approved" }
  /** Nothing waits yet, or not all rows were looked at once: decided when the first batch is due. */
  | { readonly kind: "nothing" }
  /** Cheap enough by `approveAboveUsd`: approved by this call. */
  | { readonly kind: "cheap"; readonly estimate: Estimate }
  /** Depends on rows that have arrived and were not looked at yet: decided after that. */
  | { readonly kind: "open"; readonly estimate: Estimate }
  /** You have to approve: the price is unknown or above `approveAboveUsd`. */
  | { readonly kind: "needed"; readonly estimate: Estimate };

/**
 * Call it after the first sweep, and again when a first batch is due. It counts all rows that wait or have arrived:
 * during the sweep, or the first reading of a source elsewhere, a few cheap rows would approve the rest.
 */
export async function approvalOf(context: WorkerContext, pipeline: Pipeline): Promise<Approval> {
  const row = await pipelines.byId(context.read, pipeline.id);
  if (row === null || row.approvedHash === pipeline.definitionHash) return { kind: "approved" };
  if (!(await sweeps.isSwept(context.read, pipeline.id, pipeline.definitionHash))) return { kind: "nothing" };
  if (pipeline.config.source.replica?.sync && !(await syncs.isRead(context.read, row.name))) return { kind: "nothing" };
  // In this order, rows that are taken in between are counted twice rather than missed.
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

function isCheap({ config }: Pipeline, { likelyNanoUsd }: Estimate): boolean {
  return likelyNanoUsd !== null && likelyNanoUsd <= config.approveAboveUsd * 1e9;
}

export async function approve(context: WorkerContext, pipeline: Pipeline, by: string): Promise<void> {
  const { definitionHash } = pipeline;
  const { account } = pipeline.provider;
  await context.step("plan.approve", () =>
    pipelines.approve(context.database, pipeline.id, { definitionHash, by, account }),
  );
}

/** For `up` only, before it sends anything: other commands may run without the worker's variables. */
export async function withdrawLocalApproval(context: WorkerContext, pipeline: Pipeline): Promise<void> {
  const { account } = pipeline.provider;
  await context.step("plan.approve", () =>
    context.database.transaction((tx) => pipelines.withdrawLocalApproval(tx, pipeline.id, account)),
  );
}
