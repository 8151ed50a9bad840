/**
 * The ledger's name at the provider, made once and carried in each batch's metadata; where the ledger is; and whether
 * it may be restored or copied, which holds everything back (read together with the pauses in `pipelines.ts`).
 */
import type { DeploymentIdentity } from "../../model/deployment-identity.js";
import { RowmillError } from "../../model/errors.js";
import { sql, type Queryable, type Reader, type Sql } from "../../postgres/database.js";

export async function deploymentId(client: Reader): Promise<string> {
  const id = await client.value<string>(sql`select id from rowmill.deployment`);
  if (id === null) throw notMigrated();
  return id;
}

function notMigrated(): RowmillError {
  return new RowmillError(
    "internal",
    "The table rowmill.deployment is empty, so Rowmill did not create this schema. Run: rowmill doctor",
  );
}

/** Why the ledger is held back; null: it is not, as always in a ledger of an earlier version. */
export const SUSPICION_VALUE: Sql = sql`(select to_jsonb(d) ->> 'suspicion' from rowmill.deployment d)`;

export async function suspicion(client: Reader): Promise<string | null> {
  return client.value<string>(sql`select ${SUSPICION_VALUE} as suspicion`);
}

/** Where the ledger was when a worker last opened it. */
export async function recordedIdentity(client: Reader): Promise<DeploymentIdentity> {
  const row = await client.first<DeploymentIdentity>(sql`
    select to_jsonb(d) ->> 'system_identifier' as "systemIdentifier",
      to_jsonb(d) ->> 'database_oid' as "databaseOid", database_name as "databaseName",
      to_jsonb(d) ->> 'folder' as folder, to_jsonb(d) ->> 'folder_inode' as "folderInode"
    from rowmill.deployment d`);
  if (!row) throw notMigrated();
  return row;
}

/** Where it is now. */
export async function presentIdentity(
  client: Reader,
  folder: Pick<DeploymentIdentity, "folder" | "folderInode">,
): Promise<DeploymentIdentity> {
  const row = await client.first<{ databaseOid: string; databaseName: string; allowed: boolean }>(sql`
    select d.oid::text as "databaseOid", current_database()::text as "databaseName",
      has_function_privilege('pg_catalog.pg_control_system()', 'execute') as allowed
    from pg_catalog.pg_database d
    where d.datname = current_database()`);
  if (!row) throw new RowmillError("internal", "The database is missing from its own catalog.");
  const { allowed, ...database } = row;
  // A separate statement, because the right is required before it runs.
  const systemIdentifier = allowed
    ? await client.value<string>(sql`select system_identifier::text from pg_catalog.pg_control_system()`)
    : null;
  return { ...database, ...folder, systemIdentifier };
}

export async function recordIdentity(client: Queryable, identity: DeploymentIdentity): Promise<void> {
  const { systemIdentifier, databaseOid, databaseName, folder, folderInode } = identity;
  await client.run(sql`
    update rowmill.deployment
    set system_identifier = coalesce(${systemIdentifier}, system_identifier), database_oid = ${databaseOid}::oid,
      database_name = ${databaseName}, folder = ${folder}, folder_inode = ${folderInode}`);
}

/** Holds everything back until you decide. The first reason stays. True: by this call. */
export async function suspect(client: Queryable, reason: string): Promise<boolean> {
  const suspected = await client.value<boolean>(sql`
    with suspected as (
      update rowmill.deployment
      set suspicion = ${reason}, suspected_at = now()
      where suspicion is null
      returning id),
    noted as (
      insert into rowmill.pipeline_events (pipeline_id, event, reason)
      select p.id, 'paused', ${reason}
      from rowmill.pipelines p
      cross join suspected
      where p.uninstalled_at is null)
    select true from suspected`);
  return suspected === true;
}

/** You decided: the ledger continues here. `renamed`: under a new name. */
export async function clearSuspicion(
  tx: Queryable,
  decision: { identity: DeploymentIdentity; renamed: boolean; event: string; reason: string },
): Promise<void> {
  await recordIdentity(tx, decision.identity);
  await tx.run(sql`
    update rowmill.deployment
    set suspicion = null, suspected_at = null,
      fence_epoch = greatest(fence_epoch + 1, extract(epoch from now())::bigint),
      id = case when ${decision.renamed}::boolean then gen_random_uuid() else id end`);
  await tx.run(sql`
    insert into rowmill.pipeline_events (pipeline_id, event, reason)
    select id, ${decision.event}, ${decision.reason}
    from rowmill.pipelines
    where uninstalled_at is null`);
}

/** Whether the ledger ever had one. */
export async function hasBatches(client: Reader): Promise<boolean> {
  return (await client.first(sql`select 1 as one from rowmill.batches limit 1`)) !== null;
}

/** Since the last known batch was created, or since the ledger was. */
export async function secondsSinceLastCreate(client: Reader): Promise<number> {
  const seconds = await client.number(sql`
    select extract(epoch from clock_timestamp() - coalesce((select max(submitted_at) from rowmill.batches),
      d.created_at))::float8 as seconds
    from rowmill.deployment d`);
  return Math.max(0, seconds);
}
