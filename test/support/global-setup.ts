/**
 * Starts the PostgreSQL servers once for a run and tells the test files where they are. A version that this
 * machine cannot run is named with its reason, and its tests are skipped under that reason.
 */
import type { TestProject } from "vitest/node";
import type { PostgresVersion } from "./postgres-binaries.js";
import { buildCli } from "./build.js";
import { prepareServer } from "./prepare-server.js";
import { makeRunFolder } from "./run-folder.js";
import { startPostgresServer, type PostgresServer } from "./postgres-servers.js";

const REASON_CHARS_MAX = 300;

export interface PostgresAvailability {
  readonly url: string | null;
  /** Why there is no server; null when there is one. */
  readonly missingBecause: string | null;
}

declare module "vitest" {
  export interface ProvidedContext {
    postgresServers: Record<PostgresVersion, PostgresAvailability>;
    /** A folder that is removed at the end of the run, whatever ends it. */
    runFolder: string;
  }
}

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  await buildCli();
  const folder = await makeRunFolder();
  project.provide("runFolder", folder.path);
  const started: PostgresServer[] = [];
  const [pg14, pg18] = await Promise.all([start("14", started), start("18", started)]);
  project.provide("postgresServers", { "14": pg14, "18": pg18 });
  return async () => {
    await Promise.all([folder.remove(), ...started.map((server) => server.stop())]);
  };
}

async function start(version: PostgresVersion, started: PostgresServer[]): Promise<PostgresAvailability> {
  try {
    const server = await startPostgresServer(version);
    started.push(server);
    await prepareServer(server.url);
    return { url: server.url, missingBecause: null };
  } catch (error) {
    const reason = inOneLine(error instanceof Error ? error.message : String(error));
    console.warn(`Tests on PostgreSQL ${version} are skipped: ${reason}`);
    return { url: null, missingBecause: reason };
  }
}

/** A group's title holds it, where scripts/skip-reporter.mjs looks for it. */
function inOneLine(reason: string): string {
  return reason.replaceAll(/\s+/g, " ").trim().slice(0, REASON_CHARS_MAX);
}
