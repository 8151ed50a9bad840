/**
 * Reads what has changed by an index of the table, which is sorted by the time of the change. An index follows its
 * table within seconds, and the overlap reads again what came late. It shows no deleted items: scans do.
 */
import type { AttributeValue } from "@aws-sdk/client-dynamodb";
import { ConnectorError, type Page } from "../../model/connector.js";
import { parseDuration } from "../../model/duration.js";
import type { Json } from "../../model/pipeline.js";
import { attributeOf, keyValue, textOf, type Item } from "./attribute-values.js";
import { itemOfKey, keyText } from "./place-key.js";
import type { Described, DynamoTable, KeyAttribute } from "./client.js";
import { boundAt, msOf } from "./cursor-time.js";
import { projectionOf, rowOf } from "./scan.js";
import type { ReadTable } from "./source.js";

const PAGE_ROWS_MAX = 1_000;
const PARTITIONS_MAX = 100;
/** After these, and the overlap, nothing comes with a time. */
const LATE_MS_MAX = 3_600_000;

/** An index that has all that is read. */
export interface ChangeIndex {
  readonly name: string;
  readonly partitions: readonly string[];
  /** Its own key: partition and time. */
  readonly key: readonly [KeyAttribute, KeyAttribute];
  readonly overlapMs: number;
  /** What a place in it consists of: its key and that of the table. */
  readonly placeKey: readonly KeyAttribute[];
  /** Of a row. */
  readonly names: readonly string[];
}

/** Null: the source names none. @throws ConnectorError */
export function requireIndex({ shown }: DynamoTable, read: ReadTable, found: Described): ChangeIndex | null {
  if (read.index === null) return null;
  const { name, partitions, overlap = "5m" } = read.index;
  const stop = (text: string) => new ConnectorError("stop", `The index "${name}" of ${shown} ${text}`);
  const index = found.indexes.find((one) => one.name === name);
  if (index === undefined) throw stop("does not exist.");
  const [partition, time] = index.key;
  if (partition === undefined || time === undefined) throw stop("has no sort key, which should be a time.");
  const listed = [partitions].flat();
  if (listed.length === 0 || listed.length > PARTITIONS_MAX)
    throw stop(`is read by 1 to ${PARTITIONS_MAX} values of its partition key.`);
  const placeKey = [...new Map([...index.key, ...found.key].map((one) => [one.name, one])).values()];
  const names = [...new Set([...read.key, ...read.columns])];
  const held = index.attributes === "all" ? names : [...index.attributes, ...placeKey.map((one) => one.name)];
  const lacking = names.filter((one) => !held.includes(one));
  if (lacking.length > 0) throw stop(`does not contain ${lacking.join(", ")}.`);
  const overlapMs = parseDuration(overlap);
  if (overlapMs === null) throw stop('is read with an overlap that is no duration, such as "5m".');
  return { name, partitions: listed, key: [partition, time], overlapMs, placeKey, names };
}

/** The newest time, as its text; none of the future, which would hide what comes before it. Null: there is none. */
export async function newestOf(table: DynamoTable, index: ChangeIndex, signal: AbortSignal): Promise<string | null> {
  const { type } = index.key[1];
  let newest: string | null = null;
  for (const partition of index.partitions) {
    let text = await newestIn(table, index, { partition, until: null }, signal);
    if (text !== null && timeOf(text, index) > Date.now()) {
      const until = boundAt(Date.now(), { side: "to", like: text, type });
      text = await newestIn(table, index, { partition, until }, signal);
    }
    if (text !== null && (newest === null || timeOf(text, index) > timeOf(newest, index))) newest = text;
  }
  return newest;
}

async function newestIn(
  table: DynamoTable,
  index: ChangeIndex,
  { partition, until }: { readonly partition: string; readonly until: string | null },
  signal: AbortSignal,
): Promise<string | null> {
  const [of, time] = index.key;
  const { Items: [item = {}] = [] } = await table.ask(
    (client, options) =>
      client.query(
        {
          TableName: table.name,
          IndexName: index.name,
          ScanIndexForward: false,
          Limit: 1,
          KeyConditionExpression: `#of = :of${until === null ? "" : " and #time <= :until"}`,
          ExpressionAttributeNames: { "#of": of.name, ...(until === null ? {} : { "#time": time.name }) },
          ExpressionAttributeValues: {
            ":of": partitionValue(partition, index),
            ...(until === null ? {} : { ":until": timeValue(until, time) }),
          },
        },
        options,
      ),
    signal,
  );
  return textOf(attributeOf(item, time.name));
}

