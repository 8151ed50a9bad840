/** Answers to calls that cannot be served, in one form for all routes. */
import { problem } from "../http/problem.js";
import { RowmillError } from "../model/errors.js";
import { DatabaseError } from "../postgres/database.js";

const AGAIN = { "retry-after": "1" };
const NAME_CHARACTERS_MAX = 60;

export interface Refusal {
  readonly status: number;
  readonly code: string;
  readonly detail: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Further members of the problem. */
  readonly more?: Readonly<Record<string, unknown>>;
}

export function responseTo({ status, code, detail, headers, more }: Refusal): Response {
  return problem({ status, code, detail, ...more }, headers);
}

export function unknownPipeline(pipeline: string): Response {
  const detail = `There is no pipeline "${pipeline.slice(0, NAME_CHARACTERS_MAX)}" whose source is push().`;
  return responseTo({ status: 404, code: "unknown_pipeline", detail });
}

export function unknownRow(key: string): Response {
  const detail = `There is no row with the key ${JSON.stringify(key.slice(0, NAME_CHARACTERS_MAX))}.`;
  return responseTo({ status: 404, code: "unknown_row", detail });
}

export function tooBusy(detail: string): Refusal {
  return { status: 429, code: "too_busy", detail, headers: AGAIN };
}

export function tooManyCalls(): Response {
  return responseTo(tooBusy("Too many calls are in progress. Send it again later."));
}

/** Texts of the database may name its roles, so callers do not get them. */
export const DATABASE_UNAVAILABLE: Refusal = {
  status: 503,
  code: "database_unavailable",
  detail: "The database is not available now. Send the call again later.",
  headers: AGAIN,
};

const TARGET_UNREADABLE: Refusal = {
  status: 503,
  code: "target_unreadable",
  detail: "The table with the answers cannot be read as it is now. Where Rowmill runs: rowmill doctor",
  headers: AGAIN,
};

/** Null: it is not of the circumstances. */
export function ofCircumstances(error: unknown): Response | null {
  if (error instanceof DatabaseError) return responseTo(DATABASE_UNAVAILABLE);
  const isOfTable = error instanceof RowmillError && /^(?:source|target)_unsupported$/.test(error.code);
  return isOfTable ? responseTo(TARGET_UNREADABLE) : null;
}
