/** Calls a target elsewhere: with a time-out, and every failure as a ConnectorError. */
import { ConnectorError } from "../../model/connector.js";
import { preparing } from "../../model/write-back.js";
import { callConnector } from "../connector-call.js";
import * as deliverers from "../../store/deliveries/deliverers.js";
import type { Delivery, Pipeline, WorkerContext } from "../context.js";
import { refuseSame } from "./write-back.js";

/** Of `prepare`, and of `write`. */
const CALL_MS_MAX = 60_000;
/** What a call under way gets to finish at the end of the worker; then the changes are delivered again later. */
const FINISH_MS_MAX = 3_000;
const TROUBLE_CHARACTERS = 500;

export async function prepareTarget(
  { read }: Pick<WorkerContext, "read">,
  { pipeline, delivery }: { readonly pipeline: Pipeline; readonly delivery: Delivery },
  signal: AbortSignal,
): Promise<void> {
  const { connector, writesBack } = delivery;
  const { config, answer, table } = pipeline;
  const source = config.source.replica?.sync?.connector;
  const late = `${connector.name} did not get ready`;
  if (!writesBack && source !== undefined)
    await within((left) => refuseSame(source, connector, left), late, { signal });
  // Before the call: during it, other workers deliver more.
  const delivered = (await deliverers.standing(read, pipeline.id))?.delivered ?? 0;
  const of = { ...preparing(config, answer.columns, table.key), delivered };
  await within((left) => connector.prepare({ ...of, signal: left }), late, { signal });
}

/** @throws Stopped */
export function within<T>(
  call: (signal: AbortSignal) => Promise<T>,
  what: string,
  { signal, msMax = CALL_MS_MAX }: { readonly signal: AbortSignal; readonly msMax?: number },
): Promise<T> {
  const text = `The target ${what} within ${msMax / 1000} seconds.`;
  const late = () => new ConnectorError("again", text);
  return callConnector(call, { msMax, late, signal, graceMs: FINISH_MS_MAX });
}

export function asConnectorError(error: unknown): ConnectorError {
  if (error instanceof ConnectorError) return error;
  // A config may load another copy of this class.
  const { kind, message, retryAfterMs } = (typeof error === "object" && error !== null ? error : {}) as {
    kind?: unknown;
    message?: unknown;
    retryAfterMs?: unknown;
  };
  const text = (typeof message === "string" ? message : String(error)).slice(0, TROUBLE_CHARACTERS);
  return new ConnectorError(kind === "stop" ? "stop" : "again", text, {
    cause: error,
    retryAfterMs: typeof retryAfterMs === "number" && retryAfterMs > 0 ? retryAfterMs : null,
  });
}
