/**
 * Owns Ctrl-C, SIGTERM and SIGHUP for commands that have something to finish. The first signal asks them to stop, the
 * second ends the process at once. That loses nothing: the next worker continues from the database.
 */
import { constants } from "node:os";
import { RowmillError } from "../../model/errors.js";

const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
type StopSignal = (typeof SIGNALS)[number];

/** A shell adds the signal's number to this. */
const SIGNALLED = 128;
/** npm forwards a Ctrl-C that the process already got from the terminal: one keystroke, two signals. */
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
  /** Aborted by the first signal, with an `Interrupted`. */
  readonly signal: AbortSignal;
  /** Stops listening: the next signal ends the process. To be called once. */
  dispose(): void;
  /** As if this signal had come. */
  interrupt(signal: StopSignal): void;
}

/** Commands that listen now. */
let listening = 0;

/** While no command listens there is nothing to finish: the first signal ends the process. */
export function endAtSignals(onEnd: () => void): void {
  for (const signal of SIGNALS)
    process.on(signal, () => {
      if (listening > 0) return;
      onEnd();
      process.exit(new Interrupted(signal).exitStatus);
    });
}

/** `onFirst` confirms the first signal on the screen. */
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
    interrupt: listener,
    dispose: () => {
      listening -= 1;
      for (const signal of SIGNALS) process.off(signal, listener);
    },
  };
}
