/**
 * Owns the mistakes found in a config, their wording, and the one error that reports them all. A value that may hold
 * a secret never comes here: its reader gives a description instead.
 */
import { RowmillError } from "../../model/errors.js";

export interface ConfigProblem {
  /** Where in the config: `pipelines.movies.when.rows`, empty for the whole; or a variable: `PGSSLMODE`. */
  readonly path: string;
  /** What stands there, shortened; null where the message is not about a value. */
  readonly found: string | null;
  /** What should stand there, or what is wrong. No full stop at its end. */
  readonly expected: string;
  /** The word that was probably meant. */
  readonly nearMatch: string | null;
}

/** Code `config_invalid`; `problems` has every mistake, in the order of the config's own keys. */
export class ConfigError extends RowmillError {
  override readonly name = "ConfigError";
  readonly problems: readonly ConfigProblem[];

  constructor(where: string, problems: readonly ConfigProblem[]) {
    const count = problems.length === 1 ? "one mistake" : `${problems.length} mistakes`;
    super("config_invalid", `${where}: ${count}`, { lines: problems.map(problemLine) });
    this.problems = problems;
  }
}

function problemLine(problem: ConfigProblem): string {
  const found = problem.found === null ? "" : `found ${problem.found}, expected `;
  const meant = problem.nearMatch === null ? "" : `; did you mean ${JSON.stringify(problem.nearMatch)}?`;
  const where = problem.path === "" ? "the config itself" : problem.path;
  return `${where}: ${found}${problem.expected}${meant}`;
}

/** Collects; one list serves the reading of one config. */
export class Problems {
  readonly #list: ConfigProblem[] = [];

  add(path: string, expected: string, details: { found?: string; nearMatch?: string | null } = {}): void {
    this.#list.push({ path, expected, found: details.found ?? null, nearMatch: details.nearMatch ?? null });
  }

  /** False when a mistake was found at the path or below it: its value is a placeholder. */
  clean(...paths: readonly string[]): boolean {
    return !this.#list.some((problem) => paths.some((path) => isWithin(problem.path, path)));
  }

  /** @throws ConfigError */
  throwIfAny(where: string): void {
    if (this.#list.length > 0) throw new ConfigError(where, this.#list);
  }
}

function isWithin(path: string, ancestor: string): boolean {
  return path === ancestor || path.startsWith(`${ancestor}.`) || path.startsWith(`${ancestor}[`);
}

const FOUND_CHARACTERS_MAX = 60;

/** A value as a message shows it, with its type where that is the mistake: `"1000" (text)`. */
export function describe(value: unknown): string {
  if (value === undefined) return "nothing";
  if (value === null) return "null";
  if (typeof value === "string") return `${quoteShort(value)} (text)`;
  if (typeof value === "number" || typeof value === "boolean") return String(value);
  if (typeof value === "bigint") return `${value}n (bigint)`;
  if (typeof value === "function") return "a function";
  if (Array.isArray(value)) return value.length === 0 ? "an empty list" : "a list";
  if (value instanceof Promise) return "a promise (await it)";
  return typeof value === "object" ? "an object" : `a ${typeof value}`;
}

function quoteShort(text: string): string {
  const short = text.length > FOUND_CHARACTERS_MAX ? `${text.slice(0, FOUND_CHARACTERS_MAX)}…` : text;
  return JSON.stringify(short);
}

/** `path.key`, or `path["odd key"]` where the key is no plain word. */
export function childPath(path: string, key: string): string {
  if (!/^[A-Za-z_$][\w$-]*$/.test(key)) return `${path}[${JSON.stringify(key)}]`;
  return path === "" ? key : `${path}.${key}`;
}

/** `"a", "b" or "c"`. */
export function listWords(words: readonly string[]): string {
  const quoted = words.map((word) => JSON.stringify(word));
  if (quoted.length < 2) return quoted.join("");
  return `${quoted.slice(0, -1).join(", ")} or ${quoted.at(-1)}`;
}
