/**
 * Erases what the ledger knows of a file, in a database that other pipelines share. What was spent stays on record. One
 * transaction a chunk: after a crash the same command erases the rest.
 */
import { raw, sql, type Database } from "../../postgres/database.js";
import { answersOf } from "./run-folder.js";
import * as pipelines from "../../store/pipelines/pipelines.js";
import * as replicas from "../../store/replicas/replicas.js";
import { uninstall } from "../open/bind-pipeline.js";
import { forgetRows } from "../story/forget-rows.js";

const KEYS_MAX = 1_000;

export async function forgetRun(database: Database, name: string, signal: AbortSignal): Promise<void> {
  const row = await pipelines.byName(database, name);
  if (row === null) return;
  await uninstall(database, [row.id]);
  const replica = await replicas.replicaOf(database, name);
  for (;;) {
    const keys = await database.column<string>(sql`
      select key
      from rowmill.requests
      where pipeline_id = ${row.id} and not forgotten
      limit ${KEYS_MAX}`);
    if (keys.length === 0) break;
    const wanted = { name, pipelineId: row.id, config: undefined, replica, table: null, keys };
    await forgetRows(database, wanted, { target: null, signal });
  }
  await replicas.dropTable(database, name);
  await database.run(raw(`drop table if exists ${answersOf(name)}`));
}
