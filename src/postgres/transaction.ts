/**
 * What a transaction sends, and when: a begin, its statements and a commit, where the client waits for those with a
 * result; or all in one message, because each round trip wakes two processes, which is what an idle worker costs.
 */
import type pg from "pg";
import type { Sql } from "sql-template-tag";
import { commonjs } from "../model/commonjs.js";
import { RowmillError } from "../model/errors.js";

const { escapeLiteral } = commonjs("pg") as typeof pg;
const STATEMENT_TIMEOUT_MS = 60_000;
/** How long a process that froze in a transaction may hold its locks; ours are silent only for moments. */
const IDLE_IN_TRANSACTION_TIMEOUT_MS = 30_000;
/** pg_temp is last: otherwise a temporary table or type would come first. */
const PINNED_PATH = "pg_catalog, pg_temp";
/** For transactions that do not begin here. */
export const PIN_PATH = `select pg_catalog.set_config('search_path', '${PINNED_PATH}', true)`;
/** Null resets to the setting of the server, the database or the role. */
const UNPIN_PATH = "select pg_catalog.set_config('search_path', null, true)";

/** Its class, with the pipeline. Shared: it keeps no one out. */
export const WRITING_LOCK = 726_975;

export interface TransactionOptions {
  statementTimeoutMs?: number;
  /** Default: as long as the statement may last. */
  lockTimeoutMs?: number;
  /** The server refuses every write in it. */
  readOnly?: boolean;
  /**
   * The pipeline whose results are written: its own triggers skip such writes, those of other pipelines do not. Holds
   * `WRITING_LOCK` from before it gets a number, so that readers can tell which open transactions may add results.
   */
  writingFor?: number;
  /** Rolls back at its end. */
  trial?: boolean;
}

/** A function that takes this one writes nothing. */
export interface Reader {
  /** All rows; the statement bounds their number. */
  rows<Row extends object>(statement: Sql): Promise<Row[]>;
  /** The first row, or null. */
  first<Row extends object>(statement: Sql): Promise<Row | null>;
  /** The only column, of all rows. */
  column<Value>(statement: Sql): Promise<Value[]>;
  /** The only column of the first row; null where there is none. */
  value<Value>(statement: Sql): Promise<Value | null>;
  /** The same for a count or a sum; 0 where there is none. */
  number(statement: Sql): Promise<number>;
}

/** Runs statements: the pool, or one open transaction. */
export interface Queryable extends Reader {
  /** How many rows the statement wrote. */
  run(statement: Sql): Promise<number>;
}

/**
 * Content is compared as text, so all settings that shape a value's text are pinned. `row_security = off` turns a
 * read that policies would silently thin out into an error. The isolation is named, because a later statement must see
 * what was committed after an earlier one took its locks.
 */
function beginText(options: TransactionOptions): string {
  return beginTexts(options).join("; ");
}

function beginTexts(options: TransactionOptions): string[] {
  const settings = {
    search_path: PINNED_PATH,
    TimeZone: "UTC",
    DateStyle: "ISO, YMD",
    IntervalStyle: "postgres",
    extra_float_digits: "1",
    bytea_output: "hex",
    row_security: "off",
    statement_timeout: String(options.statementTimeoutMs ?? STATEMENT_TIMEOUT_MS),
    lock_timeout: String(options.lockTimeoutMs ?? 0),
    idle_in_transaction_session_timeout: String(IDLE_IN_TRANSACTION_TIMEOUT_MS),
    "rowmill.writing": options.writingFor === undefined ? "" : String(options.writingFor),
  };
  const calls = Object.entries(settings).map(([name, value]) => `pg_catalog.set_config('${name}', '${value}', true)`);
  if (options.writingFor !== undefined)
    calls.push(`pg_catalog.pg_advisory_xact_lock_shared(${WRITING_LOCK}, ${options.writingFor})`);
  const access = options.readOnly === true ? " read only" : "";
  return [`begin isolation level read committed${access}`, `select ${calls.join(", ")}`];
}

type Message = (text: string) => string;
const messages = new WeakMap<Sql, Message>();

