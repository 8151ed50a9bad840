/** The tables of a SQLite database, for `rowmill init`: their columns, and what identifies a row. */
import sql from "sql-template-tag";
import { openDriver, type OpenDriver } from "./driver.js";
import { explain } from "./failure.js";
import { placeOf } from "./place.js";
import { findTable } from "./table.js";

/** More than you would read through. */
const TABLES_MAX = 500;
const CALL_MS_MAX = 30_000;
const KEYLESS = "no primary key and no unique index, so nothing identifies a row";

export interface ListedTable {
  readonly name: string;
  readonly qualified: string;
  readonly columns: readonly { readonly name: string; readonly type: string }[];
  readonly keys: readonly (readonly string[])[];
  /** Null: it can be read. */
  readonly problem: string | null;
}

/** `place`: the file, or the server. @throws ConnectorError */
export async function listTables(
  url: string,
  signal: AbortSignal,
): Promise<{ readonly tables: readonly ListedTable[]; readonly place: string }> {
  const place = placeOf(url, "--from");
  const driver = await openDriver({ place, authToken: "", mode: "read", callMsMax: CALL_MS_MAX, signal });
  try {
    return { tables: await readTables(driver), place: place.shown };
  } catch (error) {
    driver.end();
    throw explain(error, place, { isReading: true });
  } finally {
    driver.release();
  }
}

async function readTables(driver: OpenDriver): Promise<ListedTable[]> {
  const named = await driver.run(sql`
    select l.name
    from pragma_table_list l
    where l.schema = 'main' and l.type = 'table' and l.name not like 'sqlite\\_%' escape '\\'
    order by l.name
    limit ${TABLES_MAX}`);
  const tables: ListedTable[] = [];
  for (const [name] of named) {
    const found = await findTable(driver, String(name));
    if (found === null) continue;
    const columns = found.columns.map((column) => ({ name: column.name, type: column.type }));
    const keys = found.primary.length === 0 ? [] : [found.primary];
    const unique = found.uniques.map((index) => index.map((column) => column.name));
    const all = [...keys, ...unique.filter((key) => key.join("\n") !== found.primary.join("\n") && !key.includes(""))];
    const problem = all.length > 0 ? null : KEYLESS;
    tables.push({ name: found.name, qualified: found.name, columns, keys: all, problem });
  }
  return tables;
}
