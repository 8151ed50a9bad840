/** What a check of the doctor found, and what to do about it, in the same words for vendors and tables. Pure. */

/** `warning`: it works, but you should know. `problem`: something has to change. */
export type Level = "ok" | "warning" | "problem" | "notChecked";

export interface Finding {
  readonly level: Level;
  /** One sentence, without a secret. */
  readonly text: string;
  /** What to do, one sentence each. */
  readonly fixes: readonly string[];
  /** Statements for the database's administrator, each with its semicolon. */
  readonly sql: readonly string[];
  /** Checks that need this one cannot run. */
  readonly stops: boolean;
}

type Fixes = Partial<Pick<Finding, "fixes" | "sql">>;

export function ok(text: string, more: Partial<Pick<Finding, "fixes" | "stops">> = {}): Finding {
  return { level: "ok", text, fixes: [], sql: [], stops: false, ...more };
}

export function warning(text: string, fixes: Fixes = {}): Finding {
  return { level: "warning", text, fixes: [], sql: [], stops: false, ...fixes };
}

export function problem(text: string, fixes: Fixes = {}): Finding {
  return { level: "problem", text, fixes: [], sql: [], stops: true, ...fixes };
}

export function notChecked(text: string): Finding {
  return { level: "notChecked", text, fixes: [], sql: [], stops: true };
}
