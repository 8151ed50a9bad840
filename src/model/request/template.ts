/**
 * One row's message: a Liquid template over its cells, or the user's own function.
 *
 * Templates are sandboxed: no files or prototypes, bounded length, time and memory, and no random or current value.
 * Equal cells must give equal words, because a request is paid again when its words change; dates are in UTC and
 * English. A path into a json or jsonb column (`{{ meta.tags[0] }}`) that leads nowhere is empty, like a null column.
 * The whole column stays its exact text.
 */
import type { Liquid as Engine, Template } from "liquidjs";
import { commonjs } from "../commonjs.js";
import type { MessageSource, RowCells } from "../pipeline.js";
import { RowmillError } from "../errors.js";
import { printedJson, withJsonCells } from "../json/json-cell.js";
import { nearMatch } from "../words/near-match.js";
import { thrownMessage } from "../words/thrown-message.js";

const { Context, Liquid, TokenKind } = commonjs("liquidjs") as typeof import("liquidjs");

/** In characters. */
export const TEMPLATE_LENGTH_MAX = 1_000_000;
/** For one row's message; templates over cells take microseconds. */
const RENDER_MS_MAX = 5_000;
/** In liquidjs's own unit, roughly the characters and list entries that a render makes. */
const RENDER_MEMORY_MAX = 100_000_000;

/** The name of the whole row, for columns whose names are not plain words. */
const ROW_NAME = "row";
const FILE_TAGS = ["include", "render", "layout", "block"] as const;
const UNSTABLE_FILTERS = ["sample"] as const;
const DATE_FILTERS = ["date", "date_to_xmlschema", "date_to_rfc822", "date_to_string", "date_to_long_string"];

export type MessageRole = "user" | "system";

/**
 * Compiles a message once for many rows; for templates the returned function is pure, and throws when a render fails.
 * It returns null when there is nothing to ask: the words are blank or, in a *user* message that names columns, all of
 * these are. The constant part of a *system* message is meant for every row.
 * @throws RowmillError `config_invalid` when the template does not parse
 */
export function compileMessage(
  source: MessageSource,
  role: MessageRole = "user",
  jsonColumns: ReadonlySet<string> = new Set(),
): (row: RowCells) => string | null {
  return source.kind === "function" ? source.render : compileTemplate(source.text, role, jsonColumns);
}

/** One sentence each. A column is written `{{ Title }}`, `{{ ["My Column"] }}` or `{{ row["My Column"] }}`. */
export function templateProblems(text: string, columns: readonly string[]): readonly string[] {
  let parsed: Template[];
  try {
    parsed = engine().parse(text);
  } catch (error) {
    return [syntaxProblem(error)];
  }
  const unknown = new Set<string>();
  for (const { column } of references(parsed)) {
    if (column !== null && !columns.includes(column)) unknown.add(column);
  }
  return [...unknown].map((name) => unknownColumn(name, columns));
}

/** The columns that a template reads, each once; null: all of them, because it reads the row as a whole. */
export function templateColumns(text: string): readonly string[] | null {
  const named = references(engine().parse(text)).map(({ column }) => column);
  return named.includes(null) ? null : [...new Set(named.filter((column) => column !== null))];
}

/** The problems of a parsed template's paths, by the columns' types as PostgreSQL names them. */
export function pathProblems(text: string, types: ReadonlyMap<string, string>): readonly string[] {
  const wrong = references(engine().parse(text)).filter(
    ({ column, path }) => column !== null && !isJsonType(types.get(column)) && !isOfText(path),
  );
  return [...new Set(wrong.map(({ column }) => column ?? ""))].map(
    (column) =>
      `the template has a path into ${JSON.stringify(column)}, which is of type ${types.get(column) ?? "unknown"}: ` +
      "only json and jsonb have paths; name the column alone, make it jsonb, or write a function of the row",
  );
}

export function isJsonType(type: string | undefined): boolean {
  return type === "json" || type === "jsonb";
}

/** What Liquid can read of any text: its length and its characters. */
function isOfText(path: readonly Segment[]): boolean {
  const [first, ...further] = path;
  if (first === undefined) return true;
  return further.length === 0 && (/^(?:size|length|\d+)$/.test(String(first)) || typeof first === "object");
}

function compileTemplate(
  text: string,
  role: MessageRole,
  jsonColumns: ReadonlySet<string>,
): (row: RowCells) => string | null {
  const liquid = engine();
  let parsed: Template[];
  try {
    parsed = liquid.parse(text);
  } catch (error) {
    throw new RowmillError("config_invalid", syntaxProblem(error), { cause: error });
  }
  const named = references(parsed);
  const walked = new Set(
    named.flatMap(({ column, path }) =>
      column !== null && path.length > 0 && jsonColumns.has(column) ? [column] : [],
    ),
  );
  // Only a path into JSON may lead nowhere; any other unknown name is an error.
  const options = { strictVariables: walked.size === 0 };
  const plain = plainParts(parsed);
  return (row) => {
    const cells = walked.size === 0 ? row : withJsonCells(row, walked);
    if (role === "user" && named.length > 0 && everyBlank(named, cells)) return null;
    const words =
      plainWords(plain, cells) ?? String(liquid.renderSync(parsed, { ...cells, [ROW_NAME]: cells }, options));
    return words.trim() === "" ? null : words;
  };
}

