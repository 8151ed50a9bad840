/**
 * A connection to another PostgreSQL. Its URL alone says how to connect: PGSSLMODE and PGSSLROOTCERT are about the
 * server of the ledger. No message repeats the URL, which holds a password.
 */
import { connectionFactsFrom, connectionOptions, describeServer } from "../../config/database/connection.js";
import { ConnectorError } from "../../model/connector.js";
import { RowmillError } from "../../model/errors.js";
import {
  DatabaseError,
  explainWith,
  isLastingRefusal,
  openDatabase,
  type Database,
  type DatabaseOptions,
} from "../../postgres/database.js";

export interface Server {
  readonly database: Database;
  /** `host:port/database`. */
  readonly place: string;
  /** Any error, as a ConnectorError where it is one of the server or of its table. */
  explain(error: unknown): unknown;
}

/** Connects to nothing yet. `table`: for messages. @throws ConnectorError */
export function openServer(url: string, table: string, options: DatabaseOptions): Server {
  if (url === "") throw new ConnectorError("stop", `postgres(): no url for the table ${table}. Set its variable.`);
  const unusable = `postgres(): the url for the table ${table} is not a postgres:// URL.`;
  if (!/^postgres(?:ql)?:\/\//.test(url)) throw new ConnectorError("stop", unusable);
  try {
    const address = { kind: "server", url } as const;
    const env = { tls: { mode: null, rootCertFile: null } };
    const place = describeServer(address);
    const facts = connectionFactsFrom("the url of postgres()", address, env);
    const database = openDatabase(connectionOptions(address, env), options);
    return { database, place, explain: (error) => connectorError(explainWith(error, facts), place) };
  } catch (error) {
    if (error instanceof RowmillError) throw connectorError(error, `the table ${table}`);
    // The error may quote the URL.
    throw new ConnectorError("stop", unusable);
  }
}

function connectorError(error: unknown, place: string): unknown {
  if (error instanceof ConnectorError || !(error instanceof RowmillError) || error.code === "internal") return error;
  const [message = "", ...lines] = error.message.split("\n");
  return new ConnectorError(passes(error) ? "again" : "stop", `${place}: ${message}`, {
    cause: error,
    hints: error.hints,
    lines: lines.map((line) => line.slice(2)),
  });
}

function passes(error: RowmillError): boolean {
  if (!(error instanceof DatabaseError)) return error.code === "database_timeout";
  return !isLastingRefusal(error) || CHANGED_TABLE.has(error.sqlState ?? "");
}

/**
 * Two workers changed the table at once (42701, 42704, 42710), or it was dropped or changed after it was looked at
 * (42P01, 42703, 42P10): the next look refuses what lasts.
 */
const CHANGED_TABLE = new Set(["42701", "42704", "42710", "42P01", "42703", "42P10"]);
