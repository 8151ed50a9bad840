/**
 * Owns the points where a test may change what the gateway does: an injected record, no-ops by default. No flag,
 * variable or header reaches it, so a gateway started by the command cannot misbehave on purpose. A hook that awaits a
 * promise is a delay. A hook that throws answers 500; in a running batch it makes the batch fail and retry.
 */
import type { Answer, BatchObject } from "../protocol/wire.js";

/** One HTTP call as a hook sees it. */
export interface Call {
  readonly method: string;
  /** As routed: `/v1/batches/:id/cancel`, or `no route`. Tests should compare this one. */
  readonly route: string;
  /** As called, without the query: `/v1/batches/batch_12/cancel`. */
  readonly path: string;
  readonly query: Readonly<Record<string, unknown>>;
  readonly requestId: string;
  /** Null for a chunked request body, or none. */
  readonly contentLength: number | null;
}

/** `afterBytes` counts bytes of the reply's body; its headers announce the whole. */
export type Fault =
  /** The connection is reset without a reply. */
  | { readonly kind: "drop" }
  /** This reply instead of the real one. */
  | {
      readonly kind: "reply";
      readonly status: number;
      readonly body: object;
      readonly headers?: Readonly<Record<string, string>>;
    }
  /** The body breaks off and the connection is closed. */
  | { readonly kind: "cut"; readonly afterBytes: number }
  /** The body stops coming; the connection stays open until the client or the gateway ends it. */
  | { readonly kind: "stall"; readonly afterBytes: number };

type Maybe<T> = T | undefined | Promise<T | undefined>;

export interface GatewayFaults {
  /** Before any effect: the call is authorized, its body not read. `drop` and `reply` apply. */
  beforeEffect(call: Call): Maybe<Fault>;
  /** After the effect is on disk, before the reply leaves. All kinds apply. */
  afterEffect(call: Call, answer: Answer): Maybe<Fault>;
  /** False: create and validation do not find this input file (OpenAI's read-after-write lag). */
  seesInput(fileId: string): boolean;
  /** The batch in replies: another status, wrong counts, missing fields. */
  showBatch(batch: BatchObject): BatchObject;
  /**
   * Whether the batch keeps its status. Asked before it leaves `validating`, `in_progress` (before its first request),
   * `finalizing` and `cancelling`, and again at each `gateway.release()`.
   */
  hold(batch: BatchObject): boolean;
  /** False: a batch that is `cancelling` completes. */
  cancelWins(batch: BatchObject): boolean;
  /** The lines that replace this one in an output or error file: none, one, several. Undefined: no change. */
  transformOutput(line: string, place: { batchId: string; file: "output" | "error" }): readonly string[] | undefined;
}

export const noFaults: GatewayFaults = {
  beforeEffect: () => undefined,
  afterEffect: () => undefined,
  seesInput: () => true,
  showBatch: (batch) => batch,
  hold: () => false,
  cancelWins: () => true,
  transformOutput: () => undefined,
};
