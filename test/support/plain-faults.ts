/**
 * What goes wrong at the stand-in of the vendor "plain": a list that a test adds to, in the test's process or over
 * HTTP.
 */

export type PlainCall =
  "create" | "list" | "get" | "results" | "stop" | "delete" | "models" | "journal" | "faults" | "none";

export type PlainFault =
  /** The connection is reset without a reply. */
  | { readonly kind: "drop" }
  /**
   * The connection is reset; the effect comes later: after this many ms, or when the promise is fulfilled. Only of a
   * create, before its effect.
   */
  | { readonly kind: "late"; readonly after: number | Promise<unknown> }
  /** This reply instead of the true one. */
  | {
      readonly kind: "reply";
      readonly status: number;
      readonly body?: object | string;
      readonly headers?: Readonly<Record<string, string>>;
    }
  /** The body breaks off after this many bytes, and the connection is closed. */
  | { readonly kind: "cut"; readonly afterBytes: number }
  /** The body stops coming after this many bytes; the connection stays open. */
  | { readonly kind: "stall"; readonly afterBytes: number };

export interface PlainFaultStep {
  readonly call: PlainCall;
  /** `before`: the call has no effect; its body was read. `after`: it had its effect. */
  readonly at: "before" | "after";
  readonly fault: PlainFault;
  /** Calls of this kind that go well first. Default: none. */
  readonly skip?: number;
  /** How often. Default: once. */
  readonly times?: number;
}

/** What else goes wrong, call by call. */
export type PlainMishap = (call: PlainCall, at: "before" | "after") => PlainFault | null;

export class PlainFaultScript {
  private readonly mishap: PlainMishap;
  private readonly steps: { step: PlainFaultStep; skip: number; left: number }[] = [];

  constructor(mishap: PlainMishap = () => null) {
    this.mishap = mishap;
  }

  add(...steps: readonly PlainFaultStep[]): void {
    for (const step of steps) this.steps.push({ step, skip: step.skip ?? 0, left: step.times ?? 1 });
  }

  clear(): void {
    this.steps.length = 0;
  }

  /** The fault of this call: of the first step that is due, else a mishap. */
  next(call: PlainCall, at: "before" | "after"): PlainFault | null {
    for (const entry of this.steps) {
      if (entry.step.call !== call || entry.step.at !== at || entry.left <= 0) continue;
      if (entry.skip > 0) {
        entry.skip -= 1;
        continue;
      }
      entry.left -= 1;
      return entry.step.fault;
    }
    return this.mishap(call, at);
  }
}
