/** How answers go into a table of DynamoDB: its key, which is made or checked, and the attribute of each field. */
import { setTimeout as sleep } from "node:timers/promises";
import { ConnectorError, type PrepareOptions } from "../../model/connector.js";
import {
  describeTable,
  explainCall,
  requireKey,
  type Described,
  type DynamoTable,
  type KeyAttribute,
} from "./client.js";
import { nameOf } from "./failure.js";

/** `key`: null as it was not named. */
export interface Wanted {
  readonly key: readonly string[] | null;
  readonly columns: Readonly<Record<string, string>>;
}

export interface Plan {
  readonly key: readonly KeyAttribute[];
  readonly columns: readonly { readonly field: string; readonly attribute: string; readonly isJsonText: boolean }[];
  readonly fence: string;
  /** Of the items that answers are written back into: what they were asked with. Null: other items. */
  readonly content: readonly string[] | null;
}

export const MODEL = "rowmill_model";
export const WRITTEN_AT = "rowmill_at";
const KEY_DEFAULT = ["key"];
const KEY_ATTRIBUTES_MAX = 2;
const CREATED_LOOKS_MAX = 80;
const CREATED_LOOK_MS = 500;

/** @throws ConnectorError */
export async function prepareTable(table: DynamoTable, wanted: Wanted, of: PrepareOptions): Promise<Plan> {
  const { signal } = of;
  const key = keyToMake(table, wanted, of);
  let found = await describeTable(table, signal);
  if (found === null) await createTable(table, key, signal);
  for (let looks = 0; found === null || found.status === "CREATING"; looks++) {
    if (looks === CREATED_LOOKS_MAX) throw new ConnectorError("again", `${table.shown} is still being created.`);
    if (looks > 0) await sleep(CREATED_LOOK_MS, undefined, { signal });
    found = await describeTable(table, signal);
  }
  return planFor(table, { found, wanted, of });
}

/** On-demand: it costs nothing while it is not used, and needs no capacity to be planned. */
async function createTable(table: DynamoTable, key: readonly string[], signal: AbortSignal): Promise<void> {
  try {
    await table.raw(
      (client, options) =>
        client.createTable(
          {
            TableName: table.name,
            BillingMode: "PAY_PER_REQUEST",
            AttributeDefinitions: key.map((AttributeName) => ({ AttributeName, AttributeType: "S" })),
            KeySchema: key.map((AttributeName, index) => ({ AttributeName, KeyType: index === 0 ? "HASH" : "RANGE" })),
          },
          options,
        ),
      signal,
    );
  } catch (error) {
    // Another worker makes it.
    if (nameOf(error) !== "ResourceInUseException") throw explainCall(error, table.shown, signal);
  }
}

/** @throws ConnectorError */
export function keyToMake(
  table: DynamoTable,
  { key }: Wanted,
  { key: given, source }: PrepareOptions,
): readonly string[] {
  const names = key ?? source?.key ?? KEY_DEFAULT;
  if (names.length > KEY_ATTRIBUTES_MAX)
    throw new ConnectorError("stop", `A key of DynamoDB has at most ${KEY_ATTRIBUTES_MAX} attributes.`);
  requireParts(table, names.length, given?.length);
  return names;
}

/** One attribute takes a key of any columns, as the JSON text that the ledger has. @throws ConnectorError */
function requireParts({ shown }: DynamoTable, parts: number, columns = parts): void {
  if (parts === 1 || parts === columns) return;
  throw new ConnectorError("stop", `The key of ${shown} has ${parts} attributes, but the source's has ${columns}.`, {
    hints: ["Deliver to another table. A key of one attribute takes any key."],
  });
}

/** @throws ConnectorError */
export function planFor(
  table: DynamoTable,
  { found, wanted, of }: { readonly found: Described; readonly wanted: Wanted; readonly of: PrepareOptions },
): Plan {
  const { source = null, pipeline, fields } = of;
  if (source !== null && wanted.key !== null && wanted.key.join("\n") !== source.key.join("\n"))
    throw new ConnectorError("stop", `Answers go back into ${table.shown}, so leave out the key in the target.`);
  const names = source?.key ?? wanted.key ?? found.key.map(({ name }) => name);
  const key = requireKey(table, found, names);
  requireParts(table, key.length, of.key?.length);
  const unknown = Object.keys(wanted.columns).find((name) => !fields.some(({ field }) => field === name));
  if (unknown !== undefined)
    throw new ConnectorError("stop", `The target's columns name "${unknown}", which is no field of the answer.`);
  const columns = fields.map(({ field, isJsonText = false }) => ({
    field,
    isJsonText,
    attribute: wanted.columns[field] ?? field,
  }));
  const fence = `rowmill_fence_${pipeline}`;
  const ours = [...names, fence, MODEL, WRITTEN_AT];
  const taken = columns.find(
    ({ attribute }, index) =>
      ours.includes(attribute) || columns.slice(0, index).some((other) => other.attribute === attribute),
  );
  if (taken !== undefined)
    throw new ConnectorError("stop", `The answer's "${taken.field}" would overwrite "${taken.attribute}".`, {
      hints: ["Give it another attribute: dynamodb({ …, columns: { field: attribute } })"],
    });
  return { key, columns, fence, content: source?.columns ?? null };
}
