/**
 * The pool for graphile-worker: its statements, its migrations and the functions that they call run under the pinned
 * path. None of them qualifies names of pg_catalog. It sends one statement at a time; outside of a transaction each
 * becomes one.
 */
import type pg from "pg";
import { DatabaseError, explainDatabaseError } from "./database.js";
import { PIN_PATH } from "./transaction.js";

/** How long a process that froze before its commit may hold a job's row. */
const IDLE_IN_TRANSACTION_TIMEOUT_MS = 10_000;
const BEGIN = `begin; ${PIN_PATH};
  select pg_catalog.set_config('idle_in_transaction_session_timeout', '${IDLE_IN_TRANSACTION_TIMEOUT_MS}', true)`;

type Query = (...query: readonly unknown[]) => Promise<unknown>;

/** The same connections, events and limits. */
export function pinnedPool(pool: pg.Pool): pg.Pool {
  return withOwn(pool, {
    connect: (callback?: (error?: Error, client?: pg.PoolClient, release?: unknown) => void) => {
      if (callback === undefined) return pool.connect().then(pinnedClient);
      return pool.connect((error, client, release) => callback(error, client && pinnedClient(client), release));
    },
    query: async (...query: readonly unknown[]) => {
      const client = await pool.connect();
      try {
        return await pinnedQuery(client)(...query);
      } finally {
        client.release();
      }
    },
  });
}

function pinnedClient(client: pg.PoolClient): pg.PoolClient {
  return withOwn(client, { query: pinnedQuery(client) });
}

function pinnedQuery(client: pg.PoolClient): Query {
  const send: Query = client.query.bind(client);
  let inTransaction = false;
  return async (...query) => {
    const text = textOf(query[0]);
    if (text === "begin") {
      inTransaction = true;
      return send(BEGIN);
    }
    if (text === "commit" || text === "rollback") inTransaction = false;
    // LISTEN and UNLISTEN look up no names.
    if (inTransaction || /^(commit|rollback|(un)?listen )/i.test(text)) return send(...query);
    await send(BEGIN);
    try {
      const result = await send(...query);
      await send("commit");
      return result;
    } catch (error) {
      // Where the server did not answer, a rollback would wait as long again. The pool drops such a connection.
      const failure = explainDatabaseError(error);
      if (failure instanceof DatabaseError && failure.sqlState !== null) await Promise.allSettled([send("rollback")]);
      throw error;
    }
  };
}

function textOf(query: unknown): string {
  if (typeof query === "string") return query;
  return typeof query === "object" && query !== null && "text" in query ? String(query.text) : "";
}

/** Everything else acts on the target itself. */
function withOwn<Target extends object>(target: Target, own: Readonly<Record<string, unknown>>): Target {
  return new Proxy(target, {
    get: (_target, name) => {
      if (typeof name === "string" && Object.hasOwn(own, name)) return own[name];
      const value: unknown = Reflect.get(target, name);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}
