/**
 * Reads answers from the target. Reading runs its owner's code too, because the planner evaluates expressions of
 * indexes: the table is locked first, so that no other code gets in, and its owners are checked.
 */
import { identifier, join, raw, sql, type Queryable, type Sql } from "../../postgres/database.js";
import { readColumns } from "../../sources/table/columns.js";
import {
  findRelation,
  keyEquals,
  textOf,
  type Relation,
  type SourceTable,
  type TableColumn,
} from "../../sources/table/inspection.js";
import { refuseForeignCode } from "./owners.js";
import { STAMP_COLUMNS } from "./statements.js";

export interface TargetRead {
  /** As the config names it. */
  readonly table: string;
  readonly trustOwner: boolean;
  readonly source: Pick<SourceTable, "qualified" | "key">;
}

/**
 * The target, locked until the transaction ends.
 * @throws RowmillError `source_unsupported` where there is none, `target_unsupported` where reading runs foreign code
 */
export async function lockForReading(tx: Queryable, { table, trustOwner, source }: TargetRead): Promise<Relation> {
  const relation = await findRelation(tx, table);
  if (trustOwner) return relation;
  await tx.run(sql`lock table only ${raw(relation.qualified)} in access share mode`);
  const key = source.key.map(({ name }) => name);
  await refuseForeignCode(tx, { target: relation.qualified, source: source.qualified, key });
  return relation;
}

export interface AnswerRead extends TargetRead {
  /** The answer's fields in their order, and their columns. */
  readonly fields: readonly { readonly field: string; readonly column: string }[];
}

export interface StoredAnswer {
  /** A JSON object on one line, with every digit that the table has. */
  readonly json: string;
  /** Null, as the next two: the table does not say. */
  readonly model: string | null;
  readonly version: number | null;
  readonly at: Date | null;
}

/** By key; keys without an answer are left out. Fields whose column is gone are null. */
export async function readAnswers(
  tx: Queryable,
  wanted: AnswerRead,
  keys: readonly string[],
): Promise<ReadonlyMap<string, StoredAnswer>> {
  const relation = await lockForReading(tx, wanted);
  const stamps = STAMP_COLUMNS.map(({ name }) => name);
  const found = await readColumns(tx, relation.oid, [...wanted.fields.map(({ column }) => column), ...stamps]);
  const byName = new Map(found.map((column) => [column.name, column]));
  const columns = wanted.fields.map(({ column }) => byName.get(column));
  const [at, model, version] = stamps.map((name) => (byName.has(name) ? sql`t.${identifier(name)}` : sql`null`));
  const isWritten = byName.has("rowmill_at")
    ? sql`t.rowmill_at is not null`
    : join([sql`false`, ...found.map(({ name }) => sql`t.${identifier(name)} is not null`)], " or ");
  const rows = await tx.rows<Omit<StoredAnswer, "json"> & { key: string; cells: (string | null)[] }>(sql`
    select k.key, array[${join(columns.map(jsonCell))}]::pg_catalog.text[] as cells,
      ${model}::pg_catalog.text as model, ${version}::pg_catalog.int4 as version, ${at}::pg_catalog.timestamptz as at
    from unnest(${[...keys]}::text[]) as k (key)
    join ${raw(relation.from)} t on ${keyEquals("t", wanted.source.key, sql`k.key`)}
    where ${isWritten}`);
  return new Map(rows.map(({ key, cells, ...rest }) => [key, { ...rest, json: objectOf(wanted, cells) }]));
}

/** A cast of a user-defined type to JSON would be its owner's code. */
function jsonCell(column: TableColumn | undefined): Sql {
  if (column === undefined) return sql`null`;
  const value = column.builtIn ? sql`t.${identifier(column.name)}` : raw(`(${textOf("t", column)})`);
  return sql`pg_catalog.to_json(${value})::pg_catalog.text`;
}

function objectOf({ fields }: AnswerRead, cells: readonly (string | null)[]): string {
  // Line ends in JSON are blanks: inside of texts they are escaped.
  const members = fields.map(({ field }, index) => {
    return `${JSON.stringify(field)}:${(cells[index] ?? "null").replaceAll(/[\r\n]/g, " ")}`;
  });
  return `{${members.join(",")}}`;
}
