/**
 * Reads the names that other code gave the requests of its batch, by a pattern with the key's columns in braces
 * (`task-{imdb_id}`), back into the parts of a key. The database decides whether a part fits its column. Pure.
 */
import { RowmillError } from "../errors.js";
import { nearMatch } from "../words/near-match.js";

/** Providers take 64 to 512 characters. */
const CUSTOM_ID_CHARACTERS_MAX = 1_024;

export interface CustomIdPattern {
  /** The key's parts in the key's own order; null: the name does not fit, or fits in more than one way. */
  readonly read: (customId: string) => readonly string[] | null;
}

export interface PatternColumn {
  readonly name: string;
  /** PostgreSQL's name of the type: keeps `{day}-{region}` from being cut at the wrong hyphen. */
  readonly type: string;
}

/** `?` matches parts of variable length as short as possible, an empty text as long as possible. */
type Lazily = "?" | "";

const number = (lazily: Lazily) => String.raw`-?\d+${lazily}`;
const SHAPES: Readonly<Record<string, (lazily: Lazily) => string>> = {
  smallint: number,
  integer: number,
  bigint: number,
  oid: (lazily) => String.raw`\d+${lazily}`,
  uuid: () => "[0-9a-fA-F]{32}|[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}",
  date: () => String.raw`\d{4}-\d{2}-\d{2}`,
};
const anything = (lazily: Lazily) => `.+${lazily}`;

/** @throws RowmillError `usage` when it does not name every column of the key exactly once, and nothing else */
export function compileCustomIdPattern(text: string, key: readonly PatternColumn[]): CustomIdPattern {
  const pieces = text.split(/\{([^{}]*)\}/);
  const named = pieces.filter((_, index) => index % 2 === 1);
  refuseUnreadable(text, { pieces, named, key });
  // One matches each part as short as possible, the other as long: where both agree there is only one way to read it.
  const lazy = expression(pieces, key, "?");
  const greedy = expression(pieces, key, "");
  return {
    read: (customId) => {
      if (customId.length > CUSTOM_ID_CHARACTERS_MAX) return null;
      const short = lazy.exec(customId)?.slice(1);
      const long = greedy.exec(customId)?.slice(1);
      if (short === undefined || short.some((part, index) => part !== long?.[index])) return null;
      return key.map((column) => short[named.indexOf(column.name)] ?? "");
    },
  };
}

function expression(pieces: readonly string[], key: readonly PatternColumn[], lazily: Lazily): RegExp {
  const types = new Map(key.map((column) => [column.name, column.type]));
  const source = pieces.map((piece, index) =>
    index % 2 === 0 ? escaped(piece) : `(${(SHAPES[types.get(piece) ?? ""] ?? anything)(lazily)})`,
  );
  return new RegExp(`^${source.join("")}$`, "su");
}

function escaped(literal: string): string {
  return literal.replaceAll(/[\\^$.*+?()[\]{}|/]/g, String.raw`\$&`);
}

interface Parsed {
  readonly pieces: readonly string[];
  readonly named: readonly string[];
  readonly key: readonly PatternColumn[];
}

function refuseUnreadable(text: string, { pieces, named, key }: Parsed): void {
  const columns = key.map((column) => column.name);
  const example = `task-${columns.map((name) => `{${name}}`).join("-")}`;
  const hints = [`The key is ${columns.join(", ")}; as in: --custom-id '${example}'`];
  const refuse = (problem: string) => new RowmillError("usage", `The pattern "${text}" ${problem}`, { hints });
  const unknown = named.find((name) => !columns.includes(name));
  if (unknown !== undefined) {
    const near = nearMatch(unknown, columns);
    const meant = near === null ? "." : `; did you mean {${near}}?`;
    throw refuse(`names {${unknown}}, which is no column of the key${meant}`);
  }
  const missing = columns.find((name) => !named.includes(name));
  if (missing !== undefined) throw refuse(`does not name {${missing}}.`);
  if (named.length > columns.length) throw refuse("names a column twice.");
  // The pieces between two columns have even places that are neither the first nor the last.
  if (pieces.some((piece, index) => index % 2 === 0 && piece === "" && index > 0 && index < pieces.length - 1))
    throw refuse("has two columns with nothing between them, so Rowmill cannot tell where one ends.");
}
