/**
 * What this user of the database may do of what `up` needs, and the statements with which an administrator allows the rest. The
 * looks only read the catalogue; the judgements are pure.
 */
import type { SourceTable } from "../../sources/table/inspection.js";
import { ARRIVALS_ROLE } from "../../sources/table/triggers.js";
import { quoteIdentifier, sql, type Queryable } from "../../postgres/database.js";
import * as ledgerOwners from "../../store/ledger/ledger-owners.js";
import type { TargetPlan } from "../../targets/table/ensure.js";
import { thinnedFault } from "../../targets/table/judge.js";
import { problem, warning, type Finding } from "./check.js";

export interface DatabaseRights {
  readonly user: string;
  readonly database: string;
  readonly mayCreateSchema: boolean;
  /** Of ours, those that are there: whose they are, and whether this user may act as that owner. */
  readonly schemas: readonly { readonly name: string; readonly owner: string; readonly ours: boolean }[];
  readonly role: { readonly exists: boolean; readonly mayBecome: boolean; readonly mayCreate: boolean };
}

export async function lookAtDatabaseRights(tx: Queryable): Promise<DatabaseRights> {
  const row = await tx.first<DatabaseRights>(sql`
    select current_user::text as user, current_database()::text as database,
      has_database_privilege(current_database(), 'CREATE') as "mayCreateSchema",
      coalesce((select json_agg(json_build_object('name', n.nspname, 'owner', pg_get_userbyid(n.nspowner),
          'ours', pg_has_role(n.nspowner, 'USAGE') and ${ledgerOwners.isTrustedOwner(sql`n.nspowner`, "u")}) order by n.nspname)
        from pg_catalog.pg_namespace n join pg_catalog.pg_roles u on u.rolname = current_user
        where n.nspname = any(${[...ledgerOwners.OUR_SCHEMAS]}::text[])), '[]') as schemas,
      (select json_build_object(
          'exists', a.oid is not null,
          'mayBecome', coalesce(me.rolsuper or pg_has_role(me.oid, a.oid, case when current_setting('server_version_num')::int >= 160000 then 'SET' else 'MEMBER' end)
            or pg_has_role(me.oid, a.oid, 'MEMBER WITH ADMIN OPTION') or (me.rolcreaterole and current_setting('server_version_num')::int < 160000), false),
          'mayCreate', me.rolsuper or me.rolcreaterole)
        from pg_catalog.pg_roles me left join pg_catalog.pg_roles a on a.rolname = ${ARRIVALS_ROLE} where me.rolname = current_user) as role`);
  if (row === null) throw new Error("The catalogue does not know the current user.");
  return row;
}

/** Nothing for a user who may do all of it. */
export function judgeDatabaseRights(rights: DatabaseRights): readonly Finding[] {
  return [...judgeSchemas(rights), ...judgeRole(rights)];
}

function judgeSchemas({ user, database, mayCreateSchema, schemas }: DatabaseRights): readonly Finding[] {
  const me = quoteIdentifier(user);
  const missing = ledgerOwners.OUR_SCHEMAS.filter((name) => !schemas.some((schema) => schema.name === name));
  const foreign = schemas.filter((schema) => !schema.ours);
  return [
    ...(missing.length > 0 && !mayCreateSchema
      ? [
          problem(
            `The user "${user}" may not make the ${missing.length === 1 ? "schema" : "schemas"} ${missing.join(" and ")}.`,
            {
              sql: [`grant create on database ${quoteIdentifier(database)} to ${me};`],
            },
          ),
        ]
      : []),
    ...[...new Set(foreign.map((schema) => schema.owner))].map((owner) =>
      problem(`The schema rowmill belongs to "${owner}", and "${user}" may not act for it.`, {
        mends: [`Connect as "${owner}", as whoever set Rowmill up did; or let an administrator allow it.`],
        sql: [`grant ${quoteIdentifier(owner)} to ${me};`],
      }),
    ),
  ];
}

/** True: the user may neither use nor make it. */
export function lacksArrivalsRole({ role }: DatabaseRights): boolean {
  return !(role.exists ? role.mayBecome : role.mayCreate);
}

function judgeRole(rights: DatabaseRights): readonly Finding[] {
  const { user, role } = rights;
  if (!lacksArrivalsRole(rights)) return [];
  const create = role.exists ? [] : [`create role ${ARRIVALS_ROLE} nologin noinherit;`];
  return [
    warning(
      `The role ${ARRIVALS_ROLE} cannot be ${role.exists ? "used" : "made"}, so trigger functions will belong to "${user}", who may do more than they need.`,
      {
        mends: ["It works without. With the role, a trigger may add arrivals and nothing else."],
        sql: [...create, `grant ${ARRIVALS_ROLE} to ${quoteIdentifier(user)};`],
      },
    ),
  ];
}

