/** What every vendor's source takes that reads a table in the order of its key or cursor. */
import type { SyncedSource } from "../../config/define-source.js";
import type { SourceConnector } from "../../model/connector.js";
import type { Duration } from "../../model/duration.js";

export interface TableSourceSpec<Column extends string, Key extends string> {
  /** The column or columns that identify a row: a primary key or another unique one. */
  readonly key: Key | readonly Key[];
  /** The columns that your prompt uses. */
  readonly columns: readonly Column[];
  /** An SQL condition there that selects rows. Default: all rows. */
  readonly where?: string;
  /**
   * A column that grows with each change, such as `updated_at`: then only rows that have changed are read, and all rows
   * once in `fullEvery`. It should be the first column of an index. Default: none, all rows each time.
   */
  readonly cursor?: string;
  /**
   * How far before the last value of `cursor` the next reading begins, for transactions that commit late; a number
   * where `cursor` is one. Default: `"5m"`, or 1000.
   */
  readonly overlap?: Duration | number;
  /** How long after a reading the next one begins. Default: `"1m"`. */
  readonly every?: Duration;
  /** How often all rows are read, which alone shows deleted ones. Default: `"1d"`. */
  readonly fullEvery?: Duration;
  /** What to do with an answer whose row was deleted, as for a table. Default: `"drop"`. */
  readonly onGone?: "drop" | "keepAnswer";
}

/** As the reading needs it. */
export interface ReadTable {
  readonly url: string;
  readonly table: string;
  readonly key: readonly string[];
  readonly columns: readonly string[];
  readonly where: string | null;
  readonly cursor: string | null;
  readonly overlap: Duration | number | null;
}

/** The spec of the pipeline, with the connector that `connect` makes of its table. */
export function tableSource<const Column extends string, const Key extends string>(
  spec: TableSourceSpec<Column, Key> & { readonly url?: string | undefined; readonly table: string },
  connect: (table: ReadTable) => SourceConnector,
): SyncedSource<Column, Key> {
  const { url = "", table, where = null, cursor = null, overlap = null, ...shape } = spec;
  const { key, columns } = shape;
  const keys = typeof key === "string" ? [key] : [...key];
  return { ...shape, elsewhere: connect({ url, table, key: keys, columns: [...columns], where, cursor, overlap }) };
}
