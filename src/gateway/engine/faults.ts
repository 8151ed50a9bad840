/**
 * The points at which a test may bend what the gateway does. An injected record, no-ops by default: no flag,
 * environment variable or request header reaches it, so a gateway started by the command cannot misbehave on purpose.
 *
 * Hooks may be async: a hook that awaits a promise of the test is a delay that the test ends.
 * A hook that throws answers 500 for that call; inside a running batch it stops that batch (see `engine.ts`).
 */
import type { Answer, BatchObject } from "../protocol/wire.js";

/** One HTTP call as a hook sees it. */
export interface Call {
  readonly method: string;
  /** As routed: `/v1/batches/:id/cancel`; `no route` for an unknown address. Test for this one. */
  readonly route: string;
  /** As asked, without the query: `/v1/batches/batch_12/cancel`. */
  readonly path: string;
  readonly query: Readonly<Record<string, unknown>>;
  readonly requestId: string;
  /** Of the request's body; null when it came in chunks, or had none. */
  readonly contentLength: number | null;
}

/** What goes wrong. `afterBytes` counts bytes of the reply's body; its headers announce the whole. */
export type Fault =
  /** The connection is reset without a reply. */
  | { readonly kind: "drop" }
  /** This reply instead of the true one. */
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

export interface OutputPlace {
  readonly batchId: string;
  readonly file: "output" | "error";
}

export interface GatewayFaults {
  /** Before anything took effect: the call is known and authorised, its body not read. `drop` and `reply` apply. */
  beforeEffect(call: Call): Maybe<Fault>;
  /** After the effect is on disk, before the reply leaves. All kinds apply. */
  afterEffect(call: Call, answer: Answer): Maybe<Fault>;
  /** Whether create and validation see this input file. False: as if it did not exist (OpenAI's read-after-write lag). */
  seesInput(fileId: string): boolean;
  /** The batch as replies show it: another status, counts that disagree, fields that are missing. */
  showBatch(batch: BatchObject): BatchObject;
  /**
   * Whether the batch stays in the status that it has. Asked before it leaves `validating`, `in_progress` (before its
   * first request is executed), `finalizing` and `cancelling`; asked again at each `gateway.release()`.
   */
  hold(batch: BatchObject): boolean;
  /** Whether a cancel takes effect; false: the batch says `cancelling`, and completes nevertheless. */
  cancelWins(batch: BatchObject): boolean;
  /** The lines written in place of this one of an output or error file: none, one, several. Undefined: as it is. */
  transformOutput(line: string, place: OutputPlace): readonly string[] | undefined;
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