/**
 * Marks a small statement that is repeated all the time: outside of a transaction it goes out with its begin and
 * commit in one message. A message takes no parameters, so values stand quoted in its text: numbers, arrays of whole
 * numbers, texts and nulls. Never for content of rows.
 */
export function inOneMessage(statement: Sql): Sql {
  messages.set(statement, (text) => `${beginText({})}; ${text}; commit`);
  return statement;
}

/**
 * The same without begin, pins and commit: for a read whose names are all qualified, and which depends on no setting.
 */
export function asItStands(statement: Sql): Sql {
  messages.set(statement, (text) => text);
  return statement;
}

/** Null: it is not marked. */
export function messageText(statement: Sql): string | null {
  const message = messages.get(statement);
  if (message === undefined) return null;
  const { strings, values } = statement;
  return message(strings.reduce((text, part, index) => text + literal(values[index - 1]) + part));
}

/** Gets its type from its place, as a parameter does. */
function literal(value: unknown): string {
  if (value === null) return "null";
  if (typeof value === "number" && Number.isFinite(value)) return `'${value}'`;
  if (typeof value === "string" && !value.includes("\0")) return escapeLiteral(value);
  if (Array.isArray(value) && value.every(Number.isSafeInteger)) return `'{${value.join(",")}}'`;
  throw new RowmillError("internal", "A statement in one message has a value that cannot stand in its text.");
}

const roleStatements = new WeakSet<Sql>();

/**
 * Marks a statement that runs the user's code (a predicate, a target's triggers) or looks names up as the user would.
 * It runs under the role's own path, where others may be able to create objects. So everything in it is qualified,
 * also operators, as `operator(pg_catalog.=)`; and it uses nothing that cannot be: IN, IS DISTINCT FROM, NULLIF, CASE
 * x WHEN, JOIN USING, LIKE, BETWEEN, comparisons of rows. At COMMIT its deferred triggers find that path too.
 */
export function underRolePath(statement: Sql): Sql {
  roleStatements.add(statement);
  return statement;
}

const aheadStatements = new WeakSet<Sql>();

/**
 * Marks a single statement whose result is not read: in a transaction it goes out with the next statement or the
 * commit, which waits for both and throws its error if it failed. Do not rely on its effect before then.
 */
export function sentAhead(statement: Sql): Sql {
  aheadStatements.add(statement);
  return statement;
}

/** A connection as transactions use it. */
export interface Line {
  /** Answers come in the order of the queries. @throws DatabaseError */
  ask<Row extends object>(query: pg.QueryConfig): Promise<pg.QueryResult<Row>>;
  /** After these, each a single statement; once one failed, the rest is not done. */
  askAfter<Row extends object>(texts: readonly string[], query: pg.QueryConfig): Promise<pg.QueryResult<Row>>;
  /** Sends what the work asks in one write. */
  together<T>(work: () => T): T;
  /** A transaction is open, even if it can only be rolled back. False where the server does not answer. */
  isInTransaction(): Promise<boolean>;
}

/** One statement at a time. Both ends send nothing where nothing was begun. */
export type Transaction = Queryable & { commit(): Promise<void>; rollBack(): Promise<void> };

