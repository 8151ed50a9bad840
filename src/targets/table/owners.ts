/**
 * Whose code a write to the target would run with our rights: that of the table's owner, and of the owners of all
 * functions and types that its triggers, checks, defaults, indexes, policies and rules use. Only reads.
 */
import { RowmillError } from "../../model/errors.js";
import { quoteIdentifier, raw, sql, type Reader } from "../../postgres/database.js";

/** Named in one message; the rest shows when these are fixed. */
const FOREIGN_MAX = 10;

/** Names are quoted and schema-qualified. */
export interface Ownership {
  readonly target: string;
  /** Its owner is trusted. Null: it is elsewhere. */
  readonly source: string | null;
  /** The target's key columns, which we never update. */
  readonly key: readonly string[];
}

/** What the code belongs to. */
interface ForeignObject {
  readonly user: string;
  /** For `alter … owner to`: `function` and `other.f(integer)`. */
  readonly kind: string;
  readonly identity: string;
  readonly owner: string;
  /** What runs it: `trigger` and `t on public.labels`. Null: the table itself. */
  readonly viaKind: string | null;
  readonly via: string | null;
}

/** Below are PostgreSQL's own objects. */
const FIRST_USER_OID = 16_384;

export interface CodeOfWriting {
  /** No trigger or rule of a user can change what is written. */
  readonly plain: boolean;
  /** Only PostgreSQL's own code, in a table of ours or of the source's owner. */
  readonly builtIn: boolean;
}

/**
 * Cheap, and enough for most tables. Null: there is no such table. `relhastriggers` is also true for foreign keys in
 * both directions, and may be out of date: then the catalogue is searched.
 */
export function codeOfWriting(
  client: Reader,
  { target, source }: Pick<Ownership, "target" | "source">,
): Promise<CodeOfWriting | null> {
  const users = sql`>= ${FIRST_USER_OID}::oid`;
  return client.first<CodeOfWriting>(sql`
    select p.plain,
      p.plain
        and not c.relispartition
        and not c.relhastriggers
        and c.relchecks = 0
        and not c.relam ${users}
        and (pg_get_userbyid(c.relowner) = current_user
          or c.relowner = (select s.relowner from pg_catalog.pg_class s where s.oid = to_regclass(${source})))
        and not exists (select from pg_catalog.pg_policy y where y.polrelid = c.oid)
        and not exists (select from pg_catalog.pg_statistic_ext e where e.stxrelid = c.oid)
        and not exists (
          select
          from pg_catalog.pg_attribute a
          where a.attrelid = c.oid and a.attnum > 0 and (a.atthasdef or a.atttypid ${users}))
        and not exists (
          select
          from pg_catalog.pg_index i
          join pg_catalog.pg_class x on x.oid = i.indexrelid
          where i.indrelid = c.oid
            and (i.indexprs is not null
              or i.indpred is not null
              or i.indisexclusion
              or x.relam ${users}
              or exists (select from unnest(i.indclass::oid[]) o (id) where o.id ${users}))) as "builtIn"
    from pg_catalog.pg_class c
    cross join lateral (
      select c.relkind = 'r'
        and not c.relhasrules
        and not c.relhassubclass
        and (not c.relhastriggers
          or not exists (select from pg_catalog.pg_trigger t where t.tgrelid = c.oid and not t.tgisinternal)) as plain)
      p
    where c.oid = to_regclass(${target})`);
}

/**
 * Trusted are this user, the source's owner and superusers; not the roles that this user is a member of, whose other
 * members may have fewer rights.
 * @throws RowmillError `target_unsupported` that names each object of another owner
 */
export async function refuseForeignCode(client: Reader, of: Ownership): Promise<void> {
  if ((await codeOfWriting(client, of))?.builtIn === true) return;
  const foreign = await findForeign(client, of);
  const found = foreign.sort((a, b) => Number(a.via !== null) - Number(b.via !== null));
  const [first] = found;
  if (first === undefined) return;
  const me = quoteIdentifier(first.user);
  const takeOver = found.map(({ kind, identity }) => `alter ${kind} ${identity} owner to ${me};`);
  throw new RowmillError(
    "target_unsupported",
    `target: writing to ${of.target} would run code of other roles with the rights of ${me}: ` +
      `${found.map(describe).join("; ")}.`,
    {
      hints: [
        `Read that code first. Then take over what you trust: ${takeOver.join(" ")}`,
        "Or trust these owners, whatever they change: target: { trustOwner: true }",
      ],
    },
  );
}

