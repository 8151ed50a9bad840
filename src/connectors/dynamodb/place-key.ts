/** A key of DynamoDB as a text of a place, and back. Pure. */
import { attributeOf, keyValue, textOf, type Item } from "./attribute-values.js";
import type { KeyAttribute } from "./client.js";

/** JSON within a text: the ledger holds no U+0000, which a key may. */
export function keyText(item: Item, key: readonly KeyAttribute[]): string {
  return JSON.stringify(key.map(({ name }) => textOf(attributeOf(item, name))));
}

/** Null: it is none of this key. */
export function itemOfKey(text: string, key: readonly KeyAttribute[]): Item | null {
  const texts: unknown = JSON.parse(text);
  if (!Array.isArray(texts) || texts.length !== key.length) return null;
  const values = key.map(({ name, type }, index) => [name, keyValue(String(texts[index]), type)] as const);
  return values.some(([, value]) => value === null) ? null : (Object.fromEntries(values) as Item);
}
