/** Roles of hosted databases whose users come from the Internet: they get no rights on a table that Rowmill makes. */
import { sql, type Reader } from "./database.js";

/** Supabase's. */
const OUTSIDE_ROLES = ["anon", "authenticated"];

/** Those that exist here. */
export function outsideRoles(client: Reader): Promise<string[]> {
  return client.column<string>(sql`
    select rolname
    from pg_catalog.pg_roles
    where rolname = any(${OUTSIDE_ROLES}::text[])`);
}
