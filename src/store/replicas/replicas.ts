/**
 * Tables in the schema `rowmill_data` for rows that come from elsewhere: ordinary watched tables, so that no stage
 * learns of other systems. A row counts only if it was written under the present generation, which every added column
 * begins: it would lack that column otherwise, and be asked half-read.
 */
import { RowmillError } from "../../model/errors.js";
import { REPLICA_SCHEMA, replicaTable } from "../../model/replica-name.js";
import {
  identifier,
  join,
  quoteIdentifier,
  raw,
  sql,
  type Database,
  type Queryable,
  type Reader,
} from "../../postgres/database.js";
import { isTrustedOwner } from "../ledger/ledger-owners.js";

/** Roles of hosted databases whose users come from the Internet. */
const OUTSIDE_ROLES = ["anon", "authenticated"];
/** The same class as in `rowmill.push_rows`. */
const PUSH_LOCK = 726_974;

export interface ReplicaShape {
  readonly key: readonly string[];
  readonly columns: readonly string[];
  /** The field by which an older push loses to a newer one; null: the last push wins. */
  readonly version: string | null;
}

export interface Replica {
  readonly pipeline: string;
  readonly key: readonly string[];
  /** Every column that was declared since the table was made. */
  readonly columns: readonly string[];
  readonly version: string | null;
  readonly generation: number;
}

/** Null: there is none, or no ledger. */
export async function replicaOf(client: Reader, pipeline: string): Promise<Replica | null> {
  const known = await client.value<boolean>(sql`select to_regclass('rowmill.replicas') is not null`);
  if (known !== true) return null;
  return client.first<Replica>(sql`
    select pipeline, key, columns, version_field as version, generation
    from rowmill.replicas
    where pipeline = ${pipeline}`);
}

export async function all(client: Reader): Promise<Replica[]> {
  return client.rows<Replica>(sql`
    select pipeline, key, columns, version_field as version, generation
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
    if (known !== null && isSame(known, shape)) return;
    if (known === null) await makeTable(tx, pipeline, shape);
    else await changeTable(tx, known, shape);
    await forgetDigests(tx, pipeline);
  });
}

/** No push of the pipeline runs until this transaction ends. */
export async function lockAlone(tx: Queryable, pipeline: string): Promise<void> {
  await tx.run(sql`select pg_advisory_xact_lock(${PUSH_LOCK}::int, hashtext(${pipeline}))`);
}

/** As a push does: `up` does not change the table until this transaction ends, and no digest is kept meanwhile. */
export async function lockShared(tx: Queryable, pipeline: string): Promise<void> {
  await tx.run(sql`select pg_advisory_xact_lock_shared(${PUSH_LOCK}::int, hashtext(${pipeline}))`);
}

/** What was pushed last no longer says what the table has. */
export async function forgetDigests(tx: Queryable, pipeline: string): Promise<void> {
  await tx.run(sql`delete from rowmill.push_digests where pipeline = ${pipeline}`);
}

/** The table has what the config declares. */
function isSame(known: Replica, shape: ReplicaShape): boolean {
  const has = new Set(known.columns);
  return (
    known.key.join("\n") === shape.key.join("\n") &&
    known.version === shape.version &&
    shape.columns.every((column) => has.has(column))
  );
}

async function makeTable(tx: Queryable, pipeline: string, { key, columns, version }: ReplicaShape): Promise<void> {
  await tx.run(raw(`create schema if not exists ${REPLICA_SCHEMA}`));
  await requireOwnSchema(tx);
  const table = replicaTable(pipeline);
  const all = [...new Set([...key, ...columns])];
  const definitions = [
    ...all.map((name) => `${quoteIdentifier(name)} text${key.includes(name) ? ' collate "C" not null' : ""}`),
    "rowmill_generation integer not null",
    "rowmill_version text",
    "rowmill_pushed_at timestamptz not null default now()",
    `primary key (${key.map(quoteIdentifier).join(", ")})`,
  ];
  const roles = await tx.column<string>(sql`
    select rolname from pg_catalog.pg_roles where rolname = any(${OUTSIDE_ROLES}::text[])`);
  const statements = [
    `create table ${table} (\n  ${definitions.join(",\n  ")}\n)`,
    `comment on table ${table} is 'Rows that were pushed to Rowmill: the only copy it has.'`,
    `alter table ${table} enable row level security`,
    ...["public", ...roles.map(quoteIdentifier)].map((role) => `revoke all on table ${table} from ${role}`),
  ];
  for (const statement of statements) await tx.run(raw(statement));
  await tx.run(sql`
    insert into rowmill.replicas (pipeline, key, columns, version_field)
    values (${pipeline}, ${[...key]}::text[], ${all}::text[], ${version})`);
}

async function changeTable(tx: Queryable, known: Replica, { key, columns, version }: ReplicaShape): Promise<void> {
  if (known.key.join("\n") !== key.join("\n"))
    throw new RowmillError(
      "refused",
      `The rows of ${known.pipeline} were pushed with the key ${known.key.join(", ")}. ` +
        `The config now says ${key.join(", ")}.`,
      { hints: ["Give the pipeline another name, and push the rows again. Or write the previous key."] },
    );
  const added = columns.filter((column) => !known.columns.includes(column));
  if (added.length > 0) {
    const additions = join(added.map((name) => sql`add column ${identifier(name)} text`));
    await tx.run(sql`alter table ${raw(replicaTable(known.pipeline))} ${additions}`);
  }
  await tx.run(sql`
    update rowmill.replicas
    set columns = columns || ${added}::text[], version_field = ${version},
      generation = generation + ${added.length > 0 ? 1 : 0}
    where pipeline = ${known.pipeline}`);
}

/** @throws RowmillError `database_refused` */
async function requireOwnSchema(tx: Queryable): Promise<void> {
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