export function begin(line: Line, options: TransactionOptions): Transaction {
  let isPinned = true;
  let ranUsersCode = false;
  let isBegun = false;
  /** Of the begin. What comes after it would run outside of a transaction, so it gets this error too. */
  let failure: Error | null = null;
  let ahead: pg.QueryConfig[] = [];
  /** Together with what was sent ahead. The first error counts: later ones are its consequences. */
  const ask = async <Row extends object>(query: pg.QueryConfig): Promise<pg.QueryResult<Row>> => {
    if (failure !== null) throw failure;
    const queries = [...ahead, query];
    const opening = isBegun ? null : beginTexts(options);
    ahead = [];
    isBegun = true;
    const answers = line.together(() =>
      opening === null ? askAll<Row>(line, queries) : askWithBegin<Row>(line, opening, queries),
    );
    await Promise.allSettled(answers);
    try {
      return known((await Promise.all(answers)).flatMap(results).at(-1));
    } catch (error) {
      if (opening !== null && error instanceof Error && !(await line.isInTransaction())) failure = error;
      throw error;
    }
  };
  const prepare = (statement: Sql): pg.QueryConfig => {
    const needsPin = !roleStatements.has(statement);
    ranUsersCode ||= !needsPin;
    if (isPinned !== needsPin) ahead.push({ text: needsPin ? PIN_PATH : UNPIN_PATH });
    isPinned = needsPin;
    return { text: statement.text, values: statement.values };
  };
  const send = async <Row extends object>(statement: Sql): Promise<pg.QueryResult<Row>> => {
    const query = prepare(statement);
    try {
      return await ask<Row>(query);
    } catch (error) {
      // A rollback follows, of all or to a savepoint, which was set under the pinned path.
      isPinned = true;
      throw error;
    }
  };
  const tx = queryable(send);
  return {
    ...tx,
    run: (statement) => {
      if (!aheadStatements.has(statement)) return tx.run(statement);
      ahead.push(prepare(statement));
      return Promise.resolve(0);
    },
    commit: async () => {
      if (!isBegun && ahead.length === 0) return;
      if (ranUsersCode && isPinned) ahead.push({ text: UNPIN_PATH });
      await ask({ text: "commit" });
    },
    rollBack: async () => {
      if (isBegun && failure === null) await line.ask({ text: "rollback" });
    },
  };
}

/** One Sync for all: otherwise what follows a failed begin would run outside of a transaction. */
function askWithBegin<Row extends object>(
  line: Line,
  opening: readonly string[],
  queries: readonly pg.QueryConfig[],
): Promise<pg.QueryResult<Row>>[] {
  const place = queries.findIndex((query) => !isPlain(query));
  const plain = place === -1 ? queries : queries.slice(0, place);
  const texts = [...opening, ...plain.map(({ text }) => text)];
  const query = queries[place];
  if (query === undefined) return [line.ask<Row>({ text: texts.join("; ") })];
  return [line.askAfter<Row>(texts, query), ...askAll<Row>(line, queries.slice(place + 1))];
}

function askAll<Row extends object>(line: Line, queries: readonly pg.QueryConfig[]): Promise<pg.QueryResult<Row>>[] {
  return inFewMessages(queries).map((message) => line.ask<Row>(message));
}

/** What has no parameters goes out in one message with its neighbors. */
function inFewMessages(queries: readonly pg.QueryConfig[]): readonly pg.QueryConfig[] {
  const messages: pg.QueryConfig[] = [];
  for (const query of queries) {
    const last = messages.at(-1);
    if (last !== undefined && isPlain(query) && isPlain(last)) last.text += `; ${query.text}`;
    else messages.push({ ...query });
  }
  return messages;
}

function isPlain({ values }: pg.QueryConfig): boolean {
  return !values?.length;
}

/** Sent with its only statement, whose result is the only one, or the last before the commit's. */
export function beginTogether(line: Line, text: string): Transaction {
  const send = async <Row extends object>() => {
    const [result] = results(await line.ask<Row>({ text })).slice(-2);
    return known(result);
  };
  return {
    ...queryable(send),
    commit: () => Promise.resolve(),
    rollBack: async () => void (await line.ask({ text: "rollback" })),
  };
}

function results<Row extends object>(answer: pg.QueryResult<Row> | pg.QueryResult<Row>[]): pg.QueryResult<Row>[] {
  return [answer].flat();
}

function known<Row extends object>(result: pg.QueryResult<Row> | undefined): pg.QueryResult<Row> {
  if (result === undefined) throw new RowmillError("internal", "A message had no result.");
  return result;
}

function queryable(send: <Row extends object>(statement: Sql) => Promise<pg.QueryResult<Row>>): Queryable {
  const column = async <Value>(statement: Sql) =>
    (await send<Record<string, Value>>(statement)).rows.flatMap((row) => Object.values(row).slice(0, 1));
  return {
    column,
    rows: async <Row extends object>(statement: Sql) => (await send<Row>(statement)).rows,
    first: async <Row extends object>(statement: Sql) => (await send<Row>(statement)).rows[0] ?? null,
    value: async <Value>(statement: Sql) => (await column<Value>(statement))[0] ?? null,
    number: async (statement) => (await column<number>(statement))[0] ?? 0,
    run: async (statement) => (await send(statement)).rowCount ?? 0,
  };
}
