/**
 * Owns how a command waits at its start for a database that is away, restarts or has no room: it reports that and
 * retries, as the worker does later. What it repeats is safe to repeat. A refused login or an unknown host is an error
 * at once.
 */
import { RowmillError } from "../../model/errors.js";
import { DatabaseError } from "../../postgres/database.js";
import { errorWaitMs, pause } from "../../worker/loop.js";
import { noteMessage } from "./report-error.js";
import type { Terminal } from "./terminal.js";

/** A server that recovers from a crash may take minutes; after that it needs attention. */
export const WAIT_MS_MAX = 600_000;
/** Short, so that a server that is back is soon used. */
const PAUSE_MS_MAX = 2_000;

/** Runs what needs the database, and again while that is away. @throws what does not pass; the signal's reason */
export type Patience = <T>(work: () => Promise<T>) => Promise<T>;

/** For commands that others start again, such as cron. */
export const noPatience: Patience = (work) => work();

/** `nowMs`: a monotonic clock. */
export function patience(terminal: Terminal, signal: AbortSignal, nowMs = () => performance.now()): Patience {
  return async (work) => {
    // Counts the tries too: an address that drops every packet takes far longer than the pauses.
    const endsAtMs = nowMs() + WAIT_MS_MAX;
    let said = "";
    for (let failures = 1; ; failures++) {
      try {
        const result = await work();
        if (failures > 1) terminal.note("✓ The database is back.");
        return result;
      } catch (error) {
        signal.throwIfAborted();
        if (!isPassing(error) || nowMs() > endsAtMs) throw error;
        if (error.message !== said) noteMessage(terminal, error);
        said = error.message;
        if (failures === 1)
          terminal.note(`Waiting up to ${WAIT_MS_MAX / 60_000} minutes for the database. Stop with Ctrl-C.`);
        await pause(Math.min(PAUSE_MS_MAX, errorWaitMs(failures, Math.random())), signal);
        signal.throwIfAborted();
      }
    }
  };
}

/** Also of a database's error that was wrapped, for instance with the name of a pipeline. */
function isPassing(error: unknown): error is RowmillError {
  if (error instanceof DatabaseError) return error.passes;
  return error instanceof RowmillError && isPassing(error.cause);
}
