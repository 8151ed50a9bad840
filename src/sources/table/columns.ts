/** The columns of a source or target, from the catalogue. Only reads. */
import { sql, type Reader } from "../../postgres/database.js";

export interface TableColumn {
  readonly name: string;
  readonly typeOid: number;
  /** For display and DDL; schema-qualified outside of pg_catalog. Of a domain, the type below it. */
  readonly type: string;
  /** The same, quoted and always schema-qualified: for a cast, whatever the search path. */
  readonly castType: string;
  /** False: a user-defined type, whose casts are user-defined code. */
  readonly builtIn: boolean;
}

export interface CatalogueColumn extends TableColumn {
  /** pg_type.typname of the type below all domains. */
  readonly baseType: string;
  /** It has a user-defined cast to text. */
  readonly foreignCast: boolean;
  /** The type of the column itself, which may be a domain, and which a write casts to. */
  readonly declared: Pick<TableColumn, "type" | "castType" | "builtIn">;
  /** Below all domains, with its length: `character varying(3)`. */
  readonly limitedType: string;
  /** Of an enum, or of an array of one, in their order. */
  readonly labels: readonly string[] | null;
  /** By the column or its domain. */
  readonly notNull: boolean;
  /** PostgreSQL fills it where an insert leaves it out. */
  readonly filled: boolean;
  /** As pg_attribute.attidentity: `a` is GENERATED ALWAYS. */
  readonly identity: string;
  /** As pg_attribute.attgenerated: `s` stored, `v` virtual, empty where it is none. */
  readonly generated: string;
}

/** The columns of these names that a relation has, in the order of the names. */
export async function readColumns(client: Reader, oid: number, names: readonly string[]): Promise<TableColumn[]> {
  const columns = await catalogueColumns(client, oid);
  return names.flatMap((name) => columns.find((column) => column.name === name) ?? []);
}

export async function catalogueColumns(client: Reader, oid: number): Promise<CatalogueColumn[]> {
  const rows = await client.rows<CatalogueColumn & { typeOid: string }>(sql`
    select a.attname as name, a.atttypid::int8::text as "typeOid",
      case
        when b.typnamespace = 'pg_catalog'::regnamespace then format_type(b.oid, null)
        else quote_ident(n.nspname) || '.' || quote_ident(b.typname) end as type,
      quote_ident(n.nspname) || '.' || quote_ident(b.typname) as "castType",
      b.typnamespace = 'pg_catalog'::regnamespace as "builtIn", b.typname as "baseType",
      exists (
        select 1
        from pg_catalog.pg_cast k
        where k.castsource in (t.oid, b.oid)
          and k.casttarget = 'text'::regtype
          and k.castmethod = 'f'
          and k.oid >= 16384) as "foreignCast",
      json_build_object('type', format_type(t.oid, a.atttypmod), 'castType',
        quote_ident(m.nspname) || '.' || quote_ident(t.typname), 'builtIn',
        t.typnamespace = 'pg_catalog'::regnamespace) as declared,
      format_type(b.oid, below.typmod) as "limitedType",
      (
        select json_agg(e.enumlabel order by e.enumsortorder)
        from pg_catalog.pg_enum e
        where e.enumtypid = case when b.typcategory = 'A' then b.typelem else b.oid end) as labels,
      a.attnotnull or below.required as "notNull", a.atthasdef or a.attidentity <> '' or below.filled as filled,
      a.attidentity::text as identity, a.attgenerated::text as generated
    from pg_catalog.pg_attribute a
    join pg_catalog.pg_type t on t.oid = a.atttypid
    join pg_catalog.pg_namespace m on m.oid = t.typnamespace
    cross join lateral (
      with recursive chain (id, typmod, required, filled) as (
        select a.atttypid, a.atttypmod, false, false
        union all
        select d.typbasetype, d.typtypmod, c.required or d.typnotnull, c.filled or d.typdefaultbin is not null
        from chain c
        join pg_catalog.pg_type d on d.oid = c.id and d.typtype = 'd')
      select c.*
      from chain c
      join pg_catalog.pg_type d on d.oid = c.id
      where d.typtype <> 'd') below
    join pg_catalog.pg_type b on b.oid = below.id
    join pg_catalog.pg_namespace n on n.oid = b.typnamespace
    where a.attrelid = ${oid}::oid and a.attnum > 0 and not a.attisdropped
    order by a.attnum`);
  return rows.map((row) => ({ ...row, typeOid: Number(row.typeOid) }));
}
