/** Owns error answers in the form of RFC 9457 (`application/problem+json`). Pure. */
import { STATUS_CODES } from "node:http";

export interface Problem {
  readonly status: number;
  /** What happened to this call, why, and what to do. */
  readonly detail: string;
  /** Stable, for programs, such as `body_too_large`. */
  readonly code?: string;
  /** Further members, such as the limit that was passed. */
  readonly [member: string]: unknown;
}

export function problem(problem: Problem, headers: Readonly<Record<string, string>> = {}): Response {
  const { status } = problem;
  const body = JSON.stringify({ type: "about:blank", title: STATUS_CODES[status] ?? "Error", ...problem });
  return new Response(body, { status, headers: { ...headers, "content-type": "application/problem+json" } });
}
