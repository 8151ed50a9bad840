/**
 * Databases in which Rowmill's schemas are there already, copied from one that was migrated once a run: the migrations themselves
 * are tested on empty databases, everything else need not wait for them.
 */
import { createHash } from "node:crypto";
import { cp, mkdtemp, readdir, readFile, rename, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inject } from "vitest";
import { openEmbedded, stopEmbedded } from "../../src/embedded/embedded.js";
import { exists, hasCode } from "../../src/embedded/file-errors.js";
import { openDatabase, sql } from "../../src/store/database.js";
import { createDatabase, type DatabaseKind, type TestDatabase } from "./databases.js";
import { embeddedDataDir } from "./embedded-template.js";
import { PREPARED_DATABASE, prepare } from "./prepare-server.js";

/** As `createDatabase`, with the schemas rowmill and rowmill_worker inside. */
export async function createPreparedDatabase(kind: DatabaseKind): Promise<TestDatabase> {
  const made = kind === "embedded" ? await copyEmbedded() : await createDatabase(kind, PREPARED_DATABASE);
  const database = openDatabase({ connectionString: made.url, ssl: false }, { poolMax: 1 });
  await database.run(
    sql`update rowmill.deployment set id = gen_random_uuid(), database_name = current_database()`,
  );
  await database.close();
  return made;
}

async function copyEmbedded(): Promise<TestDatabase> {
  const dataDir = await mkdtemp(join(inject("runFolder"), "embedded-"));
  await cp(await preparedTemplate(), join(dataDir, "postgres"), { recursive: true });
  const database = await openEmbedded({ dataDir });
  return {
    kind: "embedded",
    url: database.url,
    drop: async () => {
      await database.close();
      await stopEmbedded({ dataDir });
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}

/** Made by whoever is first, under a name that holds the migrations' hash; it appears by one rename. */
async function preparedTemplate(): Promise<string> {
  const template = join(tmpdir(), `rowmill-prepared-${process.getuid?.() ?? 0}-${await migrationsHash()}`);
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
