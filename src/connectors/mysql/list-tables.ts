/** The tables of a database of MySQL or MariaDB, for `rowmill init`: their columns, and what identifies a row. */
import sql from "sql-template-tag";
import { requireAddress } from "./address.js";
import { withSession, type Session } from "./connection.js";

/** More than you would read through. */
const TABLES_MAX = 500;
const KEYLESS = "no primary key and no unique index without nulls, so nothing identifies a row";

export interface ListedTable {
  readonly name: string;
  readonly qualified: string;
  readonly columns: readonly { readonly name: string; readonly type: string }[];
  /** Primary key first. */
  readonly keys: readonly (readonly string[])[];
  /** The server sets it with each change of a row. */
  readonly cursor?: string;
  /** Null: it can be read. */
  readonly problem: string | null;
}

/** `place`: `host:port/database`. @throws ConnectorError */
export async function listTables(
  url: string,
  signal: AbortSignal,
): Promise<{ readonly tables: readonly ListedTable[]; readonly place: string }> {
  const address = requireAddress(url, "--from");
  const tables = await withSession(address, signal, (session) => readTables(session, address.database));
  return { tables, place: address.place };
}

type ListedColumn = Readonly<Record<"table_name" | "name" | "type" | "nullable" | "extra", string>>;

async function readTables(session: Session, database: string): Promise<ListedTable[]> {
  const named = await session.rows<{ name: string }>(sql`
    select table_name as name
    from information_schema.tables
    where table_schema = ${database} and table_type = 'BASE TABLE'
    order by table_name
    limit ${TABLES_MAX}`);
  const columns = await session.rows<ListedColumn>(sql`
    select table_name as table_name, column_name as name, column_type as type, is_nullable as nullable, extra as extra
    from information_schema.columns
    where table_schema = ${database}
    order by table_name, ordinal_position`);
  const indexes = await session.rows<{ table_name: string; index_name: string; name: string; part: string | null }>(sql`
    select table_name as table_name, index_name as index_name, column_name as name, sub_part as part
    from information_schema.statistics
    where table_schema = ${database} and non_unique = 0
    order by table_name, index_name <> 'PRIMARY', index_name, seq_in_index`);
  return named.map(({ name }) => {
    const own = columns.filter((column) => column.table_name === name);
    const nullable = new Set(own.filter((column) => column.nullable === "YES").map((column) => column.name));
    const parts = indexes.filter((index) => index.table_name === name);
    const keys = [...new Set(parts.map((part) => part.index_name))]
      .map((index) => parts.filter((part) => part.index_name === index))
      .filter((key) => key.every((part) => part.part === null && !nullable.has(part.name)))
      .map((key) => key.map((part) => part.name));
    const problem = keys.length > 0 ? null : KEYLESS;
    const cursor = own.find(({ extra }) => /on update current_timestamp/i.test(extra))?.name;
    const shown = own.map((one) => ({ name: one.name, type: one.type }));
    return { name, qualified: name, columns: shown, keys, ...(cursor === undefined ? {} : { cursor }), problem };
  });
}
