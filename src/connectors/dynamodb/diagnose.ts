/** What the doctor finds about a table of DynamoDB, as a source or as a target. Changes nothing. */
import type { ConnectorFinding, PrepareOptions } from "../../model/connector.js";
import { formatDuration } from "../../model/duration.js";
import { counted, formatCount } from "../../model/words/counted.js";
import { orFinding } from "../reading/findings.js";
import type { KeyType } from "./attribute-values.js";
import { describeTable, explainCall, openTable, type Described, type DynamoTable } from "./client.js";
import { nameOf } from "./failure.js";
import type { TablePlace } from "./place.js";
import { keyToMake, planFor, type Plan, type Wanted } from "./plan.js";
import { newestOf, type ChangeIndex } from "./query.js";
import { requireReadable } from "./read-pages.js";
import { projectionOf } from "./scan.js";
import type { ReadTable } from "./source.js";

/** Of a consistent read, which takes a unit for each of these. */
const UNIT_BYTES = 4_096;
const DAY_MS = 86_400_000;
const MIB = 1_048_576;
const CLOCKS_APART_MS_MAX = 60_000;

export function diagnoseSource(read: ReadTable, signal: AbortSignal): Promise<readonly ConnectorFinding[]> {
  return withTable(read, signal, async (table) => {
    const { found, key, index } = await requireReadable(table, read, signal);
    const names = [...new Set([...read.key, ...read.columns])];
    const ask = { TableName: table.name, ConsistentRead: true, Limit: 1, ...projectionOf(names) };
    await table.ask((client, options) => client.scan(ask, options), signal);
    const types = key.map(({ name, type }) => `${name} (${type})`).join(", ");
    const reached: ConnectorFinding = { level: "ok", text: `${table.shown} can be read; its key is ${types}` };
    const changes = index === null ? [] : [judgeIndex(index, await newestOf(table, index, signal))];
    return [reached, ...changes, judgeCost(table, found, read.everyMs), judgeCapacity(found), judgeClock(table)];
  });
}

/** `newest`: a time. */
function judgeIndex({ name }: ChangeIndex, newest: string | null): ConnectorFinding {
  if (newest !== null)
    return { level: "ok", text: `changes are read by the index "${name}", whose newest time is ${newest}` };
  return {
    level: "warning",
    text: `the index "${name}" has no items in the given partitions, so all items are read each time.`,
    fixes: ["Check `partitions`: the values of the index's partition key."],
  };
}

function judgeCost({ shown }: DynamoTable, { itemCount, bytes }: Described, everyMs: number): ConnectorFinding {
  const units = Math.max(1, Math.ceil(bytes / UNIT_BYTES));
  const daily = everyMs === 0 ? "" : `, so about ${formatCount(Math.ceil(units * (DAY_MS / everyMs)))} a day`;
  const often = everyMs === 0 ? "" : ` every ${formatDuration(everyMs)}`;
  const size = `${counted(itemCount, "item")}, ${(bytes / MIB).toFixed(1)} MiB`;
  return {
    level: "ok",
    text:
      `${shown} had ${size} when DynamoDB last counted, up to six hours ago: ` +
      `reading all of it${often} takes about ${counted(units, "read unit")}${daily}`,
  };
}

function judgeCapacity({ readsPerSecond, bytes }: Described): ConnectorFinding {
  if (readsPerSecond === null) return { level: "ok", text: "its capacity is on demand" };
  const seconds = Math.ceil(bytes / UNIT_BYTES / readsPerSecond);
  const units = counted(readsPerSecond, "read unit");
  return { level: "ok", text: `its capacity is ${units} a second, so a reading takes at least ${seconds} s` };
}

/** AWS refuses calls whose time is five minutes off; the SDK then corrects it by itself. */
function judgeClock(table: DynamoTable): ConnectorFinding {
  const offsetMs = table.clockOffsetMs();
  if (Math.abs(offsetMs) <= CLOCKS_APART_MS_MAX) return { level: "ok", text: "its clock agrees with this machine's" };
  const way = offsetMs > 0 ? "behind" : "ahead of";
  return {
    level: "warning",
    text: `this machine's clock is ${Math.round(Math.abs(offsetMs) / 1_000)} s ${way} that of AWS.`,
    fixes: ["Synchronize it with a time server: AWS refuses calls that are signed with another time."],
  };
}

export function diagnoseTarget(
  place: TablePlace,
  wanted: Wanted,
  of: PrepareOptions,
): Promise<readonly ConnectorFinding[]> {
  const { signal } = of;
  return withTable(place, signal, async (table) => {
    const key = keyToMake(table, wanted, of);
    const found = await describeTable(table, signal);
    if (found === null) {
      const named = key.map((name) => `"${name}"`).join(", ");
      return [{ level: "ok", text: `rowmill up creates ${table.shown} with the key ${named}, billed on demand` }];
    }
    const plan = planFor(table, { found, wanted, of });
    await probe(table, plan, signal);
    return [{ level: "ok", text: `answers can be written into ${table.shown}` }, judgeClock(table)];
  });
}

const PROBES: Readonly<Record<KeyType, { S: string } | { N: string } | { B: Uint8Array }>> = {
  S: { S: "rowmill doctor" },
  N: { N: "0" },
  B: { B: Buffer.from("rowmill doctor") },
};

/** An update that no item can fulfill: it shows the right to update, and changes nothing. Costs one write unit. */
async function probe(table: DynamoTable, { key, fence }: Plan, signal: AbortSignal): Promise<void> {
  const named = Object.fromEntries(key.map(({ name, type }) => [name, PROBES[type]]));
  await table.ask((client, options) => client.getItem({ TableName: table.name, Key: named }, options), signal);
  try {
    await table.raw(
      (client, options) =>
        client.updateItem(
          {
            TableName: table.name,
            Key: named,
            UpdateExpression: "remove #fence",
            ConditionExpression: "attribute_exists(#fence) and attribute_not_exists(#fence)",
            ExpressionAttributeNames: { "#fence": fence },
          },
          options,
        ),
      signal,
    );
  } catch (error) {
    if (nameOf(error) !== "ConditionalCheckFailedException") throw explainCall(error, table.shown, signal);
  }
}

async function withTable(
  place: TablePlace,
  signal: AbortSignal,
  look: (table: DynamoTable) => Promise<readonly ConnectorFinding[]>,
): Promise<readonly ConnectorFinding[]> {
  return orFinding(async () => {
    const table = await openTable(place);
    try {
      return await look(table);
    } finally {
      table.close();
    }
  });
}
