/** Reads a user's table: rows by key, and chunks for the sweeper. */
import { sql, type Queryable } from "../store/database.js";
import type { Source } from "./source.js";
import { askedChunk, compareChunk } from "./table-chunks.js";
import type { SourceTable } from "./table-inspection.js";
import { eachKey, isRowOf, tableParts, type TableParts, type TableSourceOptions } from "./table-parts.js";
import { readable, readRows, readShown, readVersions } from "./table-rows.js";

export function createTableSource(table: SourceTable, options: TableSourceOptions): Source {
  const parts = tableParts(table, options);
  return {
    readVersions: (tx, keys) => readVersions(tx, parts, keys),
    readRows: (tx, keys) => readRows(tx, parts, keys),
    readShown: (tx, key) => readShown(tx, parts, key),
    compareChunk: (tx, cursor, rowsMax) => compareChunk(tx, parts, cursor, rowsMax),
    askedChunk: (tx, cursor, rowsMax) => askedChunk(tx, parts, cursor, rowsMax),
    missingKeys: (tx, keys) => missingKeys(tx, parts, keys),
    spellKey: (keyParts) => spellKey(keyParts, table.key.length),
  };
}
async function missingKeys(tx: Queryable, parts: TableParts, keys: readonly string[]): Promise<string[]> {
  const present = await readable(tx, keys, (part) =>
    tx.rows<{ key: string }>(
      parts.statement(sql`
      select k.key from ${eachKey(part)} where exists (select 1 from ${parts.from} s where ${isRowOf(parts, sql`k.key`)})`),
    ),
  );
  const found = new Set(present.map((row) => row.key));
  return keys.filter((key) => !found.has(key));
}

/** As `json_build_array(…)::text` writes it: `["1", "x"]`. */
function spellKey(parts: readonly string[], columns: number): string {
  const [only] = parts;
  return columns === 1 && only !== undefined
    ? only
    : `[${parts.map((part) => JSON.stringify(part)).join(", ")}]`;
}
