/** Owns how a config names a table. Pure. */

export interface TableName {
  /** Null: the search path decides. */
  readonly schema: string | null;
  readonly name: string;
}

const PART = `("(?:[^"]|"")+"|[^".]+)`;
const PATTERN = new RegExp(`^(?:${PART}[.])?${PART}$`, "u");

/**
 * `table` or `schema.table`, never folded to lower case, as in `other."odd.name"`: a part with a dot or a double
 * quote is in double quotes, with its own doubled. Null for anything else.
 */
export function parseTableName(text: string): TableName | null {
  const [, schema, name] = PATTERN.exec(text) ?? [];
  return name === undefined ? null : { schema: schema === undefined ? null : plain(schema), name: plain(name) };
}

function plain(written: string): string {
  return written.startsWith('"') ? written.slice(1, -1).replaceAll('""', '"') : written;
}

/** Equal for the names of one table, as far as names tell: `movies` is most often `public.movies`. */
export function tableIdentity(table: string): string {
  const { schema, name } = parseTableName(table) ?? { schema: null, name: table };
  return JSON.stringify([schema ?? "public", name]);
}

/** The text that `parseTableName` reads back. */
export function writeTableName({ schema, name }: TableName): string {
  return schema === null ? written(name) : `${written(schema)}.${written(name)}`;
}

function written(part: string): string {
  return /[."]/.test(part) ? `"${part.replaceAll('"', '""')}"` : part;
}
