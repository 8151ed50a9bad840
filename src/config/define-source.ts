/** How a config names a source of rows elsewhere. It imports no driver: a connector loads its own when it is used. */
import type { Cell, Page, SourceConnector } from "../model/connector.js";
import type { Duration } from "../model/duration.js";
import type { Json } from "../model/pipeline.js";

/** Rows of one reading, as your source has them; or with the place and mark from which the next reading continues. */
export type SourceRows<Name extends string = string> =
  | readonly { readonly [Column in Name]: Cell }[]
  | (Omit<Page, "rows"> & { readonly rows: readonly { readonly [Column in Name]: Cell }[] });

/** What `defineSource` takes. */
export interface SyncedSpec<Column extends string, Key extends string> {
  /** The column or columns that identify a row. */
  readonly key: Key | readonly Key[];
  /** The columns that your prompt uses. Rowmill keeps these and the key; a missing one counts as null. */
  readonly columns: readonly Column[];
  /**
   * Gives all rows, page by page, each page of at most some thousand rows. If you yield `{ rows, mark }`, the next
   * reading gets the last mark as `since`, and may give only what has changed; `since` is null where all rows are
   * wanted. If you yield `{ rows, place }`, a reading that was cut off continues at `place`. Stop when `signal` aborts.
   */
  readonly rows: (options: {
    readonly since: Json;
    readonly place: Json;
    readonly signal: AbortSignal;
  }) => AsyncIterable<SourceRows<NoInfer<Column | Key>>>;
  /** How long after a reading the next one begins, `"1s"` to `"7d"`. Default: `"1m"`. */
  readonly every?: Duration;
  /** How often all rows are read, which alone shows deleted ones, `"1s"` to `"30d"`. Default: `"1d"`. */
  readonly fullEvery?: Duration;
  /** What to do with an answer whose row was deleted, as for a table. Default: `"drop"`. */
  readonly onGone?: "drop" | "keepAnswer";
  /** For messages. Default: `"custom"`. */
  readonly name?: string;
  /**
   * Says where the rows are, without secrets. A target that says the same writes answers back into them. Default: none
   * does.
   */
  readonly address?: string | null;
  /** What `rowmill doctor` shows of it: looks at the source, changes nothing, and takes some seconds at most. */
  readonly diagnose?: NonNullable<SourceConnector["diagnose"]>;
}

/** What `defineSource` and Rowmill's own connectors return. */
export interface SyncedSource<Column extends string, Key extends string> extends Omit<
  SyncedSpec<Column, Key>,
  "rows" | "name" | "address" | "diagnose"
> {
  readonly elsewhere: SourceConnector;
}

/**
 * Rows that Rowmill reads from a system elsewhere into the table `rowmill_data.NAME`. For a config in TypeScript or
 * JavaScript.
 */
export function defineSource<const Column extends string, const Key extends string>({
  rows,
  name = "custom",
  address = null,
  diagnose,
  ...spec
}: SyncedSpec<Column, Key>): SyncedSource<Column, Key> {
  const connector: SourceConnector = { name, address, rows: (options) => pagesOf(rows(options)) };
  return { ...spec, elsewhere: diagnose === undefined ? connector : { ...connector, diagnose } };
}

async function* pagesOf(given: AsyncIterable<SourceRows>): AsyncGenerator<Page> {
  for await (const page of given) yield isList(page) ? { rows: page } : page;
}

function isList(page: SourceRows): page is readonly { readonly [column: string]: Cell }[] {
  return Array.isArray(page);
}
