/** The catalogue's facts about a target. Only reads, and runs no user-defined code. */
import type { Relation } from "../../sources/table/inspection.js";
import { catalogueColumns, type CatalogueColumn } from "../../sources/table/columns.js";
import { sql, type Reader, type Sql } from "../../postgres/database.js";

export interface TableCheck {
  readonly name: string;
  /** The columns that it depends on; in place of a generated column, those that it is made of. */
  readonly columns: readonly string[];
  /** As pg_get_constraintdef has it. */
  readonly text: string;
}

interface NamedColumns {
  readonly name: string;
  readonly columns: readonly string[];
}

export interface TargetFacts {
  readonly user: string;
  /** Quoted and schema-qualified. */
  readonly qualified: string;
  /** The same in FROM and UPDATE. */
  readonly from: string;
  readonly schema: string;
  /** As pg_class.relkind has it. */
  readonly kind: string;
  readonly owns: boolean;
  /** Made by Rowmill: its comment says it, which only an owner can write. */
  readonly made: boolean;
  readonly schemaUsage: boolean;
  readonly select: boolean;
  readonly insert: boolean;
  readonly update: boolean;
  /** Policies would hide rows from this user. */
  readonly thinned: boolean;
  readonly columns: readonly CatalogueColumn[];
  /**
   * Columns that a trigger may change before NOT NULL and the CHECKs: its function names them, or is not in PL/pgSQL.
   */
  readonly rewritten: readonly string[];
  readonly checks: readonly TableCheck[];
  readonly foreignKeys: readonly (NamedColumns & { readonly refers: string })[];
  /** Unique and exclusion indexes, also partial ones. */
  readonly uniques: readonly NamedColumns[];
  /** The key is unique for `on conflict`. */
  readonly keyed: boolean;
  /** Enabled ones; `event` is INSERT or UPDATE, `always` without a condition. */
  readonly rules: readonly {
    readonly name: string;
    readonly event: string;
    readonly instead: boolean;
    readonly always: boolean;
  }[];
  /** How many; null: it is not partitioned. */
  readonly partitions: number | null;
  /** Sequences that fill a column and that this user may not use. */
  readonly sequences: readonly { readonly column: string; readonly sequence: string }[];
}

/** How `creationStatements` comments on what it makes. */
const MADE_BY_US = "^Answers for .*, written by Rowmill\\.$";

/** Bits of pg_trigger.tgtype. */
const BEFORE_EACH_ROW = 3;
const INSERT_OR_UPDATE = 20;

/** This and what follows, up to `isKeyed`: about the table `c`. */
const REWRITTEN = sql`
  select json_agg(a.attname)
  from pg_catalog.pg_attribute a
  where a.attrelid = c.oid
    and a.attnum > 0
    and not a.attisdropped
    and exists (
      select 1
      from pg_catalog.pg_trigger t
      join pg_catalog.pg_proc p on p.oid = t.tgfoid
      join pg_catalog.pg_language l on l.oid = p.prolang
      where t.tgrelid = c.oid
        and t.tgenabled in ('O', 'A')
        and t.tgtype::int & ${BEFORE_EACH_ROW}::int = ${BEFORE_EACH_ROW}::int
        and t.tgtype::int & ${INSERT_OR_UPDATE}::int <> 0
        and (l.lanname <> 'plpgsql'
          or p.prosrc ~* 'populate_record|#='
          or position(lower(a.attname) in lower(p.prosrc)) > 0))`;

/** Before PostgreSQL 15 the generated column depends on the others, not its expression. */
const COLUMNS_OF_CHECK = sql`
  select coalesce(json_agg(distinct coalesce(b.attname, a.attname)), '[]')
  from pg_catalog.pg_attribute a
  left join pg_catalog.pg_attrdef f on f.adrelid = a.attrelid and f.adnum = a.attnum and a.attgenerated <> ''
  left join pg_catalog.pg_depend d on d.refclassid = 'pg_class'::regclass
    and d.refobjid = a.attrelid
    and d.refobjsubid <> a.attnum
    and d.refobjsubid > 0
    and ((d.classid = 'pg_attrdef'::regclass and d.objid = f.oid)
      or (f.oid is not null
        and d.classid = 'pg_class'::regclass
        and d.objid = a.attrelid
        and d.objsubid = a.attnum))
  left join pg_catalog.pg_attribute b on b.attrelid = a.attrelid and b.attnum = d.refobjsubid
  where a.attrelid = c.oid and a.attnum = any(k.conkey)`;

