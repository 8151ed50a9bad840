/**
 * One text that changes whenever something changes in the catalogue that decides about a source, its triggers or a
 * target's owners. One statement for all tables, so that a worker with many pipelines need not check each. Only
 * reads.
 */
import { randomBytes } from "node:crypto";
import { join, raw, sql, type Database, type Sql } from "../../postgres/database.js";
import { schemasOnPath } from "./inspection.js";

/** PostgreSQL's own objects have lower ones. */
const FIRST_USER_OID = 16_384;
/** Random, so that no one can choose changes that leave the sums as they were. */
const SEED = randomBytes(6).readUIntBE(0, 6);

/** Schemas of the sessions' own tables, which come and go. */
const TEMPORARY = "^pg_(toast_)?temp_";
const LASTING = sql`(select oid from pg_catalog.pg_class where relpersistence <> 't')`;

/** `of` and `part` identify a row; `only` selects rows. Any change gives a row another `xmin`. */
const CATALOGUES: readonly {
  readonly name: string;
  readonly of: string;
  readonly part?: string;
  readonly only?: Sql;
}[] = [
  { name: "pg_class", of: "oid", only: sql`relpersistence <> 't'` },
  { name: "pg_attribute", of: "attrelid", part: "attnum", only: sql`attrelid in ${LASTING}` },
  { name: "pg_attrdef", of: "oid", only: sql`adrelid in ${LASTING}` },
  { name: "pg_constraint", of: "oid", only: sql`conrelid = 0 or conrelid in ${LASTING}` },
  { name: "pg_index", of: "indexrelid", only: sql`indrelid in ${LASTING}` },
  { name: "pg_inherits", of: "inhrelid", part: "inhseqno" },
  { name: "pg_trigger", of: "oid", only: sql`tgrelid in ${LASTING}` },
  { name: "pg_rewrite", of: "oid" },
  { name: "pg_policy", of: "oid" },
  { name: "pg_statistic_ext", of: "oid" },
  { name: "pg_proc", of: "oid" },
  {
    name: "pg_type",
    of: "oid",
    only: sql`typnamespace not in (select oid from pg_catalog.pg_namespace where nspname ~ ${TEMPORARY})`,
  },
  { name: "pg_operator", of: "oid" },
  { name: "pg_opclass", of: "oid" },
  { name: "pg_cast", of: "oid" },
  { name: "pg_namespace", of: "oid", only: sql`nspname !~ ${TEMPORARY}` },
];

const SUMS = join(
  CATALOGUES.map(
    ({ name, of, part = "0", only = sql`true` }) => sql`(
      select coalesce(
        sum(hashint8extended(xmin::text::int8, hashint8extended(${raw(of)}::int8, ${SEED}::int8 + ${raw(part)}))),
        0)
      from pg_catalog.${raw(name)}
      where ${raw(of)} >= ${FIRST_USER_OID} and (${only}))`,
  ),
);

export async function catalogueState(database: Database): Promise<string> {
  return database.transaction(async (tx) => {
    const path = await schemasOnPath(tx);
    // This role, all roles, and the definitions that the pipelines' triggers were made for.
    const state = await tx.value<string>(sql`
      select concat_ws(' ', current_user, current_setting('session_replication_role'),
        (select sum(hashtextextended(concat_ws(',', oid, rolname, rolsuper), ${SEED}::int8)) from pg_catalog.pg_roles),
        (
          select sum(hashtextextended(concat_ws(',', id, definition_hash, source_signature, uninstalled_at),
            ${SEED}::int8))
          from rowmill.pipelines),
        ${SUMS})`);
    return [...path, state ?? ""].join(" ");
  });
}
