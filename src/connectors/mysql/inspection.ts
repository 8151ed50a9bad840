/** Looks at a table of MySQL or MariaDB: its columns, its key and its unique indexes. Only reads. */
import sql, { empty, join, raw, type Sql } from "sql-template-tag";
import { ConnectorError } from "../../model/connector.js";
import { nearMatch } from "../../model/words/near-match.js";
import type { Address } from "./address.js";
import type { Session } from "./connection.js";

export interface Column {
  readonly name: string;
  /** `varchar`, without length or sign. */
  readonly type: string;
  /** `int(8) unsigned zerofill`, as it was declared. */
  readonly declared: string;
  readonly nullable: boolean;
  /** A row can be inserted without a value of it. */
  readonly hasDefault: boolean;
  readonly isGenerated: boolean;
  readonly precision: number;
  readonly scale: number;
  /** Of its longest value; null: of no text. */
  readonly bytesMax: number | null;
  readonly charset: string | null;
}

export interface FoundTable {
  /** Quoted, with its database. */
  readonly qualified: string;
  readonly columns: readonly Column[];
  readonly engine: string;
  readonly comment: string;
  /** The columns of each, in their order. */
  readonly uniqueIndexes: readonly (readonly string[])[];
  /** The first column of every index. */
  readonly indexed: ReadonlySet<string>;
  readonly rowsEstimated: number;
}

export function quoteName(name: string): string {
  return `\`${name.replaceAll("`", "``")}\``;
}

export function qualifiedName({ database, table }: Pick<Address, "database" | "table">): string {
  return `${quoteName(database)}.${quoteName(table)}`;
}

interface TableRow {
  readonly [name: string]: string | null;
  readonly type: string;
  readonly engine: string | null;
  readonly comment: string | null;
  readonly rows_estimated: string | null;
}

/** Null: there is no such table, or none that the user sees. */
export async function findTable(session: Session, address: Address): Promise<FoundTable | null> {
  const { database, table } = address;
  const found = await session.first<TableRow>(sql`
    select table_type as type, engine as engine, table_comment as comment, table_rows as rows_estimated
    from information_schema.tables
    where table_schema = ${database} and table_name = ${table}`);
  if (found === null) return null;
  if (found.type !== "BASE TABLE") throw new ConnectorError("stop", `${address.table} is a view. Name a table.`);
  const indexes = await indexesOf(session, address);
  return {
    qualified: qualifiedName(address),
    columns: await columnsOf(session, address),
    engine: found.engine ?? "",
    comment: found.comment ?? "",
    uniqueIndexes: [...indexes.values()].filter(({ unique }) => unique).map(({ columns }) => columns),
    indexed: new Set([...indexes.values()].flatMap(({ columns }) => columns.slice(0, 1))),
    rowsEstimated: Number(found.rows_estimated ?? 0),
  };
}

async function columnsOf(session: Session, { database, table }: Address): Promise<readonly Column[]> {
  const rows = await session.rows<Readonly<Record<string, string | null>> & { name: string; type: string }>(sql`
    select column_name as name, data_type as type, column_type as declared, is_nullable as nullable,
      column_default as default_text, extra as extra, numeric_precision as digits, numeric_scale as scale,
      character_octet_length as bytes_max, character_set_name as charset
    from information_schema.columns
    where table_schema = ${database} and table_name = ${table}
    order by ordinal_position`);
  return rows.map((row) => ({
    name: row.name,
    type: row.type.toLowerCase(),
    declared: row["declared"] ?? "",
    nullable: row["nullable"] === "YES",
    hasDefault: row["default_text"] !== null || /auto_increment/i.test(row["extra"] ?? ""),
    isGenerated: /\b(?:virtual|stored|persistent) generated|^(?:virtual|stored|persistent)/i.test(row["extra"] ?? ""),
    precision: Number(row["digits"] ?? 0),
    scale: Number(row["scale"] ?? 0),
    bytesMax: row["bytes_max"] == null ? null : Number(row["bytes_max"]),
    charset: row["charset"] ?? null,
  }));
}

interface Index {
  readonly unique: boolean;
  readonly columns: string[];
}

async function indexesOf(session: Session, { database, table }: Address): Promise<ReadonlyMap<string, Index>> {
  const rows = await session.rows<{ name: string; non_unique: string; column: string; part: string | null }>(sql`
    select index_name as name, non_unique as non_unique, column_name as ${raw("`column`")}, sub_part as part
    from information_schema.statistics
    where table_schema = ${database} and table_name = ${table}
    order by index_name, seq_in_index`);
  const indexes = new Map<string, Index>();
  for (const { name, non_unique: nonUnique, column, part } of rows) {
    // An index of a prefix, or of an expression, tells two values apart that are not.
    const unique = nonUnique === "0" && part === null && (indexes.get(name)?.unique ?? true);
    indexes.set(name, { unique, columns: [...(indexes.get(name)?.columns ?? []), column] });
  }
  return indexes;
}

/** Columns of it, in this order. @throws ConnectorError */
export function requireColumns(table: FoundTable, names: readonly string[]): readonly Column[] {
  return names.map((name) => {
    const column = table.columns.find((one) => one.name === name);
    if (column !== undefined) return column;
    const near = nearMatch(
      name,
      table.columns.map((one) => one.name),
    );
    throw new ConnectorError("stop", `${table.qualified} has no column "${name}".`, {
      hints: near === null ? [] : [`Did you mean "${near}"?`],
    });
  });
}

/** @throws ConnectorError where two rows may have these values */
export function requireUnique(table: FoundTable, key: readonly string[]): void {
  const isUnique = table.uniqueIndexes.some(
    (columns) => columns.length <= key.length && columns.every((name) => key.includes(name)),
  );
  if (isUnique) return;
  const names = key.map(quoteName).join(", ");
  throw new ConnectorError("stop", `${table.qualified} has no unique index on its key (${names}).`, {
    hints: [`alter table ${table.qualified} add unique index (${names});`],
  });
}

export function columnSql({ name }: Pick<Column, "name">): Sql {
  return raw(`t.${quoteName(name)}`);
}

export function list(parts: readonly Sql[], between = ", "): Sql {
  return parts.length === 0 ? empty : join([...parts], between);
}
