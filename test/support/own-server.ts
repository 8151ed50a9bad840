/** A PostgreSQL 18 that one test may maltreat: restarted as after a crash, while it works. */
import pg from "pg";
import { findBinaries, runAs, unprivilegedUser } from "./postgres-binaries.js";
import { startPostgresServer } from "./postgres-servers.js";

export interface OwnServer {
  readonly url: string;
  /** As a power cut and what follows it: no connection is ended in peace, and the log is replayed. Ready when it resolves. */
  crash(): Promise<void>;
  stop(): Promise<void>;
}

export async function startOwnServer(): Promise<OwnServer> {
  const user = await unprivilegedUser();
  const binaries = await findBinaries("18", user);
  // What is committed must be in the kernel's hands, or a crash of the server takes it.
  const server = await startPostgresServer("18", { settings: { synchronous_commit: "on" } });
  const folder = await dataFolder(server.url);
  const restart = ["restart", "-D", folder, "-m", "immediate", "-w", "-t", "30", "-l", `${folder}/../log`];
  return {
    url: server.url,
    crash: () => runAs(user, binaries.pgCtl, restart),
    stop: () => server.stop(),
  };
}

async function dataFolder(url: string): Promise<string> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    const { rows } = await client.query<{ data_directory: string }>("show data_directory");
    return rows[0]?.data_directory ?? "";
  } finally {
    await client.end();
  }
}
