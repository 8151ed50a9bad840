/**
 * Every statement of Rowmill passes here: time-outs, pinned settings, errors in one shape. SQL is stateless (no named
 * statements, session settings or session locks), so it also runs behind a transaction pooler and on the embedded
 * database. Every statement runs in a transaction with a pinned `search_path`: what another role puts into a schema
 * of ours is never called with our rights. `underRolePath` marks the exceptions. A crash rolls back the open
 * transaction, nothing else.
 */
import type pg from "pg";
import sql, { join, raw, type Sql } from "sql-template-tag";
import { commonjs } from "../model/commonjs.js";
import { explainFailure, passesByItself, type ConnectionFacts, type DatabaseFailure } from "./failure.js";
import { RowmillError } from "../model/errors.js";
import {
  asItStands,
  begin,
  beginTogether,
  inOneMessage,
  messageText,
  sentAhead,
  underRolePath,
  WRITING_LOCK,
  type Line,
  type Queryable,
  type Reader,
  type Transaction,
  type TransactionOptions,
} from "./transaction.js";

export {
  asItStands,
  inOneMessage,
  join,
  raw,
  sentAhead,
  sql,
  underRolePath,
  WRITING_LOCK,
  type Queryable,
  type Reader,
  type Sql,
};

const { Client, Pool, Query } = commonjs("pg") as typeof pg;
const CONNECT_TIMEOUT_MS = 15_000;
/** On the client's side, lock waits and network included. */
const QUERY_TIMEOUT_MS = 90_000;
const POOL_MAX_DEFAULT = 10;

export interface Database extends Queryable {
  readonly pool: pg.Pool;
  /** A throw rolls it back. Never open a second one inside: the embedded database has a single session. */
  transaction<T>(work: (tx: Queryable) => Promise<T>, options?: TransactionOptions): Promise<T>;
  /** Repeatable. */
  close(): Promise<void>;
}

export interface DatabaseOptions {
  readonly poolMax?: number;
  /** For a new connection, login included. */
  readonly connectTimeoutMs?: number;
  /** For a statement on the client's side, lock waits and network included. */
  readonly queryTimeoutMs?: number;
  /** When it aborts, connections end at once, whatever they wait for. */
  readonly signal?: AbortSignal;
}

export function openDatabase(config: pg.ClientConfig, options: DatabaseOptions = {}): Database {
  const pool = new Pool({
    ...config,
    max: options.poolMax ?? POOL_MAX_DEFAULT,
    connectionTimeoutMillis: options.connectTimeoutMs ?? CONNECT_TIMEOUT_MS,
    query_timeout: options.queryTimeoutMs ?? QUERY_TIMEOUT_MS,
    application_name: "rowmill",
    allowExitOnIdle: true,
    pipeline: true,
  });
  // A connection that breaks between two statements is replaced at the next use, whose error matters.
  pool.on("error", () => undefined);
  pool.on("connect", (client) => client.on("error", () => undefined));
  if (options.signal !== undefined) endAtAbort(pool, options.signal);
  const noteFailure = dropUnfit(pool);
  let closing: Promise<void> | null = null;
  const parts = { pool, noteFailure };
  const alone = async <T>(statement: Sql, work: (tx: Queryable) => Promise<T>): Promise<T> => {
    const message = messageText(statement);
    return runTransaction(parts, work, message === null ? {} : { message });
  };
  return {
    pool,
    rows: (statement) => alone(statement, (tx) => tx.rows(statement)),
    first: (statement) => alone(statement, (tx) => tx.first(statement)),
    column: (statement) => alone(statement, (tx) => tx.column(statement)),
    value: (statement) => alone(statement, (tx) => tx.value(statement)),
    number: (statement) => alone(statement, (tx) => tx.number(statement)),
    run: (statement) => alone(statement, (tx) => tx.run(statement)),
    transaction: (work, transactionOptions = {}) => runTransaction(parts, work, transactionOptions),
    close: () => (closing ??= pool.end()),
  };
}

function endAtAbort(pool: pg.Pool, signal: AbortSignal): void {
  pool.on("connect", (client) => {
    // The driver would wait for the statements under way.
    const end = () => void client.connection.stream.destroy();
    if (signal.aborted) end();
    signal.addEventListener("abort", end, { once: true });
    client.once("end", () => signal.removeEventListener("abort", end));
  });
}

/** Gets the error of every failed statement. */
type NoteFailure = (error: Error) => void;

/**
 * Closes returned connections on which the server still owes an answer; and once a write was refused (25006), all that
 * were open then, because they may lead to a replica now. graphile-worker shares the pool and returns whatever it has.
 */
