/** Writes into a table of another PostgreSQL, which is made or checked for each pipeline. */
import type { AnswerColumn } from "../../model/answer/answer-columns.js";
import {
  ConnectorError,
  type Change,
  type DeliveryOptions,
  type TargetConnector,
  type Written,
} from "../../model/connector.js";
import { RowmillError } from "../../model/errors.js";
import type { Secret } from "../../model/secret.js";
import { isConflict, type Database, type Queryable } from "../../postgres/database.js";
import { readColumns, type TableColumn } from "../../sources/table/columns.js";
import { inspectTable, relationNamed } from "../../sources/table/inspection.js";
import { ensureTarget, type TargetConfig, type Wanted as WantedTable } from "../../targets/table/ensure.js";
import { LOCK_MS_MAX, writeFenced, type FencedResult, type FencedTable } from "../../targets/table/fenced.js";
import { openServer, type Server } from "./server.js";

/** A pipeline writes one chunk at a time. */
const CONNECTIONS_MAX = 2;
const STATEMENT_MS_MAX = 30_000;
/** On this side, the network included. */
const QUERY_MS_MAX = 45_000;

/** `key`: null as it was not named. */
type Wanted = TargetConfig & { readonly key: readonly string[] | null };

const KEY_DEFAULT = ["key"];

/** @throws ConnectorError */
export function openWriter(url: Secret, wanted: Wanted): Pick<TargetConnector, "prepare" | "write"> {
  const server = openServer(url.reveal(), wanted.table, {
    poolMax: CONNECTIONS_MAX,
    queryTimeoutMs: QUERY_MS_MAX,
  });
  const { database } = server;
  const tables = new Map<string, FencedTable & { readonly preparing: Preparing }>();
  return {
    prepare: async ({ pipeline, fields, source = null, signal }) => {
      const preparing = { wanted, pipeline, fields, source };
      tables.set(pipeline, { ...(await ask(server, signal, () => prepareTable(database, preparing))), preparing });
    },
    write: async (changes, { pipeline, signal, readBack }) => {
      const table = tables.get(pipeline);
      if (table === undefined) throw new RowmillError("internal", `The target was not prepared for "${pipeline}".`);
      try {
        return await ask(server, signal, async () => {
          const written = await writeChanges(database, table, { changes, readBack });
          // Perhaps it is no row's fault: the table may have changed, such as the type of a column.
          if (written.failed.length === changes.length && changes.length > 0)
            await prepareTable(database, table.preparing);
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
  /** Of the rows that answers are written back into. Null: they go elsewhere. */
  readonly source: { readonly key: readonly string[]; readonly columns: readonly string[] } | null;
}

async function prepareTable(database: Database, preparing: Preparing): Promise<FencedTable> {
  const { content, ...wanted } = await wantedTable(database, preparing);
  return { table: await ensureTarget(database, wanted, "all"), fence: fenceOf(preparing.pipeline), content };
}

function fenceOf(pipeline: string): string {
  return `rowmill_fence_${pipeline}`;
}

/** `content`: the columns of the rows that answers are written back into. */
export async function wantedTable(
  database: Database,
  { wanted, pipeline, fields, source }: Preparing,
): Promise<WantedTable & Pick<FencedTable, "content">> {
  if (source !== null) refuseKeys(wanted, { fields, key: source.key });
  const names = source?.key ?? wanted.key ?? KEY_DEFAULT;
  const { key, content } = await database.transaction((tx) => lookAt(tx, wanted, { key: names, source }), {
    readOnly: true,
  });
  const fence: AnswerColumn = { field: fenceOf(pipeline), type: "bigint", nullable: true, check: null };
  return {
    config: wanted,
    source: { oid: null, qualified: `the pipeline "${pipeline}"`, key, isTarget: source !== null },
    answer: [...fields, fence],
    previous: null,
    content,
  };
}

/** @throws ConnectorError */
function refuseKeys(
  { table, key, columns }: Wanted,
  source: { readonly fields: readonly AnswerColumn[]; readonly key: readonly string[] },
): void {
  if (key !== null && key.join("\n") !== source.key.join("\n"))
    throw new ConnectorError("stop", `Answers go back into ${table}, so leave out the key in the target.`);
  const taken = source.fields.find(({ field }) => source.key.includes(columns?.[field] ?? field));
  if (taken === undefined) return;
  const column = columns?.[taken.field] ?? taken.field;
  throw new ConnectorError("stop", `The answer's "${taken.field}" would overwrite the key column "${column}".`);
}

/** The key: text in a table that we make; otherwise what its columns are, to which the ledger's keys are cast. */
async function lookAt(
  tx: Queryable,
  { table }: Wanted,
  { key, source }: Pick<Preparing, "source"> & { readonly key: readonly string[] },
): Promise<{ key: readonly TableColumn[]; content: readonly TableColumn[] | null }> {
  if (source !== null) {
    // As its reading does: a view or a table without that key is refused.
    const found = await inspectTable(tx, { table, ...source });
    return { key: found.key, content: found.columns };
  }
  const relation = await relationNamed(tx, table);
  const found = relation === null ? [] : await readColumns(tx, relation.oid, key);
  return {
    key: key.map((name) => found.find((column) => column.name === name) ?? { ...TEXT_KEY, name }),
    content: null,
  };
}

const TEXT_KEY = { typeOid: 25, type: "text", castType: "pg_catalog.text", builtIn: true };

async function writeChanges(
  database: Database,
  table: FencedTable,
  { changes, readBack }: { readonly changes: readonly Change[]; readonly readBack: DeliveryOptions["readBack"] },
): Promise<Written> {
  if (changes.length === 0) return { written: [], stale: [], changed: [], busy: [], failed: [] };
  try {
    return await database.transaction(
      async (tx) => {
        const { rows, ...found } = await writeFenced(tx, table, changes.map(resultOf));
        if (rows.length > 0) await readBack?.(rows);
        return found;
      },
      { statementTimeoutMs: STATEMENT_MS_MAX, lockTimeoutMs: LOCK_MS_MAX },
    );
  } catch (error) {
    // Rolled back as a whole: a deadlock, or a lock on the table.
    if (!isConflict(error)) throw error;
    return { written: [], stale: [], changed: [], busy: changes.map(({ key }) => key), failed: [] };
  }
}

function resultOf(change: Change): FencedResult {
  const { key, fence } = change;
  if ("deleted" in change) return { key, fence, cells: {}, model: null };
  const { cells, model, expect = null } = change;
  return { key, fence, cells, model, expect };
}