function describe({ kind, identity, owner, viaKind, via }: ForeignObject): string {
  const through = via === null ? "" : `, which the ${viaKind} ${via} uses,`;
  return `the ${kind} ${identity}${through} belongs to ${quoteIdentifier(owner)}`;
}

const catalog = (name: string) => raw(`'${name}'::regclass::oid`);
const TABLE = catalog("pg_class");
const TRIGGER = catalog("pg_trigger");
const FALLBACK = catalog("pg_attrdef");
const CONSTRAINT = catalog("pg_constraint");
const POLICY = catalog("pg_policy");
const RULE = catalog("pg_rewrite");
const STATISTICS = catalog("pg_statistic_ext");
const TYPE = catalog("pg_type");
const OPERATOR = catalog("pg_operator");
const OPERATOR_CLASS = catalog("pg_opclass");
const ROUTINE = catalog("pg_proc");

/** Bits of `tgtype`: INSERT (4) and UPDATE (16), which is all that a write to the target is. */
const INSERT_OR_UPDATE = 20;
/** The values of `tgenabled` and `ev_enabled` that fire in this session. */
const FIRING = sql`('A', case when current_setting('session_replication_role') = 'replica' then 'R' else 'O' end)`;

/** What a write to the table `r.object` runs. */
const PIECES = sql`
  select ${TRIGGER} as class, t.oid as object
  from pg_catalog.pg_trigger t
  where t.tgrelid = r.object
    and t.tgenabled in ${FIRING}
    and (r.via_class is not null or t.tgtype & ${INSERT_OR_UPDATE}::int <> 0)
  union all select ${FALLBACK}, d.oid from pg_catalog.pg_attrdef d where d.adrelid = r.object
  union all select ${CONSTRAINT}, c.oid from pg_catalog.pg_constraint c where c.conrelid = r.object
  union all
  select ${POLICY}, p.oid
  from pg_catalog.pg_policy p
  where p.polrelid = r.object and row_security_active(r.object)
  union all
  select ${RULE}, w.oid
  from pg_catalog.pg_rewrite w
  where w.ev_class = r.object and w.ev_enabled in ${FIRING}
  union all select ${TABLE}, i.indexrelid from pg_catalog.pg_index i where i.indrelid = r.object
  union all select ${STATISTICS}, e.oid from pg_catalog.pg_statistic_ext e where e.stxrelid = r.object`;

/**
 * Tables that a write also reaches: partitions, the table that it is a partition of, whose triggers it has, and
 * tables whose foreign keys cascade our updates; before PostgreSQL 18 their triggers run with our rights.
 */
const family = (key: readonly string[]) => sql`
  select h.inhrelid as object
  from pg_catalog.pg_inherits h
  join pg_catalog.pg_class c on c.oid = h.inhrelid
  where h.inhparent = r.object and c.relispartition
  union all
  select h.inhparent
  from pg_catalog.pg_inherits h
  join pg_catalog.pg_class c on c.oid = h.inhrelid
  where h.inhrelid = r.object and c.relispartition
  union all
  select c.conrelid
  from pg_catalog.pg_constraint c
  where c.confrelid = r.object
    and c.contype = 'f'
    and c.confupdtype in ('c', 'n', 'd')
    and exists (
      select 1
      from pg_catalog.pg_attribute a
      where a.attrelid = c.confrelid
        and a.attnum = any(c.confkey)
        and a.attname <> all(${[...key]}::text[]))`;