/** @throws ConnectorError */
function timeOf(text: string, { name, key: [, time] }: Pick<ChangeIndex, "name" | "key">): number {
  const ms = msOf(text, time.type);
  if (ms !== null) return ms;
  throw new ConnectorError(
    "stop",
    `${time.name}, by which the index "${name}" is sorted, is no time that Rowmill knows.`,
    {
      hints: ["It knows ISO 8601 in UTC, such as 2026-11-27T23:00:00Z, and seconds or milliseconds since 1970."],
    },
  );
}

function partitionValue(text: string, { name, key: [of] }: ChangeIndex): AttributeValue {
  const value = keyValue(text, of.type);
  if (value === null) throw new ConnectorError("stop", `The index "${name}" has no partition ${JSON.stringify(text)}.`);
  return value;
}

function timeValue(text: string, { type }: KeyAttribute): AttributeValue {
  return type === "N" ? { N: text } : { S: text };
}

/**
 * All items are read where there is no mark, and where the newest time is far before it: the table was restored from a
 * backup, or its times have another form now.
 */
export function readsAll(since: Json, newest: string | null, index: ChangeIndex): boolean {
  const ms = typeof since === "string" ? msOf(since, index.key[1].type) : null;
  if (ms === null) return true;
  return newest !== null && timeOf(newest, index) < ms - index.overlapMs;
}

/** Where a pass over changes stands: in which partition, after which item, and up to which time it goes. */
interface Place {
  readonly partition: number;
  readonly after: Item | null;
  readonly until: string;
}

/** `newest`: null, if there is nothing to read. */
export function startOf(newest: string | null): Place {
  return { partition: 0, after: null, until: newest ?? "" };
}

/** Null: it is none of a pass over changes. */
export function readChangePlace(place: Json, index: ChangeIndex): Place | null {
  if (typeof place !== "object" || place === null || Array.isArray(place)) return null;
  const { partition, after, until } = place;
  if (typeof partition !== "number" || typeof until !== "string") return null;
  return { partition, until, after: typeof after === "string" ? itemOfKey(after, index.placeKey) : null };
}

/** `since` is a mark that `readsAll` does not refuse. */
export async function* queryPages(
  table: DynamoTable,
  index: ChangeIndex,
  { since, start, signal }: { readonly since: string; readonly start: Place; readonly signal: AbortSignal },
): AsyncGenerator<Omit<Page, "mark">> {
  const [, time] = index.key;
  const { until } = start;
  const sinceMs = timeOf(since, index);
  // A table that was loaded at once has one time in all of its items, and they would be read each time.
  if (until === "" || (until === since && sinceMs < Date.now() - LATE_MS_MAX - index.overlapMs)) return;
  const from = boundAt(Math.max(0, sinceMs - index.overlapMs), { side: "from", like: until, type: time.type });
  // All of its second, since not all partitions may write fractions.
  const to = boundAt(timeOf(until, index), { side: "to", like: until, type: time.type });
  let { partition, after } = start;
  while (partition < index.partitions.length) {
    const found = await queryPage(table, index, { from, to, partition, after }, signal);
    after = found.after;
    if (after === null) partition += 1;
    const key = after === null ? null : keyText(after, index.placeKey);
    yield { rows: found.items.map((item) => rowOf(item, index.names)), place: { partition, after: key, until } };
  }
}

async function queryPage(
  table: DynamoTable,
  index: ChangeIndex,
  { from, to, partition, after }: Omit<Place, "until"> & { readonly from: string; readonly to: string },
  signal: AbortSignal,
): Promise<{ readonly items: readonly Item[]; readonly after: Item | null }> {
  const [of, time] = index.key;
  const { ProjectionExpression, ExpressionAttributeNames } = projectionOf(index.names);
  const { Items = [], LastEvaluatedKey } = await table.ask(
    (client, options) =>
      client.query(
        {
          TableName: table.name,
          IndexName: index.name,
          Limit: PAGE_ROWS_MAX,
          KeyConditionExpression: "#of = :of and #time between :from and :to",
          ProjectionExpression,
          ExpressionAttributeNames: { ...ExpressionAttributeNames, "#of": of.name, "#time": time.name },
          ExpressionAttributeValues: {
            ":of": partitionValue(index.partitions[partition] ?? "", index),
            ":from": timeValue(from, time),
            ":to": timeValue(to, time),
          },
          ...(after === null ? {} : { ExclusiveStartKey: { ...after } }),
        },
        options,
      ),
    signal,
  );
  return { items: Items, after: LastEvaluatedKey ?? null };
}
