/**
 * Who owns the schemas `rowmill` and `rowmill_worker`. A role that created them first could have put triggers, views
 * and functions there, which would run with the rights of the ledger's users. Only reads the catalog.
 */
import { RowmillError } from "../../model/errors.js";
import { quoteIdentifier, raw, sql, type Reader, type Sql } from "../../postgres/database.js";

export const OUR_SCHEMAS = ["rowmill", "rowmill_worker"] as const;
/** Named in one message. */
const FOREIGN_MAX = 5;

/** May `me`, a row of pg_roles, run that role's code? A superuser, who has all rights, only that of superusers. */
export function isTrustedOwner(owner: Sql, me: string): Sql {
  const user = raw(me);
  return sql`(${owner} = ${user}.oid
    or exists (select 1 from pg_catalog.pg_roles super where super.oid = ${owner} and super.rolsuper)
    or (not ${user}.rolsuper and pg_has_role(${user}.oid, ${owner}, 'USAGE')))`;
}

/** @throws RowmillError `database_refused` that names what belongs to whom */
export async function requireOwnLedger(client: Reader): Promise<void> {
  const foreign = await client.rows<{ what: string; owner: string }>(sql`
    with owned (schema, what, owner, ours) as (
      select n.oid, 'the schema ' || quote_ident(n.nspname), n.nspowner, false
      from pg_catalog.pg_namespace n
      union all
      select c.relnamespace, c.oid::regclass::text, c.relowner, false
      from pg_catalog.pg_class c
      where c.relkind in ('r', 'p', 'v', 'm', 'f')
      union all
      select t.typnamespace, 'the type ' || t.oid::regtype, t.typowner, false
      from pg_catalog.pg_type t
      where t.typtype in ('d', 'e', 'r')
      -- Trigger functions belong to a role of ours, and run only in the users' writes.
      union all
      select p.pronamespace, 'the function ' || p.oid::regprocedure, p.proowner,
        pg_get_userbyid(p.proowner) = 'rowmill_arrivals'
      from pg_catalog.pg_proc p)
    select o.what, pg_get_userbyid(o.owner)::text as owner
    from owned o
    join pg_catalog.pg_namespace n on n.oid = o.schema
    join pg_catalog.pg_roles me on me.rolname = current_user
    where n.nspname = any(${[...OUR_SCHEMAS]}::text[])
      and not o.ours
      and not ${isTrustedOwner(sql`o.owner`, "me")}
    order by o.what like 'the schema%' desc, o.what
    limit ${FOREIGN_MAX}`);
  const [first] = foreign;
  if (first === undefined) return;
  const owned = foreign.map(({ what, owner }) => `${what} belongs to ${quoteIdentifier(owner)}`);
  throw new RowmillError(
    "database_refused",
    `Another role owns objects of Rowmill: ${owned.join("; ")}. Its code would run with your database user's rights.`,
    {
      hints: [
        `If ${quoteIdentifier(first.owner)} is the user that Rowmill works as, connect as that user.`,
        "If no one of yours made them, look at them, then drop them: drop schema rowmill, rowmill_worker cascade;",
      ],
    },
  );
}
