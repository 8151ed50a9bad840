/**
 * Tables in the schema `rowmill_data` for rows that come from elsewhere: ordinary watched tables, so that no stage
 * learns of other systems. A row counts only if it was written under the present generation, which every added column
 * begins: it would lack that column otherwise, and be asked half-read.
 */
import { RowmillError } from "../../model/errors.js";
import { REPLICA_SCHEMA } from "../../model/replica-name.js";
import {
  identifier,
  quoteIdentifier,
  raw,
  sql,
  type Database,
  type Queryable,
  type Reader,
} from "../../postgres/database.js";
import { outsideRoles } from "../../postgres/outside-roles.js";
import { dropStatements } from "../syncs/seen-rows.js";
import { isTrustedOwner } from "../ledger/ledger-owners.js";
import {
  additionStatements,
  adopted,
  columnsOf,
  commentStatement,
  COPY_COMMENT,
  creationStatements,
  hasTable,
  indexStatements,
  lookAtTable,
  newVersionStatement,
  otherKey,
  protectionStatements,
  SCHEMA_STATEMENT,
  type ReplicaShape,
} from "./replica-table.js";

export type { ReplicaShape };

/** The same class as in `rowmill.push_rows`. */
const PUSH_LOCK = 726_976;
const LOCK_TIMEOUT_MS = 10_000;

export interface Replica {
  readonly pipeline: string;
  readonly key: readonly string[];
  /** Every column that was declared since the table was made. */
  readonly columns: readonly string[];
  readonly version: string | null;
  readonly generation: number;
  /** Rowmill reads the rows from elsewhere itself. */
  readonly synced: boolean;
}

/** Null: there is none, or no ledger. */
export async function replicaOf(client: Reader, pipeline: string): Promise<Replica | null> {
  // As a caller may name it; PostgreSQL takes no such text.
  if (pipeline.includes("\0")) return null;
  const known = await client.value<boolean>(sql`select to_regclass('rowmill.replicas') is not null`);
  if (known !== true) return null;
  return client.first<Replica>(sql`
    select pipeline, key, columns, version_field as version, generation, synced
    from rowmill.replicas
    where pipeline = ${pipeline}`);
}

export async function all(client: Reader): Promise<Replica[]> {
  return client.rows<Replica>(sql`
    select pipeline, key, columns, version_field as version, generation, synced
    from rowmill.replicas
    order by pipeline`);
}

/**
 * Makes the table, or adds columns to it. Repeatable, and safe from several processes at once.
 * @throws RowmillError `refused` for another key, `database_refused` where the schema belongs to another role
 */
export async function ensureReplica(database: Database, pipeline: string, shape: ReplicaShape): Promise<void> {
  await database.transaction(async (tx) => {
    // Waits for pushes under way, which write by the shape that they found.
    await lockAlone(tx, pipeline);
    const known = await replicaOf(tx, pipeline);
    const isThere = known !== null && (await hasTable(tx, pipeline));
    if (!isThere) await makeTable(tx, pipeline, shape);
    else if (!isSame(known, shape)) await changeTable(tx, known, shape);
    if (isThere && !isSame(known, shape)) await forgetDigests(tx, pipeline);
    for (const statement of indexStatements(pipeline, shape)) await tx.run(raw(statement));
  });
}

/** No push of the pipeline runs until this transaction ends. */
export async function lockAlone(tx: Queryable, pipeline: string): Promise<void> {
  await tx.run(sql`select pg_advisory_xact_lock(${PUSH_LOCK}::int, hashtext(${pipeline}))`);
}

/** The same if no push is under way. False: one is, perhaps in a long transaction, which would delay all others. */
export async function lockAloneIfFree(tx: Queryable, pipeline: string): Promise<boolean> {
  const isFree = await tx.value<boolean>(sql`
    select pg_try_advisory_xact_lock(${PUSH_LOCK}::int, hashtext(${pipeline}))`);
  return isFree === true;
}

