/**
 * Reads all items of a DynamoDB table, in segments at once. There is no snapshot: an item that is written meanwhile is
 * read before or after, or by the next pass. After a crash each segment continues after its last item, which need not
 * exist any more.
 */
import type { Page, ReadOptions } from "../../model/connector.js";
import type { Json } from "../../model/pipeline.js";
import { attributeOf, textOf, type Item } from "./attribute-values.js";
import type { DynamoTable, KeyAttribute } from "./client.js";
import { itemOfKey, keyText } from "./place-key.js";
import type { ReadTable } from "./source.js";

/** DynamoDB gives no more than 1 MB at once anyway. */
const PAGE_ROWS_MAX = 2_000;

/** Where a segment stands: before its first item, after this key, or at its end. */
type Stand = "start" | "end" | Item;

/** `key`: the table's. @throws ConnectorError */
export async function* scanPages(
  table: DynamoTable,
  { read, key }: { readonly read: ReadTable; readonly key: readonly KeyAttribute[] },
  { place, signal }: Pick<ReadOptions, "place" | "signal">,
): AsyncGenerator<Page> {
  const left = new AbortController();
  const stands = readPlace(place, key) ?? Array.from({ length: read.segments }, (): Stand => "start");
  try {
    yield* scanFrom(table, { read, key, stands }, AbortSignal.any([signal, left.signal]));
  } finally {
    // What was asked ahead.
    left.abort();
  }
}

interface Scanning {
  readonly read: ReadTable;
  readonly key: readonly KeyAttribute[];
  /** One a segment; changed as the pass proceeds. */
  readonly stands: Stand[];
}

interface Scanned {
  readonly segment: number;
  readonly items: readonly Item[];
  readonly stand: Stand;
}

async function* scanFrom(
  table: DynamoTable,
  { read, key, stands }: Scanning,
  signal: AbortSignal,
): AsyncGenerator<Page> {
  const running = new Map<number, Promise<Scanned>>();
  const names = [...new Set([...read.key, ...read.columns])];
  const begin = (segment: number, from: Stand) => {
    if (from === "end") return;
    const scanned = scan(table, { names, segment, segments: stands.length, from }, signal);
    // Its error counts when its turn comes.
    scanned.catch(() => undefined);
    running.set(segment, scanned);
  };
  for (const [segment, stand] of stands.entries()) begin(segment, stand);
  while (running.size > 0) {
    const { segment, items, stand } = await Promise.race(running.values());
    running.delete(segment);
    stands[segment] = stand;
    begin(segment, stand);
    yield { rows: items.map((item) => rowOf(item, names)), place: placeOf(stands, key) };
  }
}

async function scan(
  table: DynamoTable,
  { names, segment, segments, from }: { names: readonly string[]; segment: number; segments: number; from: Stand },
  signal: AbortSignal,
): Promise<Scanned> {
  const { Items = [], LastEvaluatedKey } = await table.ask(
    (client, options) =>
      client.scan(
        {
          TableName: table.name,
          ConsistentRead: true,
          Limit: PAGE_ROWS_MAX,
          Segment: segment,
          TotalSegments: segments,
          ...projectionOf(names),
          ...(typeof from === "string" ? {} : { ExclusiveStartKey: { ...from } }),
        },
        options,
      ),
    signal,
  );
  return { segment, items: Items, stand: LastEvaluatedKey ?? "end" };
}

/** By names that no word of DynamoDB is reserved for. */
export function projectionOf(names: readonly string[]): {
  readonly ProjectionExpression: string;
  readonly ExpressionAttributeNames: Record<string, string>;
} {
  return {
    ProjectionExpression: names.map((_, index) => `#p${index}`).join(", "),
    ExpressionAttributeNames: Object.fromEntries(names.map((name, index) => [`#p${index}`, name])),
  };
}

export function rowOf(item: Item, names: readonly string[]): Readonly<Record<string, string | null>> {
  return Object.fromEntries(names.map((name) => [name, textOf(attributeOf(item, name))]));
}

function placeOf(stands: readonly Stand[], key: readonly KeyAttribute[]): Json {
  return stands.map((stand) => (typeof stand === "string" ? stand : { after: keyText(stand, key) }));
}

/** Null: from the beginning. */
function readPlace(place: Json, key: readonly KeyAttribute[]): Stand[] | null {
  if (!Array.isArray(place) || place.length === 0) return null;
  const stands = place.map((stand) => readStand(stand, key)).filter((stand) => stand !== null);
  return stands.length === place.length ? stands : null;
}

function readStand(stand: Json, key: readonly KeyAttribute[]): Stand | null {
  if (stand === "start" || stand === "end") return stand;
  const after = typeof stand === "object" && stand !== null && !Array.isArray(stand) ? stand["after"] : null;
  return typeof after === "string" ? itemOfKey(after, key) : null;
}