/** Constant text, or a column's whole cell. */
type PlainPart = { readonly text: string } | { readonly column: string };

/** `{{ Title }}`, `{{ row.Title }}`, `{{ ["My Column"] }}` or `{{ row["My Column"] }}`, without filters. */
const WHOLE_CELL = /^\{\{-?\s*(?:(?:row\.)?[\p{L}\p{N}_-]+|(?:row)?\[(?:"[^"\\]*"|'[^'\\]*')\])\s*-?\}\}$/u;

/** Most templates are only text and whole cells, which liquidjs joins ten times slower. Null: there is more. */
function plainParts(parsed: readonly Template[]): readonly PlainPart[] | null {
  const parts = parsed.map((template): PlainPart | null => {
    const { token } = template;
    if (token.kind === TokenKind.HTML) return { text: String(engine().renderSync([template])) };
    if (token.kind !== TokenKind.Output || !WHOLE_CELL.test(token.getText())) return null;
    const [only, ...others] = references([template]);
    const isWhole = only !== undefined && others.length === 0 && only.path.length === 0;
    return isWhole && only.column !== null ? { column: only.column } : null;
  });
  return parts.includes(null) ? null : parts.filter((part) => part !== null);
}

/** Null: liquidjs has to render, or to report what is wrong with the row. */
function plainWords(parts: readonly PlainPart[] | null, cells: Cells): string | null {
  if (parts === null) return null;
  let words = "";
  for (const part of parts) {
    if ("text" in part) {
      words += part.text;
      continue;
    }
    const cell = Object.hasOwn(cells, part.column) ? cells[part.column] : undefined;
    if (cell !== null && typeof cell !== "string") return null;
    words += cell ?? "";
  }
  return words;
}

type Cells = Readonly<Record<string, unknown>>;

/** A column that the row lacks is not blank: the render reports it. */
function everyBlank(named: readonly Reference[], cells: Cells): boolean {
  if (named.some(({ column }) => column === null)) return Object.values(cells).every(isBlank);
  return named.every(({ column, path }) => {
    const name = column ?? "";
    const cell = Object.hasOwn(cells, name) ? cells[name] : undefined;
    return isBlank(typeof cell === "object" && cell !== null ? valueIn(cells, name, path) : cell);
  });
}

function isBlank(value: unknown): boolean {
  return value === null || (typeof value === "string" && value.trim() === "");
}

/** Null: nothing there. Only the part of the path before a computed segment counts. */
function valueIn(cells: Cells, column: string, path: readonly Segment[]): unknown {
  const computed = path.findIndex((segment) => typeof segment === "object");
  const fixed = path
    .slice(0, computed === -1 ? path.length : computed)
    .filter((segment) => typeof segment !== "object");
  const context = new Context(cells, engine().options, { sync: true, strictVariables: false });
  return context.getSync([column, ...fixed]) ?? null;
}

/** A key or an index; a list: computed for each row. */
type Segment = string | number | readonly unknown[];

interface Reference {
  /** Null stands for "any of them": `row` as a whole, or a computed name. */
  readonly column: string | null;
  /** What follows the column's name. */
  readonly path: readonly Segment[];
}

function references(parsed: Template[]): readonly Reference[] {
  return engine()
    .globalVariableSegmentsSync(parsed)
    .map((segments) => {
      const [name, ...path] = segments[0] === ROW_NAME ? segments.slice(1) : segments;
      const isName = typeof name === "string" || typeof name === "number";
      return { column: isName ? String(name) : null, path };
    });
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

let shared: Engine | null = null;

/** One engine for all: it keeps nothing between renders. */
function engine(): Engine {
  shared ??= sandboxed();
  return shared;
}

function sandboxed(): Engine {
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
    // By default Liquid prints a list without separators, and an object as "[object Object]".
    outputEscape: (value: unknown) => (printedJson(value) ?? value) as string,
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
function refuseCurrentTime(liquid: Engine, name: string): void {
  const original = liquid.filters[name];
  if (typeof original !== "function") throw new RowmillError("internal", `liquidjs has no filter "${name}"`);
  liquid.registerFilter(name, function (value: unknown, ...rest: unknown[]) {
    if (value === "now" || value === "today") {
      throw new Error(`the filter "${name}" cannot take the current time: every render would differ and be paid again`);
    }
    return original.call(this, value, ...rest);
  });
}
