/** Writes into a table of another PostgreSQL, which is made or checked for each pipeline. */
import type { AnswerColumn } from "../../model/answer/answer-columns.js";
import { ConnectorError, type Change, type TargetConnector, type Written } from "../../model/connector.js";
import { RowmillError } from "../../model/errors.js";
import type { Secret } from "../../model/secret.js";
import { isConflict, type Database } from "../../postgres/database.js";
import { readColumns, type TableColumn } from "../../sources/table/columns.js";
import { relationNamed } from "../../sources/table/inspection.js";
import { ensureTarget, type TargetConfig, type Wanted as WantedTable } from "../../targets/table/ensure.js";
import { LOCK_MS_MAX, writeFenced, type FencedResult, type FencedTable } from "../../targets/table/fenced-write.js";
import { openServer, type Server } from "./server.js";

/** A pipeline writes one chunk at a time. */
const CONNECTIONS_MAX = 2;
const STATEMENT_MS_MAX = 30_000;
/** On this side, the network included. */
const QUERY_MS_MAX = 45_000;

type Wanted = TargetConfig & { readonly key: readonly string[] };

/** @throws ConnectorError */
export function openWriter(url: Secret, wanted: Wanted): Pick<TargetConnector, "prepare" | "write"> {
  const server = openServer(url.reveal(), wanted.table, {
    poolMax: CONNECTIONS_MAX,
    queryTimeoutMs: QUERY_MS_MAX,
  });
  const { database } = server;
  const tables = new Map<string, FencedTable & Pick<Preparing, "fields">>();
  return {
    prepare: async ({ pipeline, fields, signal }) => {
      const table = await ask(server, signal, () => prepareTable(database, { wanted, pipeline, fields }));
      tables.set(pipeline, { ...table, fields });
    },
    write: async (changes, { pipeline, signal }) => {
      const table = tables.get(pipeline);
      if (table === undefined) throw new RowmillError("internal", `The target was not prepared for "${pipeline}".`);
      try {
        return await ask(server, signal, async () => {
          const written = await writeChanges(database, table, changes);
          // Perhaps it is no row's fault: the table may have changed, such as the type of a column.
          if (written.failed.length === changes.length && changes.length > 0)
            await prepareTable(database, { wanted, pipeline, fields: table.fields });
          return written;
        });
      } catch (error) {
        // The next prepare judges what has changed.
        if (error instanceof ConnectorError) tables.delete(pipeline);
        throw error;
      }
    },
  };
}

/** @throws ConnectorError */
async function ask<T>(server: Server, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
  try {
    return await unlessStopped(signal, work);
  } catch (error) {
    if (signal.aborted) throw new ConnectorError("again", `${server.place}: the call was stopped.`);
    throw server.explain(error);
  }
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

export interface Preparing {
  readonly wanted: Wanted;
  readonly pipeline: string;
  readonly fields: readonly AnswerColumn[];
}

async function prepareTable(database: Database, { wanted, pipeline, fields }: Preparing): Promise<FencedTable> {
  const table = await ensureTarget(database, await wantedTable(database, { wanted, pipeline, fields }), "all");
  return { table, fence: fenceOf(pipeline) };
}

function fenceOf(pipeline: string): string {
  return `rowmill_fence_${pipeline}`;
}

export async function wantedTable(database: Database, { wanted, pipeline, fields }: Preparing): Promise<WantedTable> {
  const key = await keyColumns(database, wanted);
  const fence: AnswerColumn = { field: fenceOf(pipeline), type: "bigint", nullable: true, check: null };
  return {
    config: wanted,
    source: { oid: null, qualified: `the pipeline "${pipeline}"`, key },
    answer: [...fields, fence],
    previous: null,
  };
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
