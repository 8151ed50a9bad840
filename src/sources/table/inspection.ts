/**
 * Inspects a user's table before anything is installed: its kind, key, columns and partitions. Refuses what could not
 * be watched safely. Only reads.
 */
import { RowmillError } from "../../model/errors.js";
import { nearMatch } from "../../model/words/near-match.js";
import { parseTableName } from "../../model/table-name.js";
import {
  identifier,
  join,
  quoteIdentifier,
  raw,
  sql,
  underRolePath,
  type Reader,
  type Sql,
} from "../../postgres/database.js";
import { REPLICA_SCHEMA } from "../../model/replica-name.js";
import * as replicas from "../../store/replicas/replicas.js";
import { catalogueColumns, type CatalogueColumn, type TableColumn } from "./columns.js";

export type { TableColumn } from "./columns.js";

/**
 * The column's value as text, null for null. A cast of a user-defined type would run its owner's code with our
 * rights, even one that is defined after this inspection; an output function cannot be replaced.
 */
export function textOf(alias: string, column: TableColumn): string {
  const value = `${alias}.${quoteIdentifier(column.name)}`;
  return column.builtIn
    ? `${value}::pg_catalog.text`
    : `case when ${value} is not null then pg_catalog.format('%s', ${value}) end`;
}

/** A ledger key's parts, each cast to the type of its column. */
export function keyValues(key: readonly TableColumn[], ledgerKey: Sql): Sql[] {
  const [only] = key;
  if (key.length === 1 && only) return [sql`${ledgerKey}::${raw(only.castType)}`];
  return key.map(
    (column, index) =>
      sql`(${ledgerKey}::pg_catalog.json operator(pg_catalog.->>) ${raw(String(index))})::${raw(column.castType)}`,
  );
}

/** `alias.key = <text>::type and …`, for an index lookup by a ledger key. */
export function keyEquals(alias: string, key: readonly TableColumn[], ledgerKey: Sql): Sql {
  const values = keyValues(key, ledgerKey);
  return join(
    key.map(
      ({ name }, index) => sql`${raw(alias)}.${identifier(name)} operator(pg_catalog.=) ${values[index] ?? sql`null`}`,
    ),
    " and ",
  );
}

export interface SourceTable {
  readonly oid: number;
  readonly schema: string;
  readonly name: string;
  /** Quoted and schema-qualified. */
  readonly qualified: string;
  /** The same as it stands in FROM. */
  readonly from: string;
  readonly key: readonly TableColumn[];
  readonly columns: readonly TableColumn[];
  /** Key columns that may be null; such a row has no key. */
  readonly nullableKey: readonly string[];
  /** Of pushed rows: only those of this generation count. Null: a table of the user's. */
  readonly generation: number | null;
  /** The table and all its partitions, at any depth: each gets the triggers. */
  readonly relations: readonly { readonly oid: number; readonly qualified: string }[];
}

/** Types that can name a row: equal values have equal text, and the text casts back. */
const KEY_TYPES = new Set([
  "int2",
  "int4",
  "int8",
  "uuid",
  "text",
  "varchar",
  "numeric",
  "date",
  "timestamp",
  "timestamptz",
  "oid",
]);

export interface Relation {
  readonly oid: number;
  readonly schema: string;
  readonly name: string;
  /** Quoted and schema-qualified. */
  readonly qualified: string;
  /** The same in FROM and UPDATE: without the rows of inheritance children, but with those of partitions. */
  readonly from: string;
  /** As pg_class.relkind has it. */
  readonly kind: string;
  readonly persistence: string;
}

export async function inspectTable(
  client: Reader,
  wanted: { table: string; key: readonly string[]; columns: readonly string[] },
): Promise<SourceTable> {
  await requireUtf8(client);
  const relation = await findRelation(client, wanted.table);
  refuseUnwatchable(relation, wanted.table);
  const columns = await catalogueColumns(client, relation.oid);
  const key = wanted.key.map((name) => pickColumn(columns, name, wanted.table, "key"));
  const declared = wanted.columns.map((name) => pickColumn(columns, name, wanted.table, "columns"));
  for (const column of key) refuseKeyType(column, wanted.table);
  for (const column of [...key, ...declared]) refuseCast(column, wanted.table);
  await requireUnique(client, relation, wanted);
  const nullableKey = key.filter((column) => !column.notNull).map((column) => column.name);
  const relations = await readRelations(client, relation.oid);
  const { oid, schema, name, qualified, from } = relation;
  const generation = schema === REPLICA_SCHEMA ? ((await replicas.replicaOf(client, name))?.generation ?? null) : null;
  return { oid, schema, name, qualified, from, key, columns: declared, nullableKey, generation, relations };
}

