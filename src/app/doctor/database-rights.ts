/** What this user may do of what `up` needs in the database itself: our schemas and the role of the triggers. */
import { problem, warning, type Finding } from "../../model/words/finding.js";
import { quoteIdentifier, sql, type Reader } from "../../postgres/database.js";
import { ARRIVALS_ROLE } from "../../sources/table/triggers.js";
import * as ledgerOwners from "../../store/ledger/ledger-owners.js";

export interface DatabaseRights {
  readonly user: string;
  readonly database: string;
  readonly mayCreateSchema: boolean;
  /** Of ours, those that exist: whose they are, and whether this user may act as that owner. */
  readonly schemas: readonly { readonly name: string; readonly owner: string; readonly ours: boolean }[];
  readonly role: { readonly exists: boolean; readonly mayBecome: boolean; readonly mayCreate: boolean };
}

export async function readDatabaseRights(client: Reader): Promise<DatabaseRights> {
  const row = await client.first<DatabaseRights>(sql`
    select current_user::text as user,
      current_database()::text as database,
      has_database_privilege(current_database(), 'CREATE') as "mayCreateSchema",
      coalesce((
        select json_agg(
          json_build_object(
            'name', n.nspname,
            'owner', pg_get_userbyid(n.nspowner),
            'ours', pg_has_role(n.nspowner, 'USAGE') and ${ledgerOwners.isTrustedOwner(sql`n.nspowner`, "u")}
          )
          order by n.nspname
        )
        from pg_catalog.pg_namespace n
        join pg_catalog.pg_roles u on u.rolname = current_user
        where n.nspname = any(${[...ledgerOwners.OUR_SCHEMAS]}::text[])
      ), '[]') as schemas,
      (
        select json_build_object(
          'exists', a.oid is not null,
          'mayBecome', coalesce(
            me.rolsuper
              or pg_has_role(me.oid, a.oid, case when v.number >= 160000 then 'SET' else 'MEMBER' end)
              or pg_has_role(me.oid, a.oid, 'MEMBER WITH ADMIN OPTION')
              or (me.rolcreaterole and v.number < 160000),
            false
          ),
          'mayCreate', me.rolsuper or me.rolcreaterole
        )
        from pg_catalog.pg_roles me
        cross join (select current_setting('server_version_num')::int as number) v
        left join pg_catalog.pg_roles a on a.rolname = ${ARRIVALS_ROLE}
        where me.rolname = current_user
      ) as role`);
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
  const owners = new Set(schemas.filter(({ ours }) => !ours).map(({ owner }) => owner));
  const noun = missing.length === 1 ? "schema" : "schemas";
  return [
    ...(missing.length > 0 && !mayCreateSchema
      ? [
          problem(`The user "${user}" may not create the ${noun} ${missing.join(" and ")}.`, {
            sql: [`grant create on database ${quoteIdentifier(database)} to ${me};`],
          }),
        ]
      : []),
    ...[...owners].map((owner) =>
      problem(`The schema rowmill belongs to "${owner}", and the user "${user}" may not act as that role.`, {
        fixes: [`Connect as "${owner}", or ask an administrator for membership in that role.`],
        sql: [`grant ${quoteIdentifier(owner)} to ${me};`],
      }),
    ),
  ];
}

/** True: the user may neither use nor create it. */
export function lacksArrivalsRole({ role }: DatabaseRights): boolean {
  return !(role.exists ? role.mayBecome : role.mayCreate);
}

function judgeRole(rights: DatabaseRights): readonly Finding[] {
  const { user, role } = rights;
  if (!lacksArrivalsRole(rights)) return [];
  const create = role.exists ? [] : [`create role ${ARRIVALS_ROLE} nologin noinherit;`];
  const verb = role.exists ? "use" : "create";
  return [
    warning(
      `The user "${user}" may not ${verb} the role ${ARRIVALS_ROLE}, so Rowmill's trigger functions will run ` +
        `with all rights of "${user}".`,
      {
        fixes: ["Rowmill works without this role. With it, its triggers can only add rows to rowmill.arrivals."],
        sql: [...create, `grant ${ARRIVALS_ROLE} to ${quoteIdentifier(user)};`],
      },
    ),
  ];
}
