/** Owns how you name a row: the parts of its key on the command line, brought into the ledger's spelling. */
import { RowmillError } from "../../model/errors.js";
import * as arrivals from "../../store/requests/arrivals.js";
import type { SourceTable } from "../../sources/table/inspection.js";
import { bisect } from "../../postgres/bisect.js";
import { join, raw, sql, type Queryable } from "../../postgres/database.js";

/** A composite key: its parts, or one JSON array. @throws RowmillError `usage` for another number of parts */
export function keyParts(given: readonly string[], columns: number | null): readonly string[] {
  const [only = ""] = given;
  const listed = given.length === 1 && columns !== 1 ? partsOfJson(only) : null;
  const parts = listed ?? given;
  if (columns === null || parts.length === columns) return parts;
  const expected = columns === 1 ? "one column" : `${columns} columns`;
  throw new RowmillError(
    "usage",
    `The key of this pipeline has ${expected}, but ${parts.length} ${parts.length === 1 ? "was" : "were"} given.`,
    { hints: ['Write its parts as a JSON array: \'["a", "1"]\'. rowmill show also takes them one after another.'] },
  );
}

function partsOfJson(text: string): readonly string[] | null {
  if (!text.trimStart().startsWith("[")) return null;
  try {
    const parsed: unknown = JSON.parse(text);
    return Array.isArray(parsed) ? parsed.map(String) : null;
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
}

/** In the ledger's spelling: `007` names the row 7 where the key is a number. */
export async function spellKey(tx: Queryable, table: SourceTable | null, parts: readonly string[]): Promise<string> {
  if (table === null) return spellText(parts);
  const texts = table.key.map((column, index) => sql`${parts[index] ?? ""}::text::${raw(column.type)}::text`);
  const row = await tx.first<{ parts: string[] }>(sql`select array[${join(texts)}] as parts`).catch((error) => {
    throw noSuchKey(error, table);
  });
  return spellText(row?.parts ?? parts);
}

/** Many at once, one entry each, in the same order; null: it cannot be a key of this table. */
export async function spellKeys(
  tx: Queryable,
  table: SourceTable,
  keys: readonly (readonly string[])[],
): Promise<(string | null)[]> {
  const spelt: (string | null)[] = keys.map(() => null);
  const texts = table.key.map((column, index) => sql`(k.parts ->> ${raw(String(index))})::${raw(column.type)}::text`);
  const all = keys.map((parts, position) => ({ position, parts }));
  const read = async (part: typeof all) => {
    const rows = await tx.rows<{ position: number; parts: string[] }>(sql`
      select k.position, array[${join(texts)}] as parts
      from json_to_recordset(${JSON.stringify(part)}::json) as k (position int, parts json)`);
    for (const row of rows) {
      const key = spellText(row.parts);
      if (Buffer.byteLength(key) <= arrivals.KEY_BYTES_MAX) spelt[row.position] = key;
    }
  };
  await bisect(
    tx,
    all,
    async (part) => read([...part]),
    async () => undefined,
  );
  return spelt;
}

/** As `json_build_array(…)::text` writes it. */
function spellText(parts: readonly string[]): string {
  const [only = ""] = parts;
  return parts.length === 1 ? only : `[${parts.map((part) => JSON.stringify(part)).join(", ")}]`;
}

function noSuchKey(error: unknown, table: SourceTable): unknown {
  if (!(error instanceof RowmillError) || error.code !== "database_refused") return error;
  return new RowmillError("usage", `This is not ${keyOf(table)}`, { cause: error });
}

/** The keys of `--key` as the ledger spells them. @throws RowmillError `usage` */
export async function spelledKeys(tx: Queryable, table: SourceTable, given: readonly string[]): Promise<string[]> {
  const parts = given.map((text) => keyParts([text], table.key.length));
  const keys = await spellKeys(tx, table, parts);
  return keys.map((key, index) => {
    if (key !== null) return key;
    throw new RowmillError("usage", `--key: ${given[index] ?? ""} is not ${keyOf(table)}`);
  });
}

function keyOf({ qualified, key }: SourceTable): string {
  const types = key.map((column) => `${column.name} (${column.type})`).join(", ");
  return `a key of ${qualified}, whose key is ${types}.`;
}