async function requireUtf8(client: Reader): Promise<void> {
  const encoding = await client.value<string>(sql`select current_setting('server_encoding')`);
  if (encoding === "UTF8") return;
  throw new RowmillError(
    "source_unsupported",
    `The database's encoding is ${encoding ?? "unknown"}; Rowmill needs UTF8.`,
  );
}

/** This role's search path, only schemas that exist; it creates in the first. */
export async function schemasOnPath(client: Reader): Promise<readonly string[]> {
  const schemas = underRolePath(sql`select pg_catalog.current_schemas(false)::pg_catalog.text[]`);
  return (await client.value<string[]>(schemas)) ?? [];
}

/** In the schema that the name has, else the first on the role's search path, else in `public`; or null. */
export async function relationNamed(client: Reader, table: string): Promise<Relation | null> {
  const { schema, name } = parseTableName(table) ?? { schema: null, name: table };
  const schemas = schema === null ? [...(await schemasOnPath(client)), "public"] : [schema];
  const [found, other] = await client.rows<Omit<Relation, "oid" | "qualified" | "from"> & { oid: string }>(sql`
    select c.oid::int8::text as oid, n.nspname as schema, c.relname as name, c.relkind::text as kind,
      c.relpersistence::text as persistence
    from pg_catalog.pg_class c
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where c.relname = ${name}
      and c.relkind in ('r', 'p', 'v', 'm', 'f')
      and n.nspname = any(${schemas}::text[])
    order by array_position(${schemas}::text[], n.nspname::text)
    limit 2`);
  // Otherwise a role that may create in the first of these schemas would decide which table is meant.
  if (found !== undefined && other !== undefined)
    throw new RowmillError(
      "source_unsupported",
      `${table} may mean ${qualify(found)} or ${qualify(other)}: write the schema in front, as in schema.table.`,
    );
  if (found === undefined) return null;
  const qualified = qualify(found);
  const from = found.kind === "p" ? qualified : `only ${qualified}`;
  return { ...found, oid: Number(found.oid), qualified, from };
}

/** @throws RowmillError `source_unsupported` when there is none, with the nearest name */
export async function findRelation(client: Reader, table: string): Promise<Relation> {
  const found = await relationNamed(client, table);
  if (found) return found;
  const { schema, name } = parseTableName(table) ?? { schema: null, name: table };
  if (schema === REPLICA_SCHEMA)
    throw new RowmillError("source_unsupported", `There is no table for the rows of ${name} yet.`, {
      hints: ["rowmill up makes it. To take pushed rows: rowmill up --http 127.0.0.1:8788"],
    });
  throw new RowmillError(
    "source_unsupported",
    `There is no table ${table} in this database${await suggestTable(client, name)}`,
    { hints: ["Names are case-sensitive. Write a schema in front of the name, with a dot: other_schema.table"] },
  );
}

const SCHEMA_OWNERS: Readonly<Record<string, string>> = {
  rowmill: "Rowmill's own",
  rowmill_worker: "Rowmill's own",
  pg_catalog: "PostgreSQL's own",
  pg_toast: "PostgreSQL's own",
  information_schema: "PostgreSQL's own",
};

/** For a message: who owns a schema whose tables can be neither watched nor written; null: any other schema. */
export function ownerOfSchema(schema: string): string | null {
  return Object.hasOwn(SCHEMA_OWNERS, schema) ? (SCHEMA_OWNERS[schema] ?? null) : null;
}

async function suggestTable(client: Reader, name: string): Promise<string> {
  const names = await client.column<string>(sql`
    select c.relname
    from pg_catalog.pg_class c
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where c.relkind in ('r', 'p')
      and n.nspname not in ('pg_catalog', 'information_schema', 'rowmill', 'rowmill_worker')
    order by 1
    limit 1000`);
  const near = nearMatch(name, names);
  return near === null ? "." : `; did you mean "${near}"?`;
}

