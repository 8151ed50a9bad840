/** The answer to a call that the database did not let through; the same call may succeed later. */
import { problem } from "../http/problem.js";

export const RETRY_AFTER_SECONDS = 1;
export const DATABASE_UNAVAILABLE = {
  status: 503,
  code: "database_unavailable",
  detail: "The database could not be asked now. Send it again later.",
  headers: { "retry-after": String(RETRY_AFTER_SECONDS) },
} as const;

export function databaseUnavailable(): Response {
  const { headers, ...body } = DATABASE_UNAVAILABLE;
  return problem(body, headers);
}