/** What a type, a constraint or an operator class runs without a row in pg_depend. */
const UNDEPENDED = sql`
  select ${CONSTRAINT} as class, c.oid as object
  from pg_catalog.pg_constraint c
  where r.class = ${TYPE} and c.contypid = r.object
  union all
  select ${TYPE}, a.atttypid
  from pg_catalog.pg_type t
  join pg_catalog.pg_attribute a on a.attrelid = t.typrelid
  where r.class = ${TYPE} and t.oid = r.object and a.attnum > 0
  union all
  select ${OPERATOR}, unnest(c.conexclop)
  from pg_catalog.pg_constraint c
  where r.class = ${CONSTRAINT} and c.oid = r.object
  union all
  select ${ROUTINE}, p.amproc
  from pg_catalog.pg_opclass o
  join pg_catalog.pg_amproc p on p.amprocfamily = o.opcfamily
  where r.class = ${OPERATOR_CLASS} and o.oid = r.object
  union all
  select ${OPERATOR}, p.amopopr
  from pg_catalog.pg_opclass o
  join pg_catalog.pg_amop p on p.amopfamily = o.opcfamily
  where r.class = ${OPERATOR_CLASS} and o.oid = r.object`;

/** `via`: the trigger, default, constraint, policy, rule, index or column that led there. */
const step = (key: readonly string[]) => sql`
  select p.class, p.object, p.class as via_class, p.object as via_object, 0 as via_part
  from (${PIECES}) p
  where r.class = ${TABLE}
  union all
  select ${TABLE}, f.object, r.via_class, r.via_object, r.via_part
  from (${family(key)}) f
  where r.class = ${TABLE}
  union all select u.class, u.object, r.via_class, r.via_object, r.via_part from (${UNDEPENDED}) u
  union all
  select d.refclassid, d.refobjid, coalesce(r.via_class, d.classid), coalesce(r.via_object, d.objid),
    coalesce(r.via_part, d.objsubid)
  from pg_catalog.pg_depend d
  where d.classid = r.class
    and d.objid = r.object
    and (d.refclassid in (${ROUTINE}, ${TYPE}, ${OPERATOR}, ${OPERATOR_CLASS})
      or (r.class = ${RULE} and d.refclassid = ${TABLE}))`;

/**
 * Who can change what `r.object` runs, as a type's owner can by a cast. Functions of our ledger count as its owner's.
 */
const OWNER = sql`
  select c.relowner as id
  from pg_catalog.pg_class c
  where r.class = ${TABLE} and c.oid = r.object and c.relkind in ('r', 'p', 'v', 'm', 'f')
  union all
  select case
    when n.nspname <> 'rowmill' then p.proowner
    when not me.rolsuper and pg_has_role(n.nspowner, 'USAGE') then me.oid
    else n.nspowner end
  from pg_catalog.pg_proc p
  join pg_catalog.pg_namespace n on n.oid = p.pronamespace
  where r.class = ${ROUTINE} and p.oid = r.object
  union all
  select t.typowner
  from pg_catalog.pg_type t
  where r.class = ${TYPE} and t.oid = r.object and t.typtype <> 'b'`;

function findForeign(client: Reader, { target, source, key }: Ownership): Promise<ForeignObject[]> {
  return client.rows<ForeignObject>(sql`
    with recursive reached (class, object, via_class, via_object, via_part) as (
      select ${TABLE}, to_regclass(${target})::oid, null::oid, null::oid, null::int
      union select s.* from reached r cross join lateral (${step(key)}) s)
    select distinct on (r.class, r.object) me.rolname::text as user, i.type as kind, i.identity,
      pg_get_userbyid(o.id)::text as owner, v.type as "viaKind", v.identity as via
    from reached r
    join pg_catalog.pg_roles me on me.rolname = current_user
    cross join lateral (${OWNER}) o
    cross join lateral pg_identify_object(r.class, r.object, 0) i
    cross join lateral pg_identify_object(r.via_class, r.via_object, r.via_part) v
    where o.id <> me.oid
      and not exists (select 1 from pg_catalog.pg_roles a where a.oid = o.id and a.rolsuper)
      and not exists (select 1 from pg_catalog.pg_class c where c.oid = to_regclass(${source}) and c.relowner = o.id)
    order by r.class, r.object, r.via_class, r.via_object
    limit ${FOREIGN_MAX}`);
}
