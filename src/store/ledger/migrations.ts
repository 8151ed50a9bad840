/**
 * Brings the schema `rowmill` to this version: all missing files of `migrations/`, forward only, in one transaction
 * under its own lock (a session lock would leak behind a pooler). A crash leaves the previous version. A newer schema
 * is fine, unless a migration excluded older versions (`understood.ts`).
 */
import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { RowmillError } from "../../model/errors.js";
import { isConflict, raw, sql, type Database, type Queryable } from "../../postgres/database.js";
import { requireOwnLedger } from "./ledger-owners.js";
import { requireUnderstood } from "./understood.js";

/** Arbitrary: keeps two migrations of one database apart. */
export const MIGRATION_LOCK = 7_269_736_101n;
const MIGRATION_TIMEOUT_MS = 600_000;
/** Changing a table may lose a deadlock against workers of the previous version. */
const MIGRATION_TRIES_MAX = 5;
const MIGRATION_PAUSE_MS = 500;
/** As `server_version_num` has it. */
export const POSTGRES_VERSION_MIN = 140_000;
const folder = new URL("../../../migrations/", import.meta.url);

export interface Migration {
  version: number;
  name: string;
  text: string;
  sha256: string;
}

/** Names of the migrations that were applied; none when the schema is current. */
export async function migrate(database: Database): Promise<string[]> {
  const migrations = await readMigrations();
  const look = async (tx: Queryable): Promise<boolean> => {
    await requireOwnLedger(tx);
    return isCurrent(tx, migrations);
  };
  if (await database.transaction(look, { readOnly: true })) return [];
  for (let tries = 1; ; tries++) {
    try {
      return await applyMissing(database, migrations);
    } catch (error) {
      if (tries === MIGRATION_TRIES_MAX || !isConflict(error)) throw error;
      await sleep(MIGRATION_PAUSE_MS * tries * (0.5 + Math.random()));
    }
  }
}

function applyMissing(database: Database, migrations: readonly Migration[]): Promise<string[]> {
  return database.transaction(
    async (tx) => {
      await tx.run(sql`select pg_advisory_xact_lock(${MIGRATION_LOCK})`);
      await requireVersion(tx);
      await prepareSchema(tx);
      // Before anything is written: `if not exists` may have found another role's schema.
      await requireOwnLedger(tx);
      const applied = await appliedVersions(tx);
      if (applied.size > 0) await requireUnderstood(tx);
      const missing = migrations.filter((migration) => !applied.has(migration.version));
      for (const migration of missing) await apply(tx, migration);
      await recordDeployment(tx);
      return missing.map((migration) => migration.name);
    },
    { statementTimeoutMs: MIGRATION_TIMEOUT_MS },
  );
}

/** Those that `migrate` would run. Only reads. */
export async function pendingMigrations(client: Queryable): Promise<Migration[]> {
  const migrations = await readMigrations();
  const table = await client.first(sql`select 1 as one where to_regclass('rowmill.migrations') is not null`);
  const applied = table === null ? new Set<number>() : await appliedVersions(client);
  if (applied.size > 0) await requireUnderstood(client);
  return migrations.filter((migration) => !applied.has(migration.version));
}

async function readMigrations(): Promise<Migration[]> {
  const names = (await readdir(folder)).filter((name) => /^\d{4}_.*\.sql$/.test(name)).sort();
  return Promise.all(
    names.map(async (name) => {
      const text = await readFile(new URL(name, folder), "utf8");
      return {
        version: Number(name.slice(0, 4)),
        name,
        text,
        sha256: createHash("sha256").update(text).digest("hex"),
      };
    }),
  );
}

async function isCurrent(database: Queryable, migrations: readonly Migration[]): Promise<boolean> {
  const exists = await database.first(sql`
    select 1 as one
    where to_regclass('rowmill.migrations') is not null and to_regclass('rowmill.deployment') is not null`);
  if (!exists) return false;
  // An interrupted script of `up --print-sql` leaves none.
  if ((await database.first(sql`select 1 as one from rowmill.deployment`)) === null) return false;
  const applied = await appliedVersions(database);
  await requireUnderstood(database);
  return migrations.every((migration) => applied.has(migration.version));
}

async function requireVersion(tx: Queryable): Promise<void> {
  const version = await tx.number(sql`select current_setting('server_version_num')::int`);
  if (version >= POSTGRES_VERSION_MIN) return;
  throw new RowmillError("database_refused", `This PostgreSQL is version ${version}; Rowmill needs 14 or later.`);
}

/** Before the first migration; repeatable. */
export const SCHEMA_STATEMENTS: readonly string[] = [
  "create schema if not exists rowmill",
  "revoke all on schema rowmill from public",
  `create table if not exists rowmill.migrations (
    version integer primary key, name text not null, sha256 text not null,
    applied_at timestamptz not null default now())`,
];

async function prepareSchema(tx: Queryable): Promise<void> {
  for (const statement of SCHEMA_STATEMENTS) await tx.run(raw(statement));
}

async function appliedVersions(client: Queryable): Promise<Set<number>> {
  return new Set(await client.column<number>(sql`select version from rowmill.migrations`));
}

async function apply(tx: Queryable, migration: Migration): Promise<void> {
  await tx.run(raw(migration.text));
  await tx.run(sql`
    insert into rowmill.migrations (version, name, sha256)
    values (${migration.version}, ${migration.name}, ${migration.sha256})`);
}

/** After the last migration; repeatable. The first worker records which database it is. */
export const DEPLOYMENT_STATEMENT = `insert into rowmill.deployment (database_name) values (current_database())
    on conflict do nothing`;

async function recordDeployment(tx: Queryable): Promise<void> {
  await tx.run(raw(DEPLOYMENT_STATEMENT));
}
