/** A SQLite file of a test, which the test itself reads and writes as another program would. */
import { mkdtemp, rename, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createClient, type Client, type InValue } from "@libsql/client";
import { ConnectorError } from "../../src/model/connector.js";

export interface SqliteFile {
  readonly path: string;
  readonly url: string;
  readonly folder: string;
  readonly client: Client;
  run(text: string, values?: readonly InValue[]): Promise<void>;
  rows<Row extends object>(text: string): Promise<Row[]>;
  /** Holds the file, so that no one else can read or write it. */
  lock(): Promise<void>;
  unlock(): Promise<void>;
  moveAway(): Promise<void>;
  moveBack(): Promise<void>;
  close(): Promise<void>;
}

/** `setUp`: statements. */
export async function openSqliteFile(setUp = ""): Promise<SqliteFile> {
  const folder = await mkdtemp(join(tmpdir(), "rowmill-sqlite-"));
  const path = join(folder, "films.db");
  const url = `file:${path}`;
  const client = createClient({ url, timeout: 15_000 });
  if (setUp !== "") await client.executeMultiple(setUp);
  return {
    path,
    url,
    folder,
    client,
    run: async (text, values = []) => void (await client.execute({ sql: text, args: [...values] })),
    rows: async <Row extends object>(text: string) =>
      (await client.execute(text)).rows.map((row) => ({ ...row })) as Row[],
    // In WAL mode, a reader is kept out only so; it waits for Rowmill's own processes that are still there.
    lock: () => client.executeMultiple("pragma locking_mode = exclusive; begin exclusive; commit"),
    unlock: () => client.executeMultiple("pragma locking_mode = normal; select * from sqlite_master"),
    moveAway: () => rename(path, `${path}.away`),
    moveBack: () => rename(`${path}.away`, path),
    close: async () => {
      client.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

export async function failureOf(
  work: Promise<unknown>,
): Promise<{ kind: string; message: string; hints: readonly string[] }> {
  try {
    await work;
  } catch (error) {
    if (error instanceof ConnectorError) return error;
    throw error;
  }
  return { kind: "none", message: "", hints: [] };
}
