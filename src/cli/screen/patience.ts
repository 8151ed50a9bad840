/**
 * Owns the patience of a command that starts to work while its database is away, restarts or has no room: it says so and tries again, as
 * the worker does later. What it repeats is safe to repeat. A refused login or an unknown host is an error at once.
 */
import { RowmillError } from "../../model/errors.js";
import { DatabaseError } from "../../postgres/database.js";
import { errorWaitMs, pause } from "../../worker/loop.js";
import { noteMessage } from "./report-error.js";
import type { Terminal } from "./terminal.js";

/** A server that recovers from a crash may take minutes; after that someone should look. */
export const WAIT_MS_MAX = 600_000;
/** Someone may be watching, and a server that is back should not stand idle. */
const PAUSE_MS_MAX = 2_000;

/** Runs what needs the database, again and again while that is away. @throws what does not pass by itself; the signal's reason */
export type Patience = <T>(work: () => Promise<T>) => Promise<T>;

/** For what ends soon and is started again by others. */
export const noPatience: Patience = (work) => work();

/** `nowMs`: a clock that nobody sets. */
export function patience(terminal: Terminal, signal: AbortSignal, nowMs = () => performance.now()): Patience {
  return async (work) => {
    // With the time that the tries take: an address that drops every packet costs far more of it than the pauses.
    const endsAtMs = nowMs() + WAIT_MS_MAX;
    let said = "";
    for (let failures = 1; ; failures++) {
      try {
        const result = await work();
        if (failures > 1) terminal.note("The database is back.");
        return result;
      } catch (error) {
        signal.throwIfAborted();
        if (!isPassing(error) || nowMs() > endsAtMs) throw error;
        if (error.message !== said) noteMessage(terminal, error);
        said = error.message;
        if (failures === 1)
          terminal.note(
            `Waiting for the database, for about ${WAIT_MS_MAX / 60_000} minutes. Stop with Ctrl-C.`,
          );
        await pause(Math.min(PAUSE_MS_MAX, errorWaitMs(failures, Math.random())), signal);
        signal.throwIfAborted();
      }
    }
  };
}

/** Also where others told the database's error with more words, such as the name of a pipeline. */
function isPassing(error: unknown): error is RowmillError {
  if (error instanceof DatabaseError) return error.passes;
  return error instanceof RowmillError && isPassing(error.cause);
}