function dropUnfit(pool: pg.Pool): NoteFailure {
  let present = 0;
  const opened = new WeakMap<pg.PoolClient, number>();
  pool.on("connect", (client) => opened.set(client, present));
  pool.on("release", (_error, client) => {
    const owed = "readyForQuery" in client && client.readyForQuery === false;
    if ((owed || opened.get(client) !== present) && client instanceof Client) void client.end();
  });
  return (error) => {
    if (isWriteRefused(error)) present++;
  };
}

interface RunOptions extends TransactionOptions {
  /** The whole transaction as one message. */
  readonly message?: string;
}

function lineOver(client: pg.PoolClient, noteFailure: NoteFailure): Line {
  const { stream } = client.connection;
  const noted = async <Result>(answer: Promise<Result>): Promise<Result> => {
    try {
      return await answer;
    } catch (error) {
      const explained = explainDatabaseError(error);
      noteFailure(explained);
      throw explained;
    }
  };
  return {
    ask: <Row extends object>(query: pg.QueryConfig) => noted(client.query<Row>(query)),
    askAfter: <Row extends object>(texts: readonly string[], query: pg.QueryConfig) =>
      noted(queryAfter<Row>(client, texts, query)),
    together: (work) => {
      stream.cork();
      try {
        return work();
      } finally {
        stream.uncork();
      }
    },
    // An error comes before the status that it left: the answer to an empty message comes after both.
    isInTransaction: () =>
      client.query("").then(
        () => client.getTransactionStatus() !== "I",
        () => false,
      ),
  };
}

/** All up to one Sync: after an error the server skips the rest. */
function queryAfter<Row extends object>(
  client: pg.PoolClient,
  texts: readonly string[],
  query: pg.QueryConfig,
): Promise<pg.QueryResult<Row>> {
  return new Promise((resolve, reject) => {
    const asked = new Query<Row>(query, (error, result) => {
      if (error) reject(error);
      else resolve(result);
    });
    const submit = asked.submit.bind(asked);
    asked.submit = (connection) => {
      for (const text of texts) {
        connection.parse({ name: "", text, types: [] }, true);
        connection.bind({}, true);
        connection.describe({ type: "P", name: "" }, true);
        connection.execute({}, true);
      }
      return submit(connection);
    };
    client.query(asked);
  });
}

async function runTransaction<T>(
  { pool, noteFailure }: { pool: pg.Pool; noteFailure: NoteFailure },
  work: (tx: Queryable) => Promise<T>,
  options: RunOptions,
): Promise<T> {
  const client = await connect(pool);
  const line = lineOver(client, noteFailure);
  const { message } = options;
  const tx = message === undefined ? begin(line, options) : beginTogether(line, message);
  let broken: Error | undefined;
  try {
    const result = await work(tx);
    if (options.trial === true) broken = await rollBack(tx);
    else await tx.commit();
    return result;
  } catch (error) {
    // After a loss nothing answers: a rollback would only wait as long again.
    broken = isConnectionLoss(error) ? asError(error) : await rollBack(tx);
    throw error;
  } finally {
    client.release(broken);
  }
}

/** Undefined when the connection can be used again; its error otherwise, so that the pool drops it. */
async function rollBack(tx: Transaction): Promise<Error | undefined> {
  try {
    await tx.rollBack();
    return undefined;
  } catch (error) {
    return asError(error);
  }
}

async function connect(pool: pg.Pool): Promise<pg.PoolClient> {
  try {
    return await pool.connect();
  } catch (error) {
    throw explainDatabaseError(error);
  }
}

/** Always quoted. Never for values. */
export function identifier(name: string): Sql {
  return raw(quoteIdentifier(name));
}

export function quoteIdentifier(name: string): string {
  if (name.includes("\0"))
    throw new RowmillError("config_invalid", "A name in the database cannot hold a NUL character.");
  return `"${name.replaceAll('"', '""')}"`;
}

/** For the few places that take no parameters, such as bodies of functions. */
export function quoteLiteral(text: string): string {
  if (text.includes("\0"))
    throw new RowmillError("config_invalid", "Text in the database cannot hold a NUL character.");
  const body = text.replaceAll("'", "''");
  return text.includes("\\") ? `E'${body.replaceAll("\\", "\\\\")}'` : `'${body}'`;
}

/** An error of the database with its SQLSTATE, so that callers can tell data from circumstances. */
export class DatabaseError extends RowmillError {
  override readonly name = "DatabaseError";
  /** Five characters, or null when the server never answered. */
  readonly sqlState: string | null;
  /** The same may succeed later, with nothing changed. */
  readonly passes: boolean;

  constructor(
    code: "database_unreachable" | "database_refused" | "database_timeout",
    message: string,
    options: { sqlState: string | null; passes: boolean; cause: unknown; hints?: readonly string[] },
  ) {
    super(code, message, { cause: options.cause, ...(options.hints === undefined ? {} : { hints: options.hints }) });
    this.sqlState = options.sqlState;
    this.passes = options.passes;
  }
}

