/**
 * Owns Ctrl-C, SIGTERM and SIGHUP for commands that have something to finish. The first signal asks them to stop, the
 * second ends the process at once. That loses nothing: the next worker continues from the database.
 */
import { constants } from "node:os";
import { RowmillError } from "../../model/errors.js";
import type { Terminal } from "./terminal.js";

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

/**
 * Runs `work`; the first signal aborts its `AbortSignal` with an `Interrupted`, and shows `confirmation`. `interrupt`
 * does as if a signal had come.
 */
export async function interruptible<T>(
  terminal: Terminal,
  confirmation: string | null,
  work: (signal: AbortSignal, interrupt: (by: StopSignal) => void) => Promise<T>,
): Promise<T> {
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
    if (confirmation !== null) terminal.note(confirmation);
    controller.abort(interrupted);
  };
  for (const signal of SIGNALS) process.on(signal, listener);
  listening += 1;
  try {
    return await work(controller.signal, listener);
  } finally {
    listening -= 1;
    for (const signal of SIGNALS) process.off(signal, listener);
  }
}
