/**
 * Writes one change into its item, by an update that takes effect only if the item's fence is older. Where answers go
 * back into the source's items, it also compares what the item was asked with: the values that were read are in the
 * condition, so nothing comes between.
 */
import type { AttributeValue, UpdateItemCommandInput } from "@aws-sdk/client-dynamodb";
import type { Change } from "../../model/connector.js";
import type { Json } from "../../model/pipeline.js";
import { attributeOf, keyValue, textOf, valueOf, type Item } from "./attribute-values.js";
import type { DynamoTable } from "./client.js";
import { isThrottle, nameOf, wordsOf } from "./failure.js";
import { MODEL, WRITTEN_AT, type Plan } from "./plan.js";
import { projectionOf, rowOf } from "./scan.js";

/** `row`: of an item that answers are written back into, as this write leaves it. */
export type Outcome =
  | { readonly kind: "written"; readonly row?: Readonly<Record<string, string | null>> }
  | { readonly kind: "stale"; readonly fence: string }
  | { readonly kind: "changed" | "busy" | "throttled" }
  | { readonly kind: "failed"; readonly reason: string };

/** What is wrong with one item only. */
const OF_ITEM = new Set(["ValidationException", "ItemCollectionSizeLimitExceededException"]);
/** Another write or transaction has the item. */
const TAKEN = new Set(["TransactionConflictException", "ReplicatedWriteConflictException"]);
const REFUSED = "ConditionalCheckFailedException";

interface At {
  readonly table: DynamoTable;
  readonly plan: Plan;
  readonly signal: AbortSignal;
}

/** @throws what the SDK throws, if it is not about this item */
export async function writeItem(at: At, change: Change): Promise<Outcome> {
  const key = keyOf(change.key, at.plan);
  if (key === null) return { kind: "failed", reason: "its key is no value of the type of the table's key" };
  try {
    return at.plan.content === null ? await update(at, { key, change }) : await writeBack(at, { key, change });
  } catch (error) {
    if (isThrottle(error)) return { kind: "throttled" };
    if (TAKEN.has(nameOf(error))) return { kind: "busy" };
    if (OF_ITEM.has(nameOf(error))) return { kind: "failed", reason: wordsOf(error) };
    throw error;
  }
}

/** Null: it cannot be a key of this table. */
function keyOf(text: string, { key }: Plan): Record<string, AttributeValue> | null {
  const parts = key.length === 1 ? [text] : partsOf(text);
  if (parts.length !== key.length) return null;
  const values = key.map(({ name, type }, index) => [name, keyValue(parts[index] ?? "", type)] as const);
  const complete = values.flatMap(([name, value]) => (value === null ? [] : [[name, value] as const]));
  return complete.length === key.length ? Object.fromEntries(complete) : null;
}

function partsOf(text: string): readonly string[] {
  const parsed: unknown = text.startsWith("[") ? JSON.parse(text) : [];
  return Array.isArray(parsed) ? parsed.map(String) : [];
}

interface Writing {
  readonly key: Record<string, AttributeValue>;
  readonly change: Change;
  /** What must still be there. Left out: nothing need be. */
  readonly seen?: { readonly item: Item; readonly names: readonly string[] };
}

async function update(at: At, writing: Writing): Promise<Outcome> {
  const { table, signal, plan } = at;
  try {
    const input = updateOf(plan, writing);
    const { Attributes = {} } = await table.raw(
      (client, options) => client.updateItem({ TableName: table.name, ...input }, options),
      signal,
    );
    // Only an answer: an item without one is asked again anyway.
    if (plan.content === null || "deleted" in writing.change) return { kind: "written" };
    return { kind: "written", row: rowOf(Attributes, plan.content) };
  } catch (error) {
    if (nameOf(error) !== REFUSED) throw error;
    // What was read before is not as it was: the next try looks again.
    if (writing.seen !== undefined) return { kind: "busy" };
    const item = await readItem(at, writing.key, [plan.fence]);
    return judgeFence(item ?? {}, plan.fence, writing.change) ?? { kind: "busy" };
  }
}

