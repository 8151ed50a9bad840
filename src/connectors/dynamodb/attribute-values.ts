/** DynamoDB's typed values and texts. Numbers stay the texts that they are: they have up to 38 digits. Pure. */
import type { AttributeValue } from "@aws-sdk/client-dynamodb";
import type { Json } from "../../model/pipeline.js";

export type KeyType = "S" | "N" | "B";

export type Item = Readonly<Record<string, AttributeValue>>;

const NUMBER = /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/;
const BASE64 = /^(?:[A-Za-z\d+/]{4})*(?:[A-Za-z\d+/]{2}==|[A-Za-z\d+/]{3}=)?$/;

/** Null: the item has none. */
export function attributeOf(item: Item, name: string): AttributeValue | null {
  return Object.hasOwn(item, name) ? (item[name] ?? null) : null;
}

/** Binary values in base64; maps, lists and sets as JSON. A missing attribute and NULL are null. */
export function textOf(value: AttributeValue | null): string | null {
  if (value === null || value.NULL !== undefined) return null;
  if (value.S !== undefined) return value.S;
  if (value.N !== undefined) return value.N;
  if (value.BOOL !== undefined) return String(value.BOOL);
  if (value.B !== undefined) return base64(value.B);
  return jsonOf(value);
}

/** One text for equal values: names and sets, which have no order, are sorted. */
function jsonOf(value: AttributeValue): string {
  if (value.N !== undefined) return jsonNumber(value.N);
  if (value.L !== undefined) return `[${value.L.map(jsonOf).join(",")}]`;
  if (value.M !== undefined) return jsonMap(value.M);
  if (value.NS !== undefined) return jsonSet(value.NS, jsonNumber);
  if (value.SS !== undefined) return jsonSet(value.SS, (text) => JSON.stringify(text));
  if (value.BS !== undefined) return jsonSet(value.BS.map(base64), (text) => JSON.stringify(text));
  if (value.BOOL !== undefined) return String(value.BOOL);
  return JSON.stringify(textOf(value));
}

function jsonMap(map: Item): string {
  const names = Object.keys(map).toSorted();
  return `{${names.map((name) => `${JSON.stringify(name)}:${jsonOf(map[name] ?? { NULL: true })}`).join(",")}}`;
}

function jsonSet(texts: readonly string[], json: (text: string) => string): string {
  return `[${texts.toSorted().map(json).join(",")}]`;
}

/** With all its digits. */
function jsonNumber(text: string): string {
  return NUMBER.test(text) ? text : JSON.stringify(text);
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("base64");
}

/** What `textOf` reads as this text. Null: no value of this type has it. */
export function keyValue(text: string, type: KeyType): AttributeValue | null {
  if (type === "S") return { S: text };
  if (type === "N") return NUMBER.test(text) ? { N: text } : null;
  return BASE64.test(text) ? { B: Buffer.from(text, "base64") } : null;
}

/** A list stays a list: a set has no order, and no value twice. */
export function valueOf(json: Json): AttributeValue {
  if (json === null) return { NULL: true };
  if (typeof json === "string") return { S: json };
  if (typeof json === "number") return { N: String(json) };
  if (typeof json === "boolean") return { BOOL: json };
  if (Array.isArray(json)) return { L: json.map(valueOf) };
  return { M: Object.fromEntries(Object.entries(json).map(([name, inner]) => [name, valueOf(inner)])) };
}
