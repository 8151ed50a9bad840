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
  /** How long after a reading the next one begins. Each reads all items, which costs read units. Default: `"15m"`. */
  readonly every?: Duration;
  /** What to do with an answer whose item was deleted, as for a table. Default: `"drop"`. */
  readonly onGone?: "drop" | "keepAnswer";
}

/** As the reading needs it. */
export interface ReadTable extends TablePlace {
  readonly key: readonly string[];
  readonly columns: readonly string[];
  readonly segments: number;
  readonly everyMs: number;
}

const EVERY_DEFAULT = "15m";
const SEGMENTS_DEFAULT = 4;

export function dynamodbSource<const Column extends string, const Key extends string>({
  table,
  region,
  endpoint,
  segments = SEGMENTS_DEFAULT,
  every = EVERY_DEFAULT,
  ...shape
}: DynamodbSourceSpec<Column, Key>): SyncedSource<Column, Key> {
  const { key, columns } = shape;
  const place = placeOf({ table, region, endpoint });
  const read: ReadTable = {
    ...place,
    key: typeof key === "string" ? [key] : [...key],
    columns: [...columns],
    segments,
    everyMs: parseDuration(every) ?? 0,
  };
  return {
    ...shape,
    every,
    elsewhere: {
      name: "dynamodb",
      reads: JSON.stringify([place.region, table]),
      address: addressOf(place),
      identity: async (signal) => (await import("./identity.js")).identityOf(place, signal),
      rows: (options) => lazily(read, options),
      diagnose: async ({ signal }) => (await import("./diagnose.js")).diagnoseSource(read, signal),
    },
  };
}

async function* lazily(table: ReadTable, options: ReadOptions): AsyncGenerator<Page> {
  const { scanPages } = await import("./scan.js");
  yield* scanPages(table, options);
}
