/**
 * Whose the schemas `rowmill` and `rowmill_worker` are. Who made them before us could have put triggers, views and functions there, which
 * would run with the rights of whoever reads or writes the ledger. Only reads the catalog.
 */
import { RowmillError } from "../../model/errors.js";
import { quoteIdentifier, raw, sql, type Reader, type Sql } from "../../postgres/database.js";

export const OUR_SCHEMAS = ["rowmill", "rowmill_worker"] as const;
/** Named in one message. */
const STRANGERS_MAX = 5;

/**
 * May this user work with what that role made? A superuser may act for every role, and would run anybody's code with all rights: so only for
 * itself and other superusers. `me`: a row of pg_roles.
 */
export function isTrustedOwner(owner: Sql, me: string): Sql {
  const user = raw(me);
  return sql`(${owner} = ${user}.oid
    or exists (select 1 from pg_catalog.pg_roles super where super.oid = ${owner} and super.rolsuper)
    or (not ${user}.rolsuper and pg_has_role(${user}.oid, ${owner}, 'USAGE')))`;
}

/** @throws RowmillError `database_refused` that names what belongs to whom */
export async function requireOwnLedger(client: Reader): Promise<void> {
  const strangers = await client.rows<{ what: string; owner: string }>(sql`
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
      -- Trigger functions are given to a role of ours, and run in the users' writes alone.
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
    limit ${STRANGERS_MAX}`);
  const [first] = strangers;
  if (first === undefined) return;
  throw new RowmillError(
    "database_refused",
    `Another role made Rowmill's own objects: ${strangers.map(({ what, owner }) => `${what} belongs to ${quoteIdentifier(owner)}`).join("; ")}. Its code would run with the rights of your database user.`,
    {
      hints: [
        `If ${quoteIdentifier(first.owner)} is the user that Rowmill works as, connect as that user.`,
        "If no one of yours made them, look at them, then drop them: drop schema rowmill, rowmill_worker cascade;",
      ],
    },
  );
}
