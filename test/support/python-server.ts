/** A PostgreSQL whose functions may speak HTTP, in plpython3u, where Debian's packages are installed. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { unprivilegedUser } from "./postgres-binaries.js";
import { startServerOf, type PostgresServer } from "./postgres-servers.js";

const programs = "/usr/lib/postgresql/15/bin";
const python = "/usr/share/postgresql/15/extension/plpython3u.control";

/** Null: it can be started here. */
export const pythonServerMissingBecause: string | null = [join(programs, "initdb"), python].every(existsSync)
  ? null
  : "PostgreSQL 15 with plpython3u is not installed; on Debian 12: apt-get install postgresql-15 postgresql-plpython3-15";

export async function startPythonServer(): Promise<Pick<PostgresServer, "url" | "stop">> {
  const binaries = { initdb: join(programs, "initdb"), pgCtl: join(programs, "pg_ctl") };
  return startServerOf(binaries, await unprivilegedUser());
}
