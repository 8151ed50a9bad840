/**
 * Puts Rowmill's schemas into a database once a run; tests take copies of it. Imports nothing of vitest: its set-up
 * runs this.
 */
import pg from "pg";
import { prepareSchemas } from "../../src/app/open/open-project.js";
import { openDatabase } from "../../src/postgres/database.js";

export const PREPARED_DATABASE = "rowmill_prepared";

/** The database on this server that the others are copies of. */
export async function prepareServer(serverUrl: string): Promise<void> {
  const client = new pg.Client({ connectionString: serverUrl });
  await client.connect();
  await client.query(`create database ${PREPARED_DATABASE}`);
  await client.end();
  const url = new URL(serverUrl);
  url.pathname = `/${PREPARED_DATABASE}`;
  await prepare(url.href);
}

export async function prepare(url: string): Promise<void> {
  const database = openDatabase({ connectionString: url, ssl: false });
  await prepareSchemas(database);
  await database.close();
}