const CHECKS = sql`
  select json_agg(
    json_build_object('name', k.conname, 'text', pg_get_constraintdef(k.oid), 'columns', (${COLUMNS_OF_CHECK}))
    order by k.conname)
  from pg_catalog.pg_constraint k
  where k.conrelid = c.oid and k.contype = 'c'`;

function columnNames(numbers: Sql): Sql {
  return sql`array(
    select a.attname
    from pg_catalog.pg_attribute a
    where a.attrelid = c.oid and a.attnum = any(${numbers})
    order by a.attnum)`;
}

const FOREIGN_KEYS = sql`
  select json_agg(
    json_build_object('name', k.conname, 'refers', k.confrelid::regclass::text,
      'columns', ${columnNames(sql`k.conkey`)})
    order by k.conname)
  from pg_catalog.pg_constraint k
  where k.conrelid = c.oid and k.contype = 'f'`;

const UNIQUES = sql`
  select json_agg(
    json_build_object('name', x.relname, 'columns', ${columnNames(sql`i.indkey`)})
    order by x.relname)
  from pg_catalog.pg_index i
  join pg_catalog.pg_class x on x.oid = i.indexrelid
  where i.indrelid = c.oid and (i.indisunique or i.indisexclusion)`;

const RULES = sql`
  select json_agg(
    json_build_object('name', w.rulename, 'instead', w.is_instead, 'always', w.ev_qual = '<>',
      'event', case w.ev_type when '3' then 'INSERT' else 'UPDATE' end)
    order by w.rulename)
  from pg_catalog.pg_rewrite w
  where w.ev_class = c.oid and w.ev_type in ('2', '3') and w.ev_enabled <> 'D'`;

const PARTITIONS = sql`select count(*)::int from pg_catalog.pg_inherits h where h.inhparent = c.oid`;

const SEQUENCES = sql`
  select json_agg(
    json_build_object('column', a.attname, 'sequence', d.refobjid::regclass::text)
    order by a.attnum)
  from pg_catalog.pg_attrdef f
  join pg_catalog.pg_attribute a on a.attrelid = f.adrelid and a.attnum = f.adnum
  join pg_catalog.pg_depend d on d.classid = 'pg_attrdef'::regclass
    and d.objid = f.oid
    and d.refclassid = 'pg_class'::regclass
  join pg_catalog.pg_class s on s.oid = d.refobjid
  where f.adrelid = c.oid
    and case when s.relkind = 'S' then not has_sequence_privilege(s.oid, 'USAGE, UPDATE') end`;

function isKeyed(key: readonly string[]): Sql {
  return sql`exists (
    select 1
    from pg_catalog.pg_index i
    where i.indrelid = c.oid
      and i.indisunique
      and i.indisvalid
      and i.indimmediate
      and i.indpred is null
      and i.indexprs is null
      and (
        select array_agg(a.attname::text order by a.attname::text)
        from pg_catalog.pg_attribute a
        where a.attrelid = i.indrelid and a.attnum = any((i.indkey::int2[])[0:i.indnkeyatts - 1]))
      = (select array_agg(n order by n) from unnest(${key}::text[]) n))`;
}