/** Null: its fence is older, or it has none. */
function judgeFence(item: Item, fence: string, change: Change): Outcome | null {
  const held = attributeOf(item, fence);
  if (held === null) return null;
  if (held.N === undefined || !/^\d+$/.test(held.N))
    return { kind: "failed", reason: `its attribute ${fence} is no whole number` };
  const [theirs, ours] = [BigInt(held.N), BigInt(change.fence)];
  if (theirs < ours) return null;
  return theirs === ours ? { kind: "written" } : { kind: "stale", fence: held.N };
}

async function writeBack(at: At, { key, change }: Writing): Promise<Outcome> {
  const { plan } = at;
  const content = plan.content ?? [];
  const isDeletion = "deleted" in change;
  const item = await readItem(at, key, [...Object.keys(key), ...content, plan.fence]);
  if (item === null) return { kind: isDeletion ? "written" : "changed" };
  const judged = judgeFence(item, plan.fence, change);
  if (judged !== null) return judged;
  const isAsAsked = isDeletion || content.every((name) => textOf(attributeOf(item, name)) === change.expect?.[name]);
  if (!isAsAsked) return { kind: "changed" };
  return update(at, { key, change, seen: { item, names: isDeletion ? [] : content } });
}

/** Null: there is none. */
async function readItem(
  { table, signal }: At,
  key: Record<string, AttributeValue>,
  names: readonly string[],
): Promise<Item | null> {
  const { Item: item } = await table.raw(
    (client, options) =>
      client.getItem(
        { TableName: table.name, Key: key, ConsistentRead: true, ...projectionOf([...new Set(names)]) },
        options,
      ),
    signal,
  );
  return item ?? null;
}

type Update = Omit<UpdateItemCommandInput, "TableName">;

/** A null field, and all of a deleted answer, is an attribute less. */
function updateOf(plan: Plan, { key, change, seen }: Writing): Update {
  const names: Record<string, string> = { "#fence": plan.fence };
  const values: Record<string, AttributeValue> = { ":fence": { N: change.fence } };
  const [set, remove] = [["#fence = :fence"], [] as string[]];
  for (const [index, [name, value]] of attributesOf(plan, change).entries()) {
    names[`#a${index}`] = name;
    if (value === null) remove.push(`#a${index}`);
    else {
      values[`:a${index}`] = value;
      set.push(`#a${index} = :a${index}`);
    }
  }
  const conditions = ["(attribute_not_exists(#fence) or #fence < :fence)"];
  for (const [index, name] of (seen?.names ?? []).entries()) {
    const value = attributeOf(seen?.item ?? {}, name);
    names[`#c${index}`] = name;
    if (value !== null) values[`:c${index}`] = value;
    conditions.push(value === null ? `attribute_not_exists(#c${index})` : `#c${index} = :c${index}`);
  }
  if (seen !== undefined) {
    names["#key"] = Object.keys(key)[0] ?? "";
    conditions.push("attribute_exists(#key)");
  }
  return {
    Key: key,
    UpdateExpression: `set ${set.join(", ")}${remove.length === 0 ? "" : ` remove ${remove.join(", ")}`}`,
    ConditionExpression: conditions.join(" and "),
    ExpressionAttributeNames: names,
    ExpressionAttributeValues: values,
    ReturnValues: seen === undefined ? "NONE" : "ALL_NEW",
  };
}

function attributesOf(plan: Plan, change: Change): readonly (readonly [name: string, AttributeValue | null])[] {
  const cells = "deleted" in change ? {} : change.cells;
  const stamps = "deleted" in change ? [null, null] : [{ S: change.model }, { S: new Date().toISOString() }];
  return [
    ...plan.columns.map(
      ({ field, attribute, isJsonText }) => [attribute, cellValue(cells[field] ?? null, isJsonText)] as const,
    ),
    [MODEL, stamps[0] ?? null],
    [WRITTEN_AT, stamps[1] ?? null],
  ];
}

function cellValue(cell: Json, isJsonText: boolean): AttributeValue | null {
  const json = isJsonText && typeof cell === "string" ? (JSON.parse(cell) as Json) : cell;
  return json === null ? null : valueOf(json);
}
