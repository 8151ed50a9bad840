/** What a check of the doctor is, and what it may say. Pure. */
import type { Look } from "./look.js";

export const GROUPS = ["Machine", "Config", "Database", "Tables", "Provider", "Pipelines"] as const;
export type Group = (typeof GROUPS)[number];

/** `warning`: it works, but a person should know. `problem`: something has to be changed. */
export type Level = "ok" | "warning" | "problem" | "notChecked";

export interface Finding {
  readonly level: Level;
  /** One sentence, without a secret. */
  readonly text: string;
  /** What to do, one sentence each. */
  readonly mends: readonly string[];
  /** Statements for whoever administrates the database, each with its semicolon. */
  readonly sql: readonly string[];
  /** Nothing is wrong, but what needs this check cannot be looked at. */
  readonly stops: boolean;
}

export interface Check {
  /** Stable: programs go by it. */
  readonly id: string;
  readonly group: Group;
  readonly title: string;
  /** Ids of checks that must have come out without a problem; they stand earlier in the list. */
  readonly needs: readonly string[];
  /** Why the others could not be checked, when this one has a problem. */
  readonly otherwise: string;
  /** Only reads. One finding at least. */
  run(look: Look): Promise<readonly Finding[]>;
}

type Mends = Partial<Pick<Finding, "mends" | "sql">>;

export function ok(text: string, more: Partial<Pick<Finding, "mends" | "stops">> = {}): Finding {
  return { level: "ok", text, mends: [], sql: [], stops: false, ...more };
}

export function warning(text: string, mends: Mends = {}): Finding {
  return { level: "warning", text, mends: [], sql: [], stops: false, ...mends };
}

export function problem(text: string, mends: Mends = {}): Finding {
  return { level: "problem", text, mends: [], sql: [], stops: true, ...mends };
}

export function notChecked(text: string): Finding {
  return { level: "notChecked", text, mends: [], sql: [], stops: true };
}

/** With a full stop at its end, unless it has an end. */
export function sentence(text: string): string {
  return /[.:?!]$/.test(text) ? text : `${text}.`;
}

/** `1 row`, `2,000 rows`. */
export function counted(count: number, noun: string): string {
  const number = String(count).replace(/\B(?=(\d{3})+$)/g, ",");
  return `${number} ${noun}${count === 1 ? "" : noun.endsWith("ch") ? "es" : "s"}`;
}