/**
 * As a push does: `up` does not change the table until this transaction ends, and no digest is kept in the meantime.
 */
export async function lockShared(tx: Queryable, pipeline: string): Promise<void> {
  await tx.run(sql`select pg_advisory_xact_lock_shared(${PUSH_LOCK}::int, hashtext(${pipeline}))`);
}

/** What was pushed last no longer says what the table has. */
export async function forgetDigests(tx: Queryable, pipeline: string): Promise<void> {
  await tx.run(sql`delete from rowmill.push_digests where pipeline = ${pipeline}`);
}

export interface StoredRows {
  readonly pipeline: string;
  readonly rows: number;
  /** On disk, for display. */
  readonly size: string;
  /** Their source is elsewhere. */
  readonly isCopy: boolean;
}

/** Tables of one command. */
const TABLES_MAX = 1_000;

/** Tables of rows from elsewhere, with or without a record. Counts their rows. */
export async function storedRows(client: Reader): Promise<StoredRows[]> {
  const tables = await client.rows<Omit<StoredRows, "rows">>(sql`
    select c.relname as pipeline, pg_size_pretty(pg_total_relation_size(c.oid)) as size,
      coalesce(obj_description(c.oid, 'pg_class') = ${COPY_COMMENT}, false) as "isCopy"
    from pg_catalog.pg_class c
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    join pg_catalog.pg_attribute a on a.attrelid = c.oid
    where n.nspname = ${REPLICA_SCHEMA}
      and c.relkind = 'r'
      and a.attname = 'rowmill_pushed_at'
    order by 1
    limit ${TABLES_MAX}`);
  const stored: StoredRows[] = [];
  for (const { pipeline, ...rest } of tables) {
    const table = identifier(pipeline);
    const rows = await client.number(sql`select count(*)::float8 as count from ${raw(REPLICA_SCHEMA)}.${table}`);
    stored.push({ pipeline, rows, ...rest });
  }
  return stored;
}

/** With its record. Repeatable. A view of yours over it is in the way, and stays. */
export async function dropTable(database: Database, pipeline: string): Promise<void> {
  await database.transaction(
    async (tx) => {
      await lockAlone(tx, pipeline);
      await forgetRecord(tx, pipeline);
      await tx.run(sql`drop table if exists ${raw(REPLICA_SCHEMA)}.${identifier(pipeline)}`);
      for (const statement of dropStatements(pipeline)) await tx.run(raw(statement));
    },
    { lockTimeoutMs: LOCK_TIMEOUT_MS },
  );
}

/** Of a table that is dropped, or was dropped by someone else. */
async function forgetRecord(tx: Queryable, pipeline: string): Promise<void> {
  await tx.run(sql`delete from rowmill.replicas where pipeline = ${pipeline}`);
  await tx.run(sql`delete from rowmill.gone_versions where pipeline = ${pipeline}`);
  await forgetDigests(tx, pipeline);
}

/** Where nothing is left in it. False: there is no such schema, or something is. */
export async function dropEmptySchema(database: Database): Promise<boolean> {
  const isEmpty = await database.value<boolean>(sql`
    select not exists (select from pg_catalog.pg_class c where c.relnamespace = n.oid)
      and not exists (select from pg_catalog.pg_proc p where p.pronamespace = n.oid)
      and not exists (select from pg_catalog.pg_type t where t.typnamespace = n.oid)
    from pg_catalog.pg_namespace n
    where n.nspname = ${REPLICA_SCHEMA}`);
  if (isEmpty !== true) return false;
  await database.run(raw(`drop schema if exists ${REPLICA_SCHEMA}`));
  return true;
}

/** The table has what the config declares. */
function isSame(known: Replica, shape: ReplicaShape): boolean {
  const has = new Set(known.columns);
  return (
    known.key.join("\n") === shape.key.join("\n") &&
    known.version === shape.version &&
    known.synced === shape.synced &&
    shape.columns.every((column) => has.has(column))
  );
}

