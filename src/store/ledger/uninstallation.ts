/**
 * Removes Rowmill's own objects: marks pipelines, drops our two schemas and our role. Never a user's table. After a
 * crash, another call removes the rest.
 */
import { RowmillError } from "../../model/errors.js";
import { DatabaseError, sql, type Database, type Queryable } from "../../postgres/database.js";

const LOCK_TIMEOUT_MS = 10_000;
/** SQLSTATEs of a role that something still depends on, in any database, and of a missing right. */
const STILL_NEEDED = ["2BP01", "42501"];

/** Returns how many were not uninstalled before. From now on no worker restores their triggers. */
export async function markUninstalled(tx: Queryable, pipelineIds: readonly number[]): Promise<number> {
  return tx.run(sql`
    with marked as (
      update rowmill.pipelines
      set uninstalled_at = now()
      where uninstalled_at is null and id = any(${pipelineIds}::int[])
      returning id)
    insert into rowmill.pipeline_events (pipeline_id, event)
    select id, 'uninstalled' from marked`);
}

/** Batches that are not settled; `of`: of these pipelines only. */
export async function countInFlightBatches(client: Queryable, of?: readonly string[]): Promise<number> {
  const meant =
    of === undefined
      ? sql`true`
      : sql`pipeline_id in (select id from rowmill.pipelines where name = any(${[...of]}::text[]))`;
  return client.number(sql`
    select count(*)::int as count
    from rowmill.batches
    where settled_at is null
      and ${meant}`);
}

/** Relations that a purge would also drop: a target inside our schema, a view over our tables. */
export async function foreignRelations(client: Queryable): Promise<string[]> {
  return client.column<string>(sql`
    select distinct c.oid::regclass::text as name
    from pg_catalog.pg_depend d
    join pg_catalog.pg_class ours on ours.oid = d.refobjid and d.refclassid = 'pg_class'::regclass
    join pg_catalog.pg_namespace n on n.oid = ours.relnamespace and n.nspname in ('rowmill', 'rowmill_worker')
    join pg_catalog.pg_rewrite w on w.oid = d.objid and d.classid = 'pg_rewrite'::regclass
    join pg_catalog.pg_class c on c.oid = w.ev_class
    join pg_catalog.pg_namespace theirs on theirs.oid = c.relnamespace
      and theirs.nspname not in ('rowmill', 'rowmill_worker')
    union select target_table from rowmill.pipelines where target_table ~ '^"?(rowmill|rowmill_worker)"?[.]'
    union
    select source_table
    from rowmill.pipelines
    where source_table ~ '^"(rowmill|rowmill_worker)"[.]'
    order by 1`);
}

/** @throws RowmillError `refused` when a batch was planned since the caller checked */
export async function dropSchemas(database: Database): Promise<void> {
  await database.transaction(
    async (tx) => {
      await tx.run(sql`lock table rowmill.pipelines, rowmill.batches in access exclusive mode`);
      if ((await countInFlightBatches(tx)) > 0)
        throw new RowmillError(
          "refused",
          "A worker planned a batch in the meantime, so nothing was dropped. Stop the workers, then try again.",
        );
      await tx.run(sql`drop schema if exists rowmill_worker cascade`);
      await tx.run(sql`drop schema rowmill cascade`);
    },
    { lockTimeoutMs: LOCK_TIMEOUT_MS },
  );
}

/** The role that owned the trigger functions. Another database of the server may still need it. */
export async function dropArrivalsRole(database: Database): Promise<"dropped" | "absent" | "kept"> {
  const exists = await database.first(sql`select 1 as one from pg_catalog.pg_roles where rolname = 'rowmill_arrivals'`);
  if (exists === null) return "absent";
  try {
    await database.run(sql`drop role rowmill_arrivals`);
    return "dropped";
  } catch (error) {
    if (error instanceof DatabaseError && STILL_NEEDED.includes(error.sqlState ?? "")) return "kept";
    throw error;
  }
}