/** Adds hints that fit this connection; any other error stays as it is. */
export function explainWith(error: unknown, facts: ConnectionFacts): unknown {
  return error instanceof DatabaseError ? describeFailure(asError(error.cause), facts) : error;
}

/** Gives an error of `pg` the shape of this module. */
export function explainDatabaseError(error: unknown): Error {
  return error instanceof RowmillError ? error : describeFailure(asError(error), null);
}

function describeFailure(cause: Error, facts: ConnectionFacts | null): DatabaseError {
  const failure = failureOf(cause);
  const { sqlState, message } = failure;
  const { lead, hints } = explainFailure(failure, facts);
  const passes = passesByItself(failure);
  const describe = (code: ConstructorParameters<typeof DatabaseError>[0], otherwise: string) =>
    new DatabaseError(code, `${lead ?? otherwise}: ${message}.`, { sqlState, passes, cause, hints });
  if (sqlState === null) {
    const timedOut = message === "Query read timeout";
    return describe(timedOut ? "database_timeout" : "database_unreachable", "The database did not answer");
  }
  if (sqlState === "57014" || sqlState === "55P03") return describe("database_timeout", "The database gave up");
  return describe(isLossState(sqlState) ? "database_unreachable" : "database_refused", "The database refused");
}

/** The driver's words to a loop or queue that has not noticed yet that its process ends. */
const POOL_ENDED = "Cannot use a pool after calling end on the pool";

export function plainMessage(message: string): string {
  return message.replaceAll(POOL_ENDED, "this process is ending, and its connections are closed");
}

/** Node tries each address of a host and wraps all failures in one error with an empty message. */
function failureOf(error: Error): DatabaseFailure {
  const [first]: unknown[] = error instanceof AggregateError ? error.errors : [];
  const telling = error.message === "" && first instanceof Error ? first : error;
  const errorCode = "code" in telling && typeof telling.code === "string" ? telling.code : null;
  return { sqlState: sqlStateOf(error), errorCode, message: plainMessage(telling.message).replace(/[.]$/, "") };
}

function sqlStateOf(error: unknown): string | null {
  if (!(error instanceof Error) || !("code" in error) || typeof error.code !== "string") return null;
  return /^[0-9A-Z]{5}$/.test(error.code) && "severity" in error ? error.code : null;
}

function isLossState(sqlState: string): boolean {
  return sqlState.startsWith("08") || sqlState.startsWith("57P") || sqlState.startsWith("53");
}

function isConnectionLoss(error: unknown): boolean {
  return (
    error instanceof DatabaseError &&
    (error.code === "database_unreachable" || (error.code === "database_timeout" && error.sqlState === null))
  );
}

function isWriteRefused(error: unknown): boolean {
  return error instanceof DatabaseError && error.sqlState === "25006";
}

/**
 * No pipeline's fault: the server is away, does not answer, has no room, or takes no writes (25006, as during a
 * failover). Whether a statement without an answer took effect is unknown.
 */
export function isDatabaseWide(error: unknown): boolean {
  return isConnectionLoss(error) || isWriteRefused(error);
}

/** Too many columns or arguments: the statement's fault, not its rows'. */
export const STATEMENTS_OWN = /^540(11|23)/;

/** Caused by the data of single rows (22: bad values, 23: constraints, 54: too large): bisect, never retry. */
export function isDataError(error: unknown): boolean {
  if (!(error instanceof DatabaseError) || error.sqlState === null) return false;
  return /^(22|23|54)/.test(error.sqlState) && !STATEMENTS_OWN.test(error.sqlState);
}

/**
 * May resolve without a fix: connections (08), read-only times (25), logins (28, 3D), conflicts (40), resources (53),
 * locks (55), cancelled and stopped (57), the server's files (58, F0), snapshots (72), foreign data (HV), internal
 * (XX).
 */
const PASSING = /^(08|25|28|3D|40|53|55|57|58|72|F0|HV|XX)/;

/**
 * Waiting does not help: bad values (22), constraints (23), a missing table, column or right (42), an error that a
 * user's function raises (P0). The pipeline pauses until someone acts.
 */
export function isLastingRefusal(error: unknown): error is DatabaseError {
  return error instanceof DatabaseError && error.sqlState !== null && !PASSING.test(error.sqlState);
}

/** Deadlock, serialization failure, lock time-out: repeat the work. */
export function isConflict(error: unknown): boolean {
  return (
    error instanceof DatabaseError &&
    (error.sqlState === "40P01" || error.sqlState === "40001" || error.sqlState === "55P03")
  );
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