/** `key`: the names of the source's key columns. */
export async function lookAtTarget(client: Reader, relation: Relation, key: readonly string[]): Promise<TargetFacts> {
  const { oid, qualified, from, schema, kind } = relation;
  const own = await client.first<Omit<TargetFacts, "qualified" | "from" | "schema" | "kind" | "columns">>(sql`
    select current_user::text as user, pg_has_role(c.relowner, 'USAGE') as owns,
      c.relkind = 'r' and coalesce(obj_description(c.oid, 'pg_class') ~ ${MADE_BY_US}, false) as made,
      has_schema_privilege(c.relnamespace, 'USAGE') as "schemaUsage",
      has_table_privilege(c.oid, 'SELECT') as select, has_table_privilege(c.oid, 'INSERT') as insert,
      has_table_privilege(c.oid, 'UPDATE') as update, row_security_active(c.oid) as thinned,
      coalesce((${REWRITTEN}), '[]') as rewritten, coalesce((${CHECKS}), '[]') as checks,
      coalesce((${FOREIGN_KEYS}), '[]') as "foreignKeys", coalesce((${UNIQUES}), '[]') as uniques,
      ${isKeyed(key)} as keyed, coalesce((${RULES}), '[]') as rules,
      case when c.relkind = 'p' then (${PARTITIONS}) end as partitions,
      coalesce((${SEQUENCES}), '[]') as sequences
    from pg_catalog.pg_class c
    where c.oid = ${oid}::oid`);
  if (own === null) throw new Error(`${qualified} was dropped while Rowmill read its columns.`);
  return { ...own, qualified, from, schema, kind, columns: await catalogueColumns(client, oid) };
}

/**
 * Changes whenever the table, what depends on it, or this user's rights may have changed; not with the bodies of
 * functions. Cheap enough to be read before each batch.
 */
export async function targetSignature(client: Reader, qualified: string): Promise<string> {
  const row = await client.first<{ signature: string }>(sql`
    select md5(string_agg(v.text, ' ' order by v.text)) as signature
    from pg_catalog.pg_class c
    cross join lateral (
      select concat_ws(':', c.oid, c.xmin, c.relrowsecurity, has_schema_privilege(c.relnamespace, 'USAGE'),
        has_table_privilege(c.oid, 'SELECT'), has_table_privilege(c.oid, 'INSERT'),
        has_table_privilege(c.oid, 'UPDATE'), row_security_active(c.oid)) as text
      union all
      select concat_ws(':', 'a', a.attnum, a.xmin, t.xmin)
      from pg_catalog.pg_attribute a
      left join pg_catalog.pg_type t on t.oid = a.atttypid
      where a.attrelid = c.oid and a.attnum > 0
      union all
      select concat_ws(':', 'e', e.oid, e.xmin)
      from pg_catalog.pg_attribute a
      join pg_catalog.pg_type t on t.oid = a.atttypid
      join pg_catalog.pg_enum e on e.enumtypid in (t.oid, t.typelem, t.typbasetype)
      where a.attrelid = c.oid and a.attnum > 0
      union all
      select concat_ws(':', 'k', k.oid, k.xmin)
      from pg_catalog.pg_constraint k
      where k.conrelid = c.oid
        or k.contypid in (select a.atttypid from pg_catalog.pg_attribute a where a.attrelid = c.oid and a.attnum > 0)
      union all select concat_ws(':', 'i', i.indexrelid, i.xmin) from pg_catalog.pg_index i where i.indrelid = c.oid
      union all select concat_ws(':', 'f', f.oid, f.xmin) from pg_catalog.pg_attrdef f where f.adrelid = c.oid
      union all select concat_ws(':', 't', t.oid, t.xmin) from pg_catalog.pg_trigger t where t.tgrelid = c.oid
      union all select concat_ws(':', 'p', p.oid, p.xmin) from pg_catalog.pg_policy p where p.polrelid = c.oid
      union all select concat_ws(':', 'r', w.oid, w.xmin) from pg_catalog.pg_rewrite w where w.ev_class = c.oid
      union all
      select concat_ws(':', 'h', h.inhrelid, h.inhparent, h.xmin)
      from pg_catalog.pg_inherits h
      where c.oid in (h.inhrelid, h.inhparent)) v
    where c.oid = to_regclass(${qualified})`);
  return row?.signature ?? "";
}
