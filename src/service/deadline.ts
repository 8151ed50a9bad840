/**
 * Answers in time whatever the database does, for callers that give up after 5 seconds and then fail their user's
 * INSERT. The work continues and may still succeed; how much of it runs on without its caller is bounded.
 */
import { problem } from "../http/problem.js";

/** Callers such as http_post give up after 5 seconds, their connection included. */
export const ANSWER_MS_MAX = 3_500;
/** Calls that run on without a caller. */
const LATE_MAX = 200;
const RETRY_AFTER_SECONDS = 5;

export const LATE_REASON = `503: Not done within ${ANSWER_MS_MAX / 1_000} seconds. It may have been done later`;

export interface LateCalls {
  /** How many run on without their callers. */
  count: number;
}

export interface InTime {
  readonly late: LateCalls;
  /** The answer was late: it is not sent. */
  readonly onLate: () => void;
  /** An error of work whose caller has its answer. */
  readonly onError: (error: unknown) => void;
}

/** @throws what the work throws in time */
export async function answerInTime(
  work: () => Promise<Response>,
  { late, onLate, onError }: InTime,
): Promise<Response> {
  if (late.count >= LATE_MAX) {
    onLate();
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
  late.count++;
  void working.catch(onError).finally(() => {
    late.count--;
  });
  onLate();
  return tooLate();
}

function tooLate(): Response {
  const detail = "The database did not take the rows in time. They may still be stored; send them again later.";
  return problem({ status: 503, code: "database_slow", detail }, { "retry-after": String(RETRY_AFTER_SECONDS) });
}
