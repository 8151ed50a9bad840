/**
 * Owns Ctrl-C and its kin for commands that have something to finish. The first signal asks them to stop, the second ends the
 * process at once: whatever that cuts off is picked up from the database by the next worker.
 */
import { constants } from "node:os";
import { RowmillError } from "../../model/errors.js";

const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
type StopSignal = (typeof SIGNALS)[number];

/** A shell adds the signal's number to this. */
const SIGNALLED = 128;
/** npm passes a Ctrl-C on to a process that got it from the terminal already: one keystroke, two signals. */
const SAME_KEYSTROKE_MS = 500;

export class Interrupted extends RowmillError {
  override readonly name = "Interrupted";
  /** 130 for Ctrl-C, 143 for SIGTERM, 129 when the terminal is gone. */
  readonly exitStatus: number;

  constructor(signal: StopSignal) {
    super("interrupted", `Stopped by ${signal}.`);
    this.exitStatus = SIGNALLED + constants.signals[signal];
  }
}

export interface Interruption {
  /** Aborted by the first signal; its reason is an `Interrupted`. */
  readonly signal: AbortSignal;
  /** Gives the signals back: the next one ends the process. Not to be repeated. */
  dispose(): void;
}

/** Commands that listen themselves at present. */
let listening = 0;

/** While no command listens there is nothing to finish: the first signal ends the process, with its status. */
export function endAtSignals(onEnd: () => void): void {
  for (const signal of SIGNALS)
    process.on(signal, () => {
      if (listening > 0) return;
      onEnd();
      process.exit(new Interrupted(signal).exitStatus);
    });
}

/** `onFirst` tells the person that it was heard. */
export function listenForInterruption(onFirst: () => void): Interruption {
  const controller = new AbortController();
  let firstAtMs = 0;
  const listener = (signal: StopSignal): void => {
    const interrupted = new Interrupted(signal);
    if (controller.signal.aborted) {
      if (performance.now() - firstAtMs <= SAME_KEYSTROKE_MS) return;
      process.stderr.write("Stopped at once.\n");
      process.exit(interrupted.exitStatus);
    }
    firstAtMs = performance.now();
    onFirst();
    controller.abort(interrupted);
  };
  for (const signal of SIGNALS) process.on(signal, listener);
  listening += 1;
  return {
    signal: controller.signal,
    dispose: () => {
      listening -= 1;
      for (const signal of SIGNALS) process.off(signal, listener);
    },
  };
}
