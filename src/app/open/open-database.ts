/** Opens the config's database: a server by its URL, or the embedded one next to the config file. */
import { dirname, join } from "node:path";
import { connectionFacts, connectionOptions, describeServer } from "../../config/database/connection.js";
import { hintOfCutDatabaseUrl } from "../../config/load/dotenv.js";
import type { Environment } from "../../config/load/environment.js";
import { exists } from "../../model/file-errors.js";
import { prefixed, RowmillError, withHint } from "../../model/errors.js";
import type { ProjectConfig } from "../../model/pipeline.js";
import { explainWith, openDatabase, sql, type Database, type DatabaseOptions } from "../../postgres/database.js";

/** Holds spool files and the embedded database, next to the config file. */
export function stateFolder(config: Pick<ProjectConfig, "file">): string {
  return join(dirname(config.file), ".rowmill");
}

export interface OpenedDatabase {
  readonly database: Database;
  /** For messages: where this is, without user and password. */
  readonly place: string;
  close(): Promise<void>;
}

export async function openProjectDatabase(
  config: ProjectConfig,
  environment: Environment,
  options: DatabaseOptions = {},
): Promise<OpenedDatabase> {
  const { database: address } = config;
  const opened =
    address.kind === "server" ? openServer(address, environment, options) : await openBeside(config, options);
  try {
    await opened.database.first(sql`select 1 as one`);
    return opened;
  } catch (error) {
    await opened.close();
    const explained = address.kind === "server" ? explainWith(error, connectionFacts(address, environment)) : error;
    const placed = withPlace(explained, opened.place);
    const hint = await hintOfCutUrl(config);
    if (hint !== null && address.kind === "server" && !address.url.includes("@")) throw cutOff(config.file, hint);
    throw hint !== null && placed instanceof RowmillError ? withHint(placed, hint) : placed;
  }
}

/** Of an address that comes from `.env`. */
function hintOfCutUrl({ database, file }: ProjectConfig): Promise<string | null> {
  const url = database.kind === "server" ? database.url : undefined;
  return hintOfCutDatabaseUrl(dirname(file), url);
}

/** Without a host, what is left of the password stands where the port is: nothing of it may be shown. */
function cutOff(file: string, hint: string): RowmillError {
  const message = `${file}: DATABASE_URL has no host after the user and password, because it is cut off.`;
  return new RowmillError("config_invalid", message, { hints: [hint] });
}

function openServer(
  address: Extract<ProjectConfig["database"], { kind: "server" }>,
  environment: Environment,
  options: DatabaseOptions,
): OpenedDatabase {
  const database = openDatabase(connectionOptions(address, environment), options);
  return { database, place: describeServer(address), close: () => database.close() };
}

async function openBeside(config: ProjectConfig, options: DatabaseOptions): Promise<OpenedDatabase> {
  // Only now, as its lock below: a server needs none of it.
  const { openEmbedded } = await import("../../embedded/embedded.js");
  const dataDir = embeddedFolder(config);
  const embedded = await openEmbedded({ dataDir });
  const database = openDatabase(embedded.connection, options);
  return {
    database,
    place: `the embedded database in ${dataDir}`,
    close: async () => {
      await database.close();
      await embedded.close();
    },
  };
}

export function embeddedFolder(config: Pick<ProjectConfig, "file">): string {
  return join(stateFolder(config), "database");
}

/** False for an embedded database that was never opened: opening it would create one. */
export async function hasDatabase(config: ProjectConfig): Promise<boolean> {
  return config.database.kind === "server" || exists(join(embeddedFolder(config), "postgres"));
}

/** The embedded database has one session: a second worker would only wait for the first. */
export async function lockForWork(config: ProjectConfig, command: string): Promise<() => void> {
  if (config.database.kind === "server") return () => undefined;
  const { acquireWorkerLock } = await import("../../embedded/embedded.js");
  const lock = await acquireWorkerLock({ dataDir: embeddedFolder(config), command });
  if ("release" in lock) return () => lock.release();
  const holder = lock.heldBy;
  const who =
    holder === null ? "another process" : `process ${holder.pid} (${holder.command}, since ${holder.startedAt})`;
  throw new RowmillError("embedded_in_use", `${who} already works on this embedded database, which takes one worker.`, {
    hints: [
      "All other commands still work: status, show, flush, sweep, pause, resume, approve.",
      "For several workers, use a PostgreSQL server: set DATABASE_URL.",
    ],
  });
}

function withPlace(error: unknown, place: string): unknown {
  if (!(error instanceof RowmillError)) return error;
  return prefixed(error, `Cannot use ${place}. `);
}
