/** Items of a DynamoDB table as rows. Importing this loads no driver. */
import type { Page, ReadOptions } from "../../model/connector.js";
import { parseDuration, type Duration } from "../../model/duration.js";
import type { SyncedSource } from "../../config/define-source.js";
import { addressOf, placeOf, type TableOptions, type TablePlace } from "./place.js";

/** What `dynamodb` takes as a source. */
export interface DynamodbSourceSpec<Column extends string, Key extends string> extends TableOptions {
  /** The table's partition key; with a sort key, the list of both. */
  readonly key: Key | readonly Key[];
  /** The attributes that your prompt uses. */
  readonly columns: readonly Column[];
  /** Parts of the table that are read at once, 1 to 16. Default: 4. */
  readonly segments?: number;
  /**
   * A global secondary index that is sorted by the time of the last change: then only items that have changed are read,
   * and all items once in `fullEvery`. Default: none, all items each time.
   */
  readonly index?: DynamodbIndex;
  /** How long after a reading the next one begins. Default: `"15m"`, as each reads all items; `"1m"` with an index. */
  readonly every?: Duration;
  /** With an index: how often all items are read, which alone shows deleted ones. Default: `"1d"`. */
  readonly fullEvery?: Duration;
  /** What to do with an answer whose item was deleted, as for a table. Default: `"drop"`. */
  readonly onGone?: "drop" | "keepAnswer";
}

export interface DynamodbIndex {
  readonly name: string;
  /** The values of the index's partition key that are read, up to 100. */
  readonly partitions: string | readonly string[];
  /** How far before the last time the next reading begins, for changes that come late. Default: `"5m"`. */
  readonly overlap?: Duration;
}

/** As the reading needs it. */
export interface ReadTable extends TablePlace {
  readonly key: readonly string[];
  readonly columns: readonly string[];
  readonly segments: number;
  readonly index: DynamodbIndex | null;
  /** Between two scans. */
  readonly everyMs: number;
}

const EVERY_DEFAULT = "15m";
const EVERY_WITH_INDEX_DEFAULT = "1m";
const FULL_EVERY_DEFAULT = "1d";
const SEGMENTS_DEFAULT = 4;

export function dynamodbSource<const Column extends string, const Key extends string>({
  table,
  region,
  endpoint,
  segments = SEGMENTS_DEFAULT,
  index,
  every = index === undefined ? EVERY_DEFAULT : EVERY_WITH_INDEX_DEFAULT,
  fullEvery = FULL_EVERY_DEFAULT,
  ...shape
}: DynamodbSourceSpec<Column, Key>): SyncedSource<Column, Key> {
  const { key, columns } = shape;
  const place = placeOf({ table, region, endpoint });
  const read: ReadTable = {
    ...place,
    key: typeof key === "string" ? [key] : [...key],
    columns: [...columns],
    segments,
    index: index ?? null,
    everyMs: parseDuration(index === undefined ? every : fullEvery) ?? 0,
  };
  return {
    ...shape,
    every,
    fullEvery,
    elsewhere: {
      name: "dynamodb",
      reads: JSON.stringify([place.region, table, index?.name, index?.partitions]),
      address: addressOf(place),
      identity: async (signal) => (await import("./identity.js")).identityOf(place, signal),
      rows: (options) => lazily(read, options),
      diagnose: async ({ signal }) => (await import("./diagnose.js")).diagnoseSource(read, signal),
    },
  };
}

async function* lazily(table: ReadTable, options: ReadOptions): AsyncGenerator<Page> {
  const { readPages } = await import("./read-pages.js");
  yield* readPages(table, options);
}
