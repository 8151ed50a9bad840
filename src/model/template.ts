/**
 * Owns the words that are sent for one row: a Liquid template over its cells, or the user's own function.
 *
 * Templates are sandboxed: no files, no prototypes, bounded length, time and memory, and no filter whose
 * value changes by itself (a random pick, the current time): equal cells must give equal words, because a
 * request is paid for again when its words change. Dates are formatted in UTC and English, whatever the
 * machine. A render that fails throws; whoever renders makes a failed row of it (`render-request.ts`).
 *
 * Which rows have nothing to ask: a *user* message gives null when it names at least one column and every
 * column that it names is null or blank, or when the words themselves are blank. A *system* message gives
 * null only when the words are blank: its constant part is meant for every row.
 */
import { Liquid, type Template } from "liquidjs";
import type { MessageSource, RowCells } from "./pipeline.js";
import { RowmillError } from "./errors.js";
import { nearMatch } from "./near-match.js";
import { thrownMessage } from "./thrown-message.js";

/** In characters. */
export const TEMPLATE_LENGTH_MAX = 1_000_000;
/** For one row's message; templates over cells take microseconds. */
const RENDER_MS_MAX = 5_000;
/** In liquidjs's own count, roughly the characters and list entries that a render makes. */
const RENDER_MEMORY_MAX = 100_000_000;

/** The name under which the whole row stands, for columns whose names are no plain words. */
const ROW_NAME = "row";
const FILE_TAGS = ["include", "render", "layout", "block"] as const;
const UNSTABLE_FILTERS = ["sample"] as const;
const DATE_FILTERS = ["date", "date_to_xmlschema", "date_to_rfc822", "date_to_string", "date_to_long_string"];

export type MessageRole = "user" | "system";

/**
 * Compiles a message once for many rows. The returned function is pure for templates; it gives null when
 * there is nothing to ask (see the module comment for the rule), and throws when the render fails.
 * @throws RowmillError `config_invalid` when the template does not parse.
 */
export function compileMessage(
  source: MessageSource,
  role: MessageRole = "user",
): (row: RowCells) => string | null {
  return source.kind === "function" ? source.render : compileTemplate(source.text, role);
}

/**
 * What is wrong with a template over the given columns, one sentence each; empty when nothing is.
 * A column is written `{{ Title }}`, `{{ ["My Column"] }}` or `{{ row["My Column"] }}`.
 */
export function templateProblems(text: string, columns: readonly string[]): readonly string[] {
  let parsed: Template[];
  try {
    parsed = engine().parse(text);
  } catch (error) {
    return [syntaxProblem(error)];
  }
  const unknown = new Set<string>();
  for (const reference of references(parsed)) {
    if (reference !== null && !columns.includes(reference)) unknown.add(reference);
  }
  return [...unknown].map((name) => unknownColumn(name, columns));
}

function compileTemplate(text: string, role: MessageRole): (row: RowCells) => string | null {
  const liquid = engine();
  let parsed: Template[];
  try {
    parsed = liquid.parse(text);
  } catch (error) {
    throw new RowmillError("config_invalid", syntaxProblem(error), { cause: error });
  }
  const named = references(parsed);
  return (row) => {
    if (role === "user" && named.length > 0 && everyBlank(named, row)) return null;
    const words = String(liquid.renderSync(parsed, { ...row, [ROW_NAME]: row }));
    return words.trim() === "" ? null : words;
  };
}

/** A column that the row has not is not blank: the render says what is wrong. */
function everyBlank(named: readonly (string | null)[], row: RowCells): boolean {
  const cells = named.includes(null) ? Object.values(row) : named.map((name) => row[name ?? ""]);
  return cells.every((cell) => cell === null || cell?.trim() === "");
}

/** The columns that a template names; null stands for "any of them" (`row` as a whole, or a computed name). */
function references(parsed: Template[]): readonly (string | null)[] {
  const found = new Set<string | null>();
  for (const segments of engine().globalVariableSegmentsSync(parsed)) {
    const name = segments[0] === ROW_NAME ? segments[1] : segments[0];
    found.add(typeof name === "string" || typeof name === "number" ? String(name) : null);
  }
  return [...found];
}

function unknownColumn(name: string, columns: readonly string[]): string {
  const near = nearMatch(name, columns);
  const known = columns.length === 0 ? "none" : columns.map((column) => JSON.stringify(column)).join(", ");
  const hint = near === null ? `the columns are: ${known}` : `did you mean ${JSON.stringify(near)}?`;
  return `the template names ${JSON.stringify(name)}, which is not a declared column; ${hint}`;
}

function syntaxProblem(error: unknown): string {
  const message = thrownMessage(error);
  if (message.includes("parse length limit")) {
    return `the template is longer than ${TEMPLATE_LENGTH_MAX} characters`;
  }
  return `the template cannot be read: ${message}`;
}

let shared: Liquid | null = null;

/** One engine for all: it keeps nothing between renders. */
function engine(): Liquid {
  shared ??= sandboxed();
  return shared;
}

function sandboxed(): Liquid {
  const liquid = new Liquid({
    templates: {},
    strictVariables: true,
    strictFilters: true,
    ownPropertyOnly: true,
    timezoneOffset: 0,
    locale: "en-US",
    parseLimit: TEMPLATE_LENGTH_MAX,
    renderLimit: RENDER_MS_MAX,
    memoryLimit: RENDER_MEMORY_MAX,
  });
  for (const tag of FILE_TAGS) liquid.registerTag(tag, { parse: refuseTag(tag), render: () => "" });
  for (const filter of UNSTABLE_FILTERS) liquid.unregisterFilter(filter);
  for (const filter of DATE_FILTERS) refuseCurrentTime(liquid, filter);
  return liquid;
}

function refuseTag(tag: string): () => never {
  return () => {
    throw new Error(`the tag "${tag}" is not available: a template cannot read other files`);
  };
}

/** liquidjs reads the words `now` and `today` as the current time. */
function refuseCurrentTime(liquid: Liquid, name: string): void {
  const original = liquid.filters[name];
  if (typeof original !== "function") throw new RowmillError("internal", `liquidjs has no filter "${name}"`);
  liquid.registerFilter(name, function (value: unknown, ...rest: unknown[]) {
    if (value === "now" || value === "today") {
      throw new Error(
        `the filter "${name}" cannot be given the current time: every render would differ and be paid for again`,
      );
    }
    return original.call(this, value, ...rest);
  });
}
