/**
 * Databases in which Rowmill's schemas are there already, copied from one that was migrated once a run: the
 * migrations themselves are tested on empty databases, everything else need not wait for them.
 */
import { createHash } from "node:crypto";
import { cp, mkdtemp, readdir, readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { inject } from "vitest";
import { stopEmbedded, type EmbeddedDatabase } from "../../src/embedded/embedded.js";
import { openEmbedded } from "./built.js";
import { exists, hasCode } from "../../src/model/file-errors.js";
import { openDatabase, raw, sql, type Database } from "../../src/postgres/database.js";
import { createDatabase, type DatabaseKind, type TestDatabase } from "./databases.js";
import { clusterTemplate, embeddedDataDir } from "./embedded-template.js";
import { EMBEDDED_PREFIX } from "./run-folder.js";
import { PREPARED_DATABASE, prepare } from "./prepare-server.js";

/** As `createDatabase`, with the schemas rowmill and rowmill_worker inside. */
export async function createPreparedDatabase(kind: DatabaseKind): Promise<TestDatabase> {
  const made = kind === "embedded" ? await shareEmbedded() : await createDatabase(kind, PREPARED_DATABASE);
  const database = openDatabase({ connectionString: made.url, ssl: false }, { poolMax: 1 });
  await asUnopened(database);
  await database.close();
  return made;
}

/**
 * Makes a ledger one that no worker has opened yet: the embedded one may have served a test that ended with it
 * suspected to be a copy.
 */
export async function asUnopened(database: Database): Promise<void> {
  await database.run(
    sql`update rowmill.deployment set id = gen_random_uuid(), database_name = current_database(), created_at = now(),
      system_identifier = null, database_oid = null, folder = null, folder_inode = null, suspicion = null, suspected_at = null`,
  );
}

export interface SharedEmbedded extends TestDatabase {
  readonly dataDir: string;
  readonly connection: EmbeddedDatabase["connection"];
}

/**
 * One server a worker of vitest, emptied after each test: starting PGlite takes seconds, emptying it a moment. The
 * run's end ends it.
 */
let embedded: Promise<SharedEmbedded> | null = null;

export function shareEmbedded(): Promise<SharedEmbedded> {
  return (embedded ??= startEmbedded());
}

async function startEmbedded(): Promise<SharedEmbedded> {
  const dataDir = await preparedDataDir();
  const { url, connection } = await openEmbedded({ dataDir });
  return { kind: "embedded", dataDir, url, connection, drop: () => emptied(url) };
}

/** A new folder in the folder of the run, for `openEmbedded`, with a cluster that has the schemas. */
async function preparedDataDir(): Promise<string> {
  const dataDir = await mkdtemp(join(inject("runFolder"), EMBEDDED_PREFIX));
  await cp(await preparedTemplate(), join(dataDir, "postgres"), { recursive: true });
  return dataDir;
}

/** As it was copied: no user's schema, no rows, no trigger functions, no roles that a test made. */
async function emptied(url: string): Promise<void> {
  const database = openDatabase({ connectionString: url, ssl: false }, { poolMax: 1 });
  await database.run(
    raw(`do $$ declare name text; begin
    -- No foreign keys while everything goes.
    perform set_config('session_replication_role', 'replica', true);
    for name in select nspname from pg_namespace where nspname !~ '^(pg_|information_schema|rowmill(_worker)?$)' loop
      execute format('drop schema %I cascade', name);
    end loop;
    create schema public;
    grant usage on schema public to public;
    for name in select p.oid::regprocedure::text from pg_proc p where p.pronamespace = 'rowmill'::regnamespace
      and p.proname like 'arrive%' loop
      execute 'drop function ' || name || ' cascade';
    end loop;
    for name in select c.oid::regclass::text from pg_class c where c.relkind = 'r' and
      (c.relnamespace = 'rowmill'::regnamespace and c.relname not in ('migrations', 'deployment')
       or c.relnamespace = 'rowmill_worker'::regnamespace and c.relname like '\\_private%') loop
      execute 'delete from ' || name;
    end loop;
    for name in select c.oid::regclass::text from pg_class c where c.relkind = 'S'
      and c.relnamespace in ('rowmill'::regnamespace, 'rowmill_worker'::regnamespace) loop
      perform setval(name, 1, false);
    end loop;
  end $$`),
  );
  await database.close();
}

/** Beside the one without schemas, under a name that holds the migrations' hash; it appears by one rename. */
async function preparedTemplate(): Promise<string> {
  const template = `${await clusterTemplate()}-${await migrationsHash()}`;
  if (await exists(template)) return template;
  const dataDir = await embeddedDataDir();
  const database = await openEmbedded({ dataDir });
  await prepare(database.url);
  await database.close();
  await stopEmbedded({ dataDir });
  try {
    await cp(join(dataDir, "postgres"), `${template}.${process.pid}`, { recursive: true });
    await rename(`${template}.${process.pid}`, template);
  } catch (error) {
    if (!hasCode(error, "ENOTEMPTY", "EEXIST")) throw error;
  } finally {
    await rm(`${template}.${process.pid}`, { recursive: true, force: true });
    await rm(dataDir, { recursive: true, force: true });
  }
  return template;
}

async function migrationsHash(): Promise<string> {
  const folder = new URL("../../migrations/", import.meta.url);
  const hash = createHash("sha256");
  for (const name of (await readdir(folder)).sort()) hash.update(await readFile(new URL(name, folder)));
  return hash.digest("hex").slice(0, 16);
}
