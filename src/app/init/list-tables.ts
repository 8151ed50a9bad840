/**
 * Lists the tables of a database to choose from: their columns, what could be the key, and what keeps Rowmill from
 * watching them. Only reads; the chosen one is inspected again.
 */
import { RowmillError } from "../../model/errors.js";
import { parseTableName, writeTableName } from "../../model/table-name.js";
import { inspectTable, schemasOnPath } from "../../sources/table/inspection.js";
import { sql, type Queryable } from "../../postgres/database.js";

/** More than you would read through; you can name a table beyond them. */
const TABLES_MAX = 500;
/** A look at each of them costs some round trips. */
const INSPECTED_MAX = 100;

export interface FoundColumn {
  readonly name: string;
  readonly type: string;
  /** Of a file: a cell, instead of the type. */
  readonly example?: string;
}

export interface FoundTable {
  /** As the config names it: `movies`, or `schema.movies` where the plain name would find another table or none. */
  readonly name: string;
  /** With its schema, whatever the search path. */
  readonly qualified: string;
  readonly columns: readonly FoundColumn[];
  /** Primary key first, then other unique indexes, the shortest first. */
  readonly keys: readonly (readonly string[])[];
  /** Elsewhere: a column that grows with each change of a row. */
  readonly cursor?: string;
  /** Null: it can be watched. */
  readonly problem: string | null;
}

const KEYLESS = "no primary key and no unique index, so nothing identifies a row";

interface Relation {
  readonly schema: string;
  readonly table: string;
  readonly kind: string;
  readonly bare: boolean;
  readonly readable: boolean;
  readonly triggerable: boolean;
  readonly owner: string;
  readonly columns: readonly FoundColumn[];
  readonly keys: readonly (readonly string[])[];
}

/** Tables of `public` and of the search path first, then by name. */
export async function listTables(client: Queryable): Promise<FoundTable[]> {
  const relations = await readRelations(client);
  const found: FoundTable[] = [];
  for (const [index, relation] of relations.entries()) {
    const qualified = writeTableName({ schema: relation.schema, name: relation.table });
    const name = relation.bare ? writeTableName({ schema: null, name: relation.table }) : qualified;
    const { columns, keys } = relation;
    const problem = problemOf(relation) ?? (index < INSPECTED_MAX ? await refusalOf(client, name, keys) : null);
    found.push({ name, qualified, columns, keys, problem });
  }
  return found;
}

/** Whether `text` means this table: `films`, `public.films` and `"films"` may be one. */
export function isNamed(table: FoundTable, text: string): boolean {
  const parsed = parseTableName(text);
  const written = parsed === null ? text : writeTableName(parsed);
  return written === table.name || written === table.qualified;
}

async function readRelations(client: Queryable): Promise<Relation[]> {
  const schemas = [...(await schemasOnPath(client)), "public"];
  return client.rows<Relation>(sql`
    select n.nspname as schema,
      c.relname as table,
      c.relkind::text as kind,
      pg_get_userbyid(c.relowner) as owner,
      coalesce(c.oid = (
        select o.oid
        from pg_catalog.pg_class o
        join pg_catalog.pg_namespace m on m.oid = o.relnamespace
        where o.relname = c.relname
          and o.relkind in ('r', 'p', 'v', 'm', 'f')
          and m.nspname = any(${schemas}::text[])
        order by array_position(${schemas}::text[], m.nspname::text)
        limit 1
      ), false) as bare,
      has_table_privilege(c.oid, 'SELECT') as readable,
      has_table_privilege(c.oid, 'TRIGGER') as triggerable,
      coalesce((
        select json_agg(
          json_build_object('name', a.attname, 'type', format_type(a.atttypid, a.atttypmod))
          order by a.attnum
        )
        from pg_catalog.pg_attribute a
        where a.attrelid = c.oid
          and a.attnum > 0
          and not a.attisdropped
      ), '[]') as columns,
      coalesce((
        select json_agg(u.names order by u.primary desc, json_array_length(u.names), u.index)
        from (
          select i.indisprimary as primary,
            i.indexrelid::int8 as index,
            (
              select json_agg(a.attname order by k.place)
              from unnest((i.indkey::int2[])[0:i.indnkeyatts - 1]) with ordinality as k (number, place)
              join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.number
            ) as names
          from pg_catalog.pg_index i
          where i.indrelid = c.oid
            and i.indisunique
            and i.indisvalid
            and i.indpred is null
            and i.indexprs is null
        ) u
      ), '[]') as keys
    from pg_catalog.pg_class c
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where c.relkind in ('r', 'p', 'v', 'm', 'f')
      and c.relpersistence <> 't'
      and not c.relispartition
      and n.nspname not in ('information_schema', 'rowmill', 'rowmill_worker', 'rowmill_data')
      and n.nspname not like 'pg\_%'
      -- Without the tables and views that extensions bring.
      and not exists (
        select 1
        from pg_catalog.pg_depend d
        where d.classid = 'pg_catalog.pg_class'::regclass
          and d.objid = c.oid
          and d.deptype = 'e'
      )
    order by 5 desc, n.nspname, c.relname
    limit ${TABLES_MAX}`);
}

const KINDS: Readonly<Record<string, string>> = {
  v: "a view: triggers cannot see which of its rows changed",
  m: "a materialized view: it has no rows of its own to watch",
  f: "a foreign table: triggers cannot watch it",
};

function problemOf(relation: Relation): string | null {
  const kind = KINDS[relation.kind];
  if (kind !== undefined) return kind;
  if (!relation.readable) return `you may not read it (its owner is ${relation.owner})`;
  if (!relation.triggerable) return `you may not create triggers on it (its owner is ${relation.owner})`;
  if (relation.keys.length === 0) return KEYLESS;
  return null;
}

/** What `up` would refuse it for. */
async function refusalOf(
  client: Queryable,
  table: string,
  keys: readonly (readonly string[])[],
): Promise<string | null> {
  const reasons: string[] = [];
  for (const key of keys) {
    try {
      await inspectTable(client, { table, key, columns: [] });
      return null;
    } catch (error) {
      if (!(error instanceof RowmillError) || error.code !== "source_unsupported") throw error;
      reasons.push(error.message);
    }
  }
  return reasons[0] ?? null;
}

export function refusalOfTable({ name, problem }: FoundTable): RowmillError {
  return new RowmillError("source_unsupported", `${name} cannot be watched: ${problem ?? "unknown reason"}`, {
    hints:
      problem === KEYLESS
        ? [`Add one: alter table ${name} add column id bigint generated always as identity primary key;`]
        : [],
  });
}

/** @throws RowmillError `source_unsupported` with what you probably meant, or why it cannot be watched. */
export async function requireWatchable(
  client: Queryable,
  wanted: { table: string; key: readonly string[]; columns: readonly string[] },
): Promise<void> {
  await inspectTable(client, wanted);
}
