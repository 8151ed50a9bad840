/**
 * Tells a target elsewhere that no change is due any more, for one that collects changes and publishes them together. A
 * crash in between tells it once more. Also writes down why a target is in trouble.
 */
import { SETTLE_MS_MAX, type ConnectorError } from "../../model/connector.js";
import { downMs } from "../../model/delivery-outcomes.js";
import type { Queryable } from "../../postgres/database.js";
import * as deliverers from "../../store/deliveries/deliverers.js";
import * as pipelines from "../../store/pipelines/pipelines.js";
import { Stopped } from "../connector-call.js";
import type { Delivery, Pipeline, WorkerContext } from "../context.js";
import { asConnectorError, prepareTarget, within } from "./target-call.js";

/** Longer than `prepare` and `settle`. */
export const SETTLE_LEASE_MS = SETTLE_MS_MAX + 180_000;

/** A target that is done as fast as this may be told each time. */
const SHORT_MS = 1_000;
/** A slower one rests for so many times as long as it took, */
const REST_TIMES = 10;
/** and at most so long. */
const REST_MS_MAX = 30_000;

export interface Settling {
  readonly lease: deliverers.Lease;
  readonly settleAt: string;
}

/** Between a write and the call, because a target may do as much after each change as after all. */
export function settleRestMs({ memory }: WorkerContext, pipeline: Pipeline): number {
  const lastMs = memory.settleMs.get(pipeline) ?? 0;
  return lastMs < SHORT_MS ? 0 : Math.min(REST_MS_MAX, lastMs * REST_TIMES);
}

interface About {
  readonly pipeline: Pipeline;
  readonly delivery: Delivery;
  readonly settling: Settling;
}

/** `error`: it was written down, and the next call comes later. */
export async function settleTarget(
  context: WorkerContext,
  { pipeline, delivery, settling }: About,
  signal: AbortSignal,
): Promise<{ readonly error: ConnectorError | null }> {
  const { lease, settleAt } = settling;
  const said = await context.step("deliver.settle", () => settle(context, { pipeline, delivery }, signal));
  await context.step("deliver.settled", () =>
    context.database.transaction(async (tx) => {
      if (said.kind === "failed") {
        const failures = lease.failures + 1;
        const waitMs = downMs(failures, said.error.retryAfterMs, context.random());
        await noteTrouble(tx, { pipeline, lease }, { error: said.error, failures, waitMs });
      } else {
        const condition = said.kind === "settled" ? ({ kind: "settled", settleAt } as const) : null;
        await deliverers.release(tx, pipeline.id, { token: lease.token, condition });
      }
    }),
  );
  return { error: said.kind === "failed" ? said.error : null };
}

type Said = { readonly kind: "settled" | "stopped" } | { readonly kind: "failed"; readonly error: ConnectorError };

async function settle(
  context: WorkerContext,
  { pipeline, delivery }: Omit<About, "settling">,
  signal: AbortSignal,
): Promise<Said> {
  const { memory } = context;
  const { connector } = delivery;
  const startedMs = performance.now();
  try {
    if (!memory.preparedTargets.has(pipeline)) await prepareTarget(context, { pipeline, delivery }, signal);
    memory.preparedTargets.add(pipeline);
    const { name } = pipeline.config;
    const call = async (left: AbortSignal) => connector.settle?.({ pipeline: name, signal: left });
    await within(call, `${connector.name} did not finish`, { signal, msMax: SETTLE_MS_MAX });
    memory.settleMs.set(pipeline, performance.now() - startedMs);
    return { kind: "settled" };
  } catch (error) {
    memory.preparedTargets.delete(pipeline);
    return error instanceof Stopped ? { kind: "stopped" } : { kind: "failed", error: asConnectorError(error) };
  }
}

/** Where the lease is lost, another worker delivers by now, and says for itself how that goes. */
export async function noteTrouble(
  tx: Queryable,
  { pipeline, lease }: { readonly pipeline: Pipeline; readonly lease: deliverers.Lease },
  { error, failures, waitMs }: { readonly error: ConnectorError; readonly failures: number; readonly waitMs: number },
): Promise<void> {
  const { token } = lease;
  const text = error.message.replaceAll("\n", " ");
  const condition = { kind: "trouble", text, waitMs, failures } as const;
  const isOurs = await deliverers.release(tx, pipeline.id, { token, condition });
  if (error.kind === "stop" && isOurs) await pauseFor(tx, pipeline, error);
}

/** Before anything is paid: a target that cannot take answers pauses its pipeline. One that is down may come back. */
export async function examineTarget(context: WorkerContext, pipeline: Pipeline, signal: AbortSignal): Promise<void> {
  const { delivery } = pipeline;
  const { preparedTargets } = context.memory;
  if (delivery === null || preparedTargets.has(pipeline)) return;
  try {
    await prepareTarget(context, { pipeline, delivery }, signal);
    preparedTargets.add(pipeline);
  } catch (error) {
    if (error instanceof Stopped) return;
    const known = asConnectorError(error);
    if (known.kind === "again") return;
    await context.step("turn.pause", () => context.database.transaction((tx) => pauseFor(tx, pipeline, known)));
  }
}

async function pauseFor(tx: Queryable, { id, config }: Pipeline, error: ConnectorError): Promise<void> {
  const text = error.message.replaceAll("\n", " ");
  const reason = [text, ...error.hints, `Then: rowmill resume ${config.name}`].join(" ");
  await pipelines.pause(tx, id, { kind: "target", reason });
}
