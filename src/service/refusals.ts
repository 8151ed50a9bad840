/** Answers to calls that cannot be served, in one form for all routes. */
import { problem } from "../http/problem.js";
import { RowmillError } from "../model/errors.js";
import { DatabaseError } from "../postgres/database.js";

export const RETRY_AFTER_SECONDS = 1;
const AGAIN = { "retry-after": String(RETRY_AFTER_SECONDS) };
const NAME_CHARACTERS_MAX = 60;

export function unknownPipeline(pipeline: string): Response {
  const detail = `There is no pipeline "${pipeline.slice(0, NAME_CHARACTERS_MAX)}" whose source is push().`;
  return problem({ status: 404, code: "unknown_pipeline", detail });
}

export function unknownRow(key: string): Response {
  const detail = `There is no row with the key ${JSON.stringify(key.slice(0, NAME_CHARACTERS_MAX))}.`;
  return problem({ status: 404, code: "unknown_row", detail });
}

export function tooBusy(detail: string): Response {
  return problem({ status: 429, code: "too_busy", detail }, AGAIN);
}

export function tooManyCalls(): Response {
  return tooBusy("Too many calls are being answered. Send it again later.");
}

/** Null: it is not of the circumstances. Texts of the database may name its roles, so callers do not get them. */
export function ofCircumstances(error: unknown): Response | null {
  if (error instanceof DatabaseError) {
    const detail = "The database could not be asked now. Send the call again later.";
    return problem({ status: 503, code: "database_unavailable", detail }, AGAIN);
  }
  if (error instanceof RowmillError && /^(?:source|target)_unsupported$/.test(error.code)) {
    const detail = "The table with the answers cannot be read as it is now. Where Rowmill runs: rowmill doctor";
    return problem({ status: 503, code: "target_unreadable", detail }, AGAIN);
  }
  return null;
}