const UNWATCHABLE: Readonly<Record<string, string>> = {
  v: "is a view, and a trigger cannot see which of its rows change. Name the table behind it",
  m: "is a materialized view, which has no triggers. Name the table behind it",
  f: "is a foreign table, which cannot have the triggers. Run Rowmill on the database that holds it",
};

function refuseUnwatchable(relation: Relation, table: string): void {
  const owner = ownerOfSchema(relation.schema);
  if (owner !== null)
    throw new RowmillError(
      "source_unsupported",
      `${table} is in the schema ${relation.schema}, which is ${owner} and cannot be watched. Name a table of yours.`,
    );
  const reason = UNWATCHABLE[relation.kind];
  if (reason) throw new RowmillError("source_unsupported", `${table} ${reason}.`);
  if (relation.persistence === "t")
    throw new RowmillError(
      "source_unsupported",
      `${table} is a temporary table, which other sessions cannot see. Name a permanent table.`,
    );
}

function pickColumn(
  columns: readonly CatalogueColumn[],
  name: string,
  table: string,
  where: "key" | "columns",
): CatalogueColumn {
  const found = columns.find((column) => column.name === name);
  if (found) return found;
  const names = columns.map((column) => column.name);
  const near = nearMatch(name, names);
  const hint = near === null ? `its columns are ${names.join(", ")}` : `did you mean "${near}"?`;
  throw new RowmillError("source_unsupported", `source.${where}: ${table} has no column "${name}"; ${hint}`);
}

function refuseKeyType(column: CatalogueColumn, table: string): void {
  if (column.builtIn && KEY_TYPES.has(column.baseType)) return;
  throw new RowmillError(
    "source_unsupported",
    `source.key: ${table}."${column.name}" is of type ${column.type}, which cannot identify a row. ` +
      "Choose a key of type integer, uuid or text.",
  );
}

/** A user-defined cast would run with the rights of the trigger's owner (seen). */
function refuseCast(column: CatalogueColumn, table: string): void {
  if (!column.foreignCast) return;
  throw new RowmillError(
    "source_unsupported",
    `${table}."${column.name}" is of type ${column.type}, which has a user-defined cast to text. Rowmill's trigger ` +
      "reads values as text and must not run such code. Leave the column out, or drop the cast.",
  );
}

async function requireUnique(
  client: Reader,
  relation: Relation,
  wanted: { table: string; key: readonly string[] },
): Promise<void> {
  const found = await client.first(sql`
    select 1 as one
    from pg_catalog.pg_index i
    where i.indrelid = ${relation.oid}::oid
      and i.indisunique
      and i.indisvalid
      and i.indpred is null
      and i.indexprs is null
      and (
        select array_agg(a.attname::text)
        from pg_catalog.pg_attribute a
        where a.attrelid = i.indrelid
          and a.attnum = any((i.indkey::int2[])[0:i.indnkeyatts - 1])) <@ ${wanted.key}::text[]`);
  if (found) return;
  const columns = wanted.key.map(quoteIdentifier).join(", ");
  throw new RowmillError(
    "source_unsupported",
    `source.key: ${wanted.table} has no unique index on (${columns}), so two rows could have the same key.`,
    {
      hints: [
        `create unique index concurrently on ${relation.qualified} (${columns});`,
        `or: alter table ${relation.qualified} add primary key (${columns});`,
      ],
    },
  );
}

async function readRelations(client: Reader, oid: number): Promise<{ oid: number; qualified: string }[]> {
  const rows = await client.rows<{ oid: string; schema: string; name: string }>(sql`
    with recursive tree as (
      select ${oid}::oid as oid
      union
      select i.inhrelid
      from pg_catalog.pg_inherits i
      join tree on tree.oid = i.inhparent
      join pg_catalog.pg_class p on p.oid = i.inhrelid
      where p.relispartition and p.relkind in ('r', 'p'))
    select c.oid::int8::text as oid, n.nspname as schema, c.relname as name
    from tree
    join pg_catalog.pg_class c on c.oid = tree.oid
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    order by c.oid`);
  return rows.map((row) => ({ oid: Number(row.oid), qualified: qualify(row) }));
}

function qualify(relation: { schema: string; name: string }): string {
  return `${quoteIdentifier(relation.schema)}.${quoteIdentifier(relation.name)}`;
}
