/** The connection of a target in another PostgreSQL, its table for each pipeline, and the kinds of its failures. */
import { connectionFactsFrom, connectionOptions, describeServer } from "../../config/database/connection.js";
import { tlsEnvironment } from "../../config/load/environment.js";
import type { AnswerColumn } from "../../model/answer/answer-columns.js";
import { ConnectorError, type Change, type TargetConnector, type Written } from "../../model/connector.js";
import { RowmillError } from "../../model/errors.js";
import type { PipelineConfig } from "../../model/pipeline.js";
import type { Secret } from "../../model/secret.js";
import {
  DatabaseError,
  explainWith,
  isConflict,
  isLastingRefusal,
  openDatabase,
  type Database,
} from "../../postgres/database.js";
import { readColumns, type TableColumn } from "../../sources/table/columns.js";
import { relationNamed } from "../../sources/table/inspection.js";
import { ensureTarget } from "../../targets/table/ensure.js";
import { LOCK_MS_MAX, writeFenced, type FencedResult, type FencedTable } from "../../targets/table/fenced-write.js";

/** A pipeline writes one chunk at a time. */
const CONNECTIONS_MAX = 2;
const STATEMENT_MS_MAX = 30_000;
/** On this side, the network included. */
const QUERY_MS_MAX = 45_000;

type Wanted = PipelineConfig["target"] & { readonly key: readonly string[] };

/** @throws ConnectorError */
export function openWriter(url: Secret, wanted: Wanted): Pick<TargetConnector, "prepare" | "write"> {
  const server = openConfigured(url);
  const tables = new Map<string, FencedTable>();
  return {
    prepare: async ({ pipeline, fields, signal }) => {
      const table = await server.ask(signal, (database) => prepareTable(database, { wanted, pipeline, fields }));
      tables.set(pipeline, table);
    },
    write: async (changes, { pipeline, signal }) => {
      const table = tables.get(pipeline);
      if (table === undefined) throw new RowmillError("internal", `The target was not prepared for "${pipeline}".`);
      try {
        return await server.ask(signal, (database) => writeChanges(database, table, changes));
      } catch (error) {
        // The next prepare judges what has changed.
        if (error instanceof ConnectorError) tables.delete(pipeline);
        throw error;
      }
    },
  };
}

/** Nothing is sent yet, but a certificate's file may be missing. */
function openConfigured(url: Secret): Server {
  try {
    return openServer(url);
  } catch (error) {
    throw connectorError(error, "elsewhere");
  }
}

interface Server {
  /** @throws ConnectorError */
  ask<T>(signal: AbortSignal, work: (database: Database) => Promise<T>): Promise<T>;
}

function openServer(url: Secret): Server {
  const address = { kind: "server", url: url.reveal() } as const;
  const tls = tlsEnvironment(process.env);
  const place = describeServer(address);
  const limits = { poolMax: CONNECTIONS_MAX, queryTimeoutMs: QUERY_MS_MAX };
  const database = openDatabase(connectionOptions(address, { tls }), limits);
  const facts = connectionFactsFrom("the target's url", address, { tls });
  return {
    ask: async (signal, work) => {
      try {
        return await unlessStopped(signal, () => work(database));
      } catch (error) {
        if (signal.aborted) throw new ConnectorError("again", `The call of the target ${place} was stopped.`);
        throw connectorError(explainWith(error, facts), place);
      }
    },
  };
}

/** What was begun ends by its time-outs, and may take effect: the same write again does no harm. */
async function unlessStopped<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
  signal.throwIfAborted();
  const done = new AbortController();
  const stopped = new Promise<never>((_resolve, reject) => {
    const stop = () => reject(new Error("stopped"));
    signal.addEventListener("abort", stop, { once: true, signal: done.signal });
  });
  try {
    return await Promise.race([work(), stopped]);
  } finally {
    done.abort();
  }
}

function connectorError(error: unknown, place: string): unknown {
  if (!(error instanceof RowmillError) || error.code === "internal") return error;
  const passes =
    error instanceof DatabaseError ? !isLastingRefusal(error) || isOfMoment(error) : error.code === "database_timeout";
  const [message = "", ...lines] = error.message.split("\n");
  return new ConnectorError(passes ? "again" : "stop", `The target ${place}: ${message}`, {
    cause: error,
    hints: error.hints,
    lines: lines.map((line) => line.slice(2)),
  });
}

/**
 * Two workers changed the table at once (42701, 42704, 42710), or it was dropped or changed after it was prepared
 * (42P01, 42703, 42P10): prepare again, which refuses what lasts.
 */
function isOfMoment({ sqlState }: DatabaseError): boolean {
  return ["42701", "42704", "42710", "42P01", "42703", "42P10"].includes(sqlState ?? "");
}

interface Preparing {
  readonly wanted: Wanted;
  readonly pipeline: string;
  readonly fields: readonly AnswerColumn[];
}

async function prepareTable(database: Database, { wanted, pipeline, fields }: Preparing): Promise<FencedTable> {
  const fence = `rowmill_fence_${pipeline}`;
  const key = await keyColumns(database, wanted);
  const fenceColumn: AnswerColumn = { field: fence, type: "bigint", nullable: true, check: null };
  const table = await ensureTarget(
    database,
    {
      config: wanted,
      source: { oid: null, qualified: `the pipeline "${pipeline}"`, key },
      answer: [...fields, fenceColumn],
      previous: null,
    },
    "all",
  );
  return { table, fence };
}

/** Text in a table that we make; otherwise what they are, to which the ledger's keys are cast. */
async function keyColumns(database: Database, { table, key }: Wanted): Promise<readonly TableColumn[]> {
  const found = await database.transaction(
    async (tx) => {
      const relation = await relationNamed(tx, table);
      return relation === null ? [] : readColumns(tx, relation.oid, key);
    },
    { readOnly: true },
  );
  return key.map((name) => found.find((column) => column.name === name) ?? { ...TEXT_KEY, name });
}

const TEXT_KEY = { typeOid: 25, type: "text", castType: "pg_catalog.text", builtIn: true };

async function writeChanges(database: Database, table: FencedTable, changes: readonly Change[]): Promise<Written> {
  if (changes.length === 0) return { written: [], stale: [], changed: [], busy: [], failed: [] };
  try {
    const found = await database.transaction((tx) => writeFenced(tx, table, changes.map(resultOf)), {
      statementTimeoutMs: STATEMENT_MS_MAX,
      lockTimeoutMs: LOCK_MS_MAX,
    });
    return { ...found, changed: [] };
  } catch (error) {
    // Rolled back as a whole: a deadlock, or a lock on the table.
    if (!isConflict(error)) throw error;
    return { written: [], stale: [], changed: [], busy: changes.map(({ key }) => key), failed: [] };
  }
}

function resultOf(change: Change): FencedResult {
  const { key, fence } = change;
  return "deleted" in change
    ? { key, fence, cells: {}, model: null }
    : { key, fence, cells: change.cells, model: change.model };
}
