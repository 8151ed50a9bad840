/** Reads a DynamoDB table as a source: all items by scans, or what has changed by an index, if the source names one. */
import { ConnectorError, type Page, type ReadOptions } from "../../model/connector.js";
import type { Json } from "../../model/pipeline.js";
import {
  describeTable,
  explainCall,
  openTable,
  requireKey,
  type Described,
  type DynamoTable,
  type KeyAttribute,
} from "./client.js";
import { newestOf, queryPages, readChangePlace, readsAll, requireIndex, startOf, type ChangeIndex } from "./query.js";
import { scanPages } from "./scan.js";
import type { ReadTable } from "./source.js";

const SEGMENTS_MAX = 16;

/** @throws ConnectorError */
export async function* readPages(read: ReadTable, options: ReadOptions): AsyncGenerator<Page> {
  const table = await openTable(read);
  try {
    const { key, index } = await requireReadable(table, read, options.signal);
    yield* index === null
      ? scanPages(table, { read, key }, options)
      : readWithIndex(table, { read, key, index }, options);
  } catch (error) {
    throw error instanceof ConnectorError ? error : explainCall(error, table.shown, options.signal);
  } finally {
    table.close();
  }
}

interface Readable {
  readonly found: Described;
  readonly key: readonly KeyAttribute[];
  readonly index: ChangeIndex | null;
}

/** @throws ConnectorError */
export async function requireReadable(table: DynamoTable, read: ReadTable, signal: AbortSignal): Promise<Readable> {
  const { segments } = read;
  if (!Number.isInteger(segments) || segments < 1 || segments > SEGMENTS_MAX)
    throw new ConnectorError("stop", `dynamodb(): segments is a whole number from 1 to ${SEGMENTS_MAX}.`);
  const found = await describeTable(table, signal);
  if (found === null)
    throw new ConnectorError("stop", `${table.shown} does not exist in this account and region.`, {
      hints: ["Check the table's name, the region and the credentials."],
    });
  return { found, key: requireKey(table, found, read.key), index: requireIndex(table, read, found) };
}

async function* readWithIndex(
  table: DynamoTable,
  { read, key, index }: Pick<Readable, "key"> & { readonly read: ReadTable; readonly index: ChangeIndex },
  { since, place, signal }: ReadOptions,
): AsyncGenerator<Page> {
  const left = readChangePlace(place, index);
  if (left !== null) {
    yield* queryPages(table, index, { since: String(since), start: left, signal });
    return;
  }
  // A scan that was cut off: its mark was read before its first item.
  if (place !== null) {
    yield* scanPages(table, { read, key }, { place, signal });
    return;
  }
  const newest = await newestOf(table, index, signal);
  const mark: { readonly mark?: Json } = newest === null ? {} : { mark: newest };
  const pages = readsAll(since, newest, index)
    ? scanPages(table, { read, key }, { place, signal })
    : queryPages(table, index, { since: String(since), start: startOf(newest), signal });
  let isEmpty = true;
  for await (const page of pages) {
    isEmpty = false;
    yield { ...page, ...mark };
  }
  if (isEmpty && newest !== null) yield { rows: [], mark: newest };
}
