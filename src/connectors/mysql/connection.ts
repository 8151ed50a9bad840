/**
 * A connection to MySQL or MariaDB. Every value arrives as the text that the server gives, and every statement has a
 * time-out. The session's settings are ours: strict, since a server that cuts values would cut answers, and in UTC.
 */
import { readFile } from "node:fs/promises";
import { isIP } from "node:net";
import type { Connection, ConnectionOptions, SslOptions } from "mysql2/promise";
import sql, { raw, type Sql } from "sql-template-tag";
import { ConnectorError } from "../../model/connector.js";
import { loadPeer } from "../load-peer.js";
import type { Address } from "./address.js";
import { connectorError } from "./failure.js";

const CONNECT_MS_MAX = 15_000;
/** On this side, the network included. The server gives up a little earlier. */
const QUERY_MS_MAX = 90_000;
const SERVER_MS_MAX = 85_000;
/** For a row that another transaction holds, and for a change of a table. */
const LOCK_SECONDS_MAX = 1;
const CLOSE_MS_MAX = 2_000;
const SQL_MODE = "STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION";

type Text = string | null;

export interface Session {
  readonly server: ServerFacts;
  rows<Row extends Readonly<Record<string, Text>>>(statement: Sql): Promise<Row[]>;
  first<Row extends Readonly<Record<string, Text>>>(statement: Sql): Promise<Row | null>;
  /** One after another, in one message. */
  run(...statements: readonly Sql[]): Promise<void>;
  /** Any error, as a ConnectorError where it is one of the server or of its table. */
  explain(error: unknown): unknown;
  close(): void;
}

export interface ServerFacts {
  readonly version: string;
  readonly isMariaDb: boolean;
  /** Null: it does not say who it is. */
  readonly id: string | null;
  /** Its log of changes cannot hold a transaction at READ COMMITTED. */
  readonly logsStatements: boolean;
}

/** @throws ConnectorError */
export async function openSession(address: Address, signal: AbortSignal): Promise<Session> {
  const stopped = () => new ConnectorError("again", `${address.place}: the call was stopped.`);
  const explain = (error: unknown) => (signal.aborted ? stopped() : connectorError(error, address.place));
  if (signal.aborted) throw stopped();
  const connecting = connect(address);
  const destroy = () => void connecting.then((connection) => connection.destroy()).catch(() => undefined);
  signal.addEventListener("abort", destroy, { once: true });
  try {
    const connection = await orAborted(connecting, signal);
    const close = () => {
      signal.removeEventListener("abort", destroy);
      endSoon(connection);
    };
    return { ...(await sessionOf(connection, signal)), explain, close };
  } catch (error) {
    signal.removeEventListener("abort", destroy);
    destroy();
    throw explain(error);
  }
}

/** The driver does not end what waits for an answer when its connection is destroyed. */
async function orAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const done = new AbortController();
  const aborted = new Promise<never>((_resolve, reject) => {
    signal.addEventListener("abort", () => reject(new Error("aborted")), { once: true, signal: done.signal });
  });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    done.abort();
  }
}

/** Says goodbye, but waits for no answer: after a time-out there may be one under way that no one reads. */
function endSoon(connection: Connection): void {
  connection.end().catch(() => connection.destroy());
  setTimeout(() => connection.destroy(), CLOSE_MS_MAX).unref();
}

/** @throws ConnectorError */
export async function withSession<T>(
  address: Address,
  signal: AbortSignal,
  work: (session: Session) => Promise<T>,
): Promise<T> {
  const session = await openSession(address, signal);
  try {
    return await work(session);
  } catch (error) {
    throw session.explain(error);
  } finally {
    session.close();
  }
}

async function connect(address: Address): Promise<Connection> {
  const { createConnection } = await loadPeer("mysql2", () => import("mysql2/promise"));
  const ssl = await sslOf(address);
  const { host, port, user, password } = address;
  const options: ConnectionOptions = {
    host,
    port,
    user,
    password,
    database: address.database,
    charset: "UTF8MB4_BIN",
    connectTimeout: CONNECT_MS_MAX,
    multipleStatements: true,
    typeCast: (field) => field.string("utf8"),
    ...(ssl === null ? {} : { ssl }),
  };
  const connection = await createConnection(options);
  // One that breaks between two statements makes the next one fail, whose error matters.
  connection.on("error", () => undefined);
  return connection;
}

async function sslOf({ host, sslMode, sslCa, place }: Address): Promise<SslOptions | null> {
  if (sslMode === "DISABLED") return null;
  // The driver would compare the certificate with the name localhost.
  if (sslMode === "VERIFY_IDENTITY" && isIP(host) !== 0)
    throw new ConnectorError("stop", `${place}: a certificate cannot be verified for an IP address.`, {
      hints: ["Write the server's name into the url, or add ?ssl-mode=VERIFY_CA"],
    });
  const verifies = sslMode !== "REQUIRED";
  const ca = sslCa === null ? null : await readCa(sslCa, place);
  return {
    rejectUnauthorized: verifies,
    verifyIdentity: sslMode === "VERIFY_IDENTITY",
    ...(ca === null ? {} : { ca }),
  };
}

async function readCa(file: string, place: string): Promise<string> {
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    throw new ConnectorError("stop", `${place}: the file of ssl-ca cannot be read: ${file}.`, { cause: error });
  }
}

async function sessionOf(connection: Connection, signal: AbortSignal): Promise<Omit<Session, "explain" | "close">> {
  const query = async (statement: Sql): Promise<unknown> => {
    const asked = connection.query({ sql: statement.sql, values: statement.values, timeout: QUERY_MS_MAX });
    const [found] = await orAborted(asked, signal);
    return found;
  };
  const rows = async <Row>(statement: Sql) => (await query(statement)) as Row[];
  const server = factsOf(await rows<Variable>(VARIABLES));
  for (const statement of settingsFor(server)) await query(statement);
  return {
    server,
    rows,
    first: async <Row>(statement: Sql) => (await rows<Row>(statement))[0] ?? null,
    run: async (...statements) => {
      await query(sqlOf(statements));
    },
  };
}

function sqlOf(statements: readonly Sql[]): Sql {
  return statements.reduce((all, one, index) => (index === 0 ? one : sql`${all};${one}`), raw(""));
}

/** The name and the value. */
const VARIABLES = sql`
  show variables
  where variable_name in ('version', 'server_uuid', 'server_uid', 'log_bin', 'binlog_format')`;

interface Variable {
  readonly Variable_name: string;
  readonly Value: string;
}

function factsOf(variables: readonly Variable[]): ServerFacts {
  const values = new Map(variables.map(({ Variable_name: name, Value: value }) => [name.toLowerCase(), value]));
  const version = values.get("version") ?? "";
  return {
    version,
    isMariaDb: /mariadb/i.test(version),
    id: values.get("server_uuid") ?? values.get("server_uid") ?? null,
    logsStatements: values.get("log_bin") === "ON" && values.get("binlog_format") === "STATEMENT",
  };
}

function settingsFor({ isMariaDb, logsStatements }: ServerFacts): Sql[] {
  return [
    sql`set time_zone = '+00:00', sql_mode = ${SQL_MODE},
      innodb_lock_wait_timeout = ${LOCK_SECONDS_MAX}, lock_wait_timeout = ${LOCK_SECONDS_MAX}`,
    isMariaDb ? sql`set max_statement_time = ${SERVER_MS_MAX / 1_000}` : sql`set max_execution_time = ${SERVER_MS_MAX}`,
    ...(logsStatements ? [] : [sql`set session transaction isolation level read committed`]),
  ];
}