export interface TableRights {
  readonly user: string;
  readonly schemaUsage: boolean;
  readonly select: boolean;
  /** Relations on which no trigger may be made: the table, its partitions. */
  readonly untriggerable: readonly string[];
  /** Policies would hide rows from this user. */
  readonly thinned: boolean;
}

/** Of a table that exists. `columns`: those that are read. */
export async function lookAtTableRights(
  tx: Queryable,
  table: { qualified: string; relations: readonly string[]; columns: readonly string[] },
): Promise<TableRights> {
  const row = await tx.first<TableRights>(sql`
    select current_user::text as user, has_schema_privilege(c.relnamespace, 'USAGE') as "schemaUsage",
      has_table_privilege(c.oid, 'SELECT') or (${table.columns.length}::int > 0 and not exists (
        select 1 from pg_catalog.pg_attribute a where a.attrelid = c.oid and a.attname = any(${[...table.columns]}::text[])
          and not has_column_privilege(c.oid, a.attnum, 'SELECT'))) as select,
      coalesce((select json_agg(r.name order by r.at) from unnest(${[...table.relations]}::text[]) with ordinality as r (name, at)
        where not has_table_privilege(r.name::regclass::oid, 'TRIGGER')), '[]') as untriggerable,
      row_security_active(c.oid) as thinned
    from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where format('%I.%I', n.nspname, c.relname) = format('%I.%I', (parse_ident(${table.qualified}))[1], (parse_ident(${table.qualified}))[2])`);
  if (row === null) throw new Error(`${table.qualified} went away while it was looked at.`);
  return row;
}

/** Of the source: read it, put triggers on it. */
export function judgeSourceRights(
  pipeline: string,
  table: SourceTable,
  rights: TableRights,
): readonly Finding[] {
  const wanted = rights.select ? [] : ["select"];
  const me = quoteIdentifier(rights.user);
  const grants = [
    ...usageGrant(rights, table.schema),
    ...wanted.map((right) => `grant ${right} on ${table.qualified} to ${me};`),
    ...rights.untriggerable.map((relation) => `grant trigger on ${relation} to ${me};`),
  ];
  const lacks = [
    ...(rights.schemaUsage && rights.select ? [] : ["read"]),
    ...(rights.untriggerable.length === 0 ? [] : ["put triggers on"]),
  ];
  return [
    ...(grants.length === 0
      ? []
      : [
          problem(
            `${pipeline}: the user "${rights.user}" may not ${lacks.join(", nor ")} ${table.qualified}.`,
            { sql: grants },
          ),
        ]),
    ...judgeThinned(pipeline, table.qualified, rights),
  ];
}

function usageGrant(rights: TableRights, schema: string): readonly string[] {
  return rights.schemaUsage
    ? []
    : [`grant usage on schema ${quoteIdentifier(schema)} to ${quoteIdentifier(rights.user)};`];
}

function judgeThinned(pipeline: string, qualified: string, rights: TableRights): readonly Finding[] {
  if (!rights.thinned) return [];
  const { text, mends, sql } = thinnedFault(qualified, rights.user);
  return [problem(`${pipeline}: ${text}`, { mends, sql })];
}

export interface NewTableRights {
  readonly user: string;
  readonly schemaExists: boolean;
  readonly mayCreate: boolean;
}

export async function lookAtNewTableRights(tx: Queryable, schema: string): Promise<NewTableRights> {
  const row = await tx.first<NewTableRights>(sql`
    select current_user::text as user, n.oid is not null as "schemaExists",
      coalesce(has_schema_privilege(n.oid, 'CREATE') and has_schema_privilege(n.oid, 'USAGE'), false) as "mayCreate"
    from (select 1) one left join pg_catalog.pg_namespace n on n.nspname = ${schema}`);
  if (row === null) throw new Error("The catalogue gave no row.");
  return row;
}

/** Of a target that is to be made. */
export function judgeNewTargetRights(
  pipeline: string,
  plan: TargetPlan,
  rights: NewTableRights,
): readonly Finding[] {
  const schema = quoteIdentifier(plan.schema);
  const me = quoteIdentifier(rights.user);
  if (!rights.schemaExists)
    return [
      problem(`${pipeline}: there is no schema ${schema} for the target ${plan.qualified}.`, {
        sql: [`create schema ${schema} authorization ${me};`],
      }),
    ];
  if (rights.mayCreate) return [];
  return [
    problem(`${pipeline}: the user "${rights.user}" may not make ${plan.qualified}.`, {
      sql: [`grant usage, create on schema ${schema} to ${me};`],
    }),
  ];
}
