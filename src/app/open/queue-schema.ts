/** The schema of graphile-worker, read without loading the package, which takes a tenth of a second. */
import { readdir } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { commonjs } from "../../model/commonjs.js";
import { explainDatabaseError, sql, type Database, type Reader } from "../../postgres/database.js";
import { pinnedPool } from "../../postgres/pinned-pool.js";

export const QUEUE_SCHEMA = "rowmill_worker";

/** The files of graphile-worker in their order, and the number of the last one that ran here; null: none did. */
export async function queueFiles(
  client: Reader,
): Promise<{ files: { number: number; path: string }[]; last: number | null }> {
  const folder = join(dirname(createRequire(import.meta.url).resolve("graphile-worker/package.json")), "sql");
  const names = (await readdir(folder)).filter((name) => /^\d{6}\.sql$/.test(name)).sort();
  const files = names.map((name) => ({ number: Number.parseInt(name, 10), path: join(folder, name) }));
  const made = await client.first(sql`select 1 as one where to_regclass(${`${QUEUE_SCHEMA}.migrations`}) is not null`);
  if (made === null) return { files, last: null };
  const row = await client.first<{ id: number | null }>(sql`select max(id) as id from rowmill_worker.migrations`);
  return { files, last: row?.id ?? null };
}

/** Repeatable, and safe from several processes at once. */
export async function migrateQueue(database: Database): Promise<void> {
  const { files, last } = await database.transaction(queueFiles, { readOnly: true });
  if (last !== null && last === files.at(-1)?.number) return;
  const { runMigrations } = commonjs("graphile-worker") as typeof import("graphile-worker");
  await runMigrations({ pgPool: pinnedPool(database.pool), schema: QUEUE_SCHEMA }).catch((error: unknown) => {
    throw explainDatabaseError(error);
  });
}
