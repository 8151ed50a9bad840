/**
 * Answers in time whatever the database does, for callers that give up after 5 seconds and then fail their user's
 * INSERT. The work continues and may still succeed; how much of it runs on without its caller is bounded.
 */
import { problem } from "../../http/problem.js";

/** Callers such as http_post give up after 5 seconds, their connection included. */
const ANSWER_MS_MAX = 3_500;
/** Calls that run on without a caller. */
const LATE_MAX = 200;
const RETRY_AFTER_SECONDS = 5;

const SECONDS = ANSWER_MS_MAX / 1_000;
const NOT_BEGUN = "503: Too many pushes wait for the database.";
const NOT_ENDED = `503: The push was not done within ${SECONDS} seconds, and the service stopped before it was.`;

/** Calls that run on without their callers. */
export class LateCalls {
  readonly #notes = new Set<Note>();

  get isFull(): boolean {
    return this.#notes.size >= LATE_MAX;
  }

  /** What comes of it is noted by the work itself; what throws is noted here. */
  follow(working: Promise<Response>, note: Note, onError: (error: unknown) => void): void {
    this.#notes.add(note);
    void working.catch(onError).finally(() => this.#notes.delete(note));
  }

  /** The service stops: no one will know what happened to them. */
  giveUp(): void {
    for (const note of this.#notes) note(NOT_ENDED);
    this.#notes.clear();
  }
}

type Note = (reason: string) => void;

export interface InTime {
  readonly late: LateCalls;
  /** Of a push that was refused. */
  readonly note: Note;
  /** An error of work whose caller has its answer. */
  readonly onError: (error: unknown) => void;
}

/** @throws what the work throws in time */
export async function answerInTime(work: () => Promise<Response>, { late, note, onError }: InTime): Promise<Response> {
  if (late.isFull) {
    note(NOT_BEGUN);
    return tooLate();
  }
  let timer: NodeJS.Timeout | undefined;
  const time = new Promise<null>((resolve) => {
    timer = setTimeout(() => resolve(null), ANSWER_MS_MAX);
  });
  const working = work();
  try {
    const answer = await Promise.race([working, time]);
    if (answer !== null) return answer;
  } finally {
    clearTimeout(timer);
  }
  late.follow(working, note, onError);
  return tooLate();
}

function tooLate(): Response {
  const detail = "The database did not take the rows in time. They may still be stored; send them again later.";
  return problem({ status: 503, code: "database_slow", detail }, { "retry-after": String(RETRY_AFTER_SECONDS) });
}