/** Where it is missing. @throws RowmillError `database_refused` where it belongs to another role */
export async function makeSchema(tx: Queryable): Promise<void> {
  await tx.run(raw(SCHEMA_STATEMENT));
  await requireOwnSchema(tx);
}

/** A new table, or one that is there without a record: an uninstall keeps pushed rows, unless you say otherwise. */
async function makeTable(tx: Queryable, pipeline: string, shape: ReplicaShape): Promise<void> {
  await makeSchema(tx);
  await forgetRecord(tx, pipeline);
  const found = await lookAtTable(tx, pipeline);
  const made = found === null ? null : adopted(pipeline, found, shape);
  const statements =
    made === null
      ? creationStatements(pipeline, shape, await outsideRoles(tx))
      : [...made.statements, ...protectionStatements(pipeline, await outsideRoles(tx))];
  for (const statement of statements) await tx.run(raw(statement));
  const { columns, generation } = made ?? { columns: columnsOf(shape), generation: 1 };
  await tx.run(sql`
    insert into rowmill.replicas (pipeline, key, columns, version_field, generation, synced)
    values (${pipeline}, ${[...shape.key]}::text[], ${[...columns]}::text[], ${shape.version}, ${generation},
      ${shape.synced})`);
}

async function changeTable(tx: Queryable, known: Replica, shape: ReplicaShape): Promise<void> {
  const { pipeline } = known;
  const { key, columns, version, synced } = shape;
  if (known.key.join("\n") !== key.join("\n")) throw otherKey(pipeline, known.key, key);
  const added = columns.filter((column) => !known.columns.includes(column));
  const generation = known.generation + (added.length > 0 ? 1 : 0);
  for (const statement of additionStatements(pipeline, { added, generation })) await tx.run(raw(statement));
  if (known.version !== version) await beginVersions(tx, pipeline);
  if (known.synced !== synced) await beginOtherwise(tx, pipeline, shape);
  await tx.run(sql`
    update rowmill.replicas
    set columns = columns || ${added}::text[], version_field = ${version}, generation = ${generation},
      synced = ${synced}
    where pipeline = ${pipeline}`);
}

/** Rows are pushed that were read, or the other way round: a mark of before would hide what changed in the meantime. */
async function beginOtherwise(tx: Queryable, pipeline: string, shape: ReplicaShape): Promise<void> {
  await tx.run(sql`delete from rowmill.syncs where pipeline = ${pipeline}`);
  for (const statement of dropStatements(pipeline)) await tx.run(raw(statement));
  await tx.run(raw(commentStatement(pipeline, shape)));
}

/** Another field's values tell nothing of what is older. Not by an update, which would rewrite and report every row. */
async function beginVersions(tx: Queryable, pipeline: string): Promise<void> {
  await tx.run(raw(newVersionStatement(pipeline)));
  await tx.run(sql`delete from rowmill.gone_versions where pipeline = ${pipeline}`);
}

/** @throws RowmillError `database_refused` */
export async function requireOwnSchema(tx: Reader): Promise<void> {
  const owner = await tx.value<string>(sql`
    select pg_get_userbyid(n.nspowner)::text
    from pg_catalog.pg_namespace n
    join pg_catalog.pg_roles me on me.rolname = current_user
    where n.nspname = ${REPLICA_SCHEMA} and not ${isTrustedOwner(sql`n.nspowner`, "me")}`);
  if (owner === null) return;
  throw new RowmillError(
    "database_refused",
    `The schema ${REPLICA_SCHEMA} belongs to ${quoteIdentifier(owner)}, whose code would see every pushed row.`,
    { hints: [`If no one of yours made it, look at it, then drop it: drop schema ${REPLICA_SCHEMA} cascade;`] },
  );
}
