/**
 * Failed rows in bounded pages, by a predicate over their table where `--where` gives one. It runs as `source.where`
 * does: under the role's own path, with your rights, in transactions that only read, each page within a time. No page
 * outlives the next one, so it does not matter how many rows failed.
 */
import type { PipelineConfig } from "../../model/pipeline.js";
import { RowmillError } from "../../model/errors.js";
import { boundedRead, READ_TIMEOUT_MS } from "../../postgres/bounded-read.js";
import { DatabaseError, raw, sql, underRolePath, type Database } from "../../postgres/database.js";
import type { SourceTable } from "../../sources/table/inspection.js";
import { createTableSource } from "../../sources/table/table-source.js";
import * as failures from "../../store/requests/failures.js";
import type { FailedRows } from "../../store/requests/failures.js";

/** Rows that are compared at once. */
export const PAGE_ROWS = 1_000;

/** Whose rows. */
export interface FailedIn {
  readonly table: SourceTable;
  readonly config: Pick<PipelineConfig, "source">;
}

export interface ChosenRows {
  readonly meant: FailedRows;
  /** A predicate over their table. Absent: all of them, in one page. */
  readonly where?: string | undefined;
  /** Stops between two pages. */
  readonly signal?: AbortSignal;
  /** After each page: how many rows were compared by then. */
  readonly onCompared?: (rows: number) => void;
}

/** @throws RowmillError `usage` for a predicate that the database refuses, or that takes too long */
export async function* failedPages(
  database: Database,
  { table, config }: FailedIn,
  chosen: ChosenRows,
): AsyncGenerator<FailedRows> {
  const { meant, where: predicate, onCompared } = chosen;
  if (predicate === undefined) return yield meant;
  await requirePredicate(database, table, predicate);
  const sourceWhere = config.source.where;
  const where = sourceWhere === null ? predicate : `(${sourceWhere}) and (${predicate})`;
  const source = createTableSource(table, { pipelineId: meant.pipelineId, where, skipBefore: null });
  for (let after = "0", compared = 0; !isStopped(chosen);) {
    const page = await failures.nextMeant(database, meant, { after, max: PAGE_ROWS });
    const last = page.at(-1);
    if (last === undefined) return;
    const asked = page.map(({ key }) => key);
    const missing = await refusedAsUsage(table, predicate, () =>
      database.transaction((tx) => boundedRead(tx, READ_TIMEOUT_MS, () => source.missingKeys(tx, asked)), {
        readOnly: true,
      }),
    );
    if (missing === null) throw tooSlow(predicate);
    const left = new Set(missing);
    const keys = asked.filter((key) => !left.has(key));
    if (keys.length > 0) yield { ...meant, keys };
    compared += page.length;
    onCompared?.(compared);
    after = last.id;
  }
}

function isStopped({ signal }: ChosenRows): boolean {
  return signal?.aborted === true;
}

/** A parameter makes it one statement, whatever the text says. */
async function requirePredicate(database: Database, table: SourceTable, predicate: string): Promise<void> {
  await refusedAsUsage(table, predicate, () =>
    database.transaction(
      (tx) =>
        tx.run(
          underRolePath(
            sql`select 1 from ${raw(table.from)} s where (${raw(predicate)}) and ${true}::pg_catalog.bool limit 0`,
          ),
        ),
      { readOnly: true },
    ),
  );
}

async function refusedAsUsage<T>(table: SourceTable, predicate: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof DatabaseError) || error.code !== "database_refused") throw error;
    throw new RowmillError("usage", `--where: ${error.message}`, {
      cause: error,
      hints: [`Rowmill runs it as: select … from ${table.from} s where (${predicate})`],
    });
  }
}

function tooSlow(predicate: string): RowmillError {
  return new RowmillError(
    "usage",
    `--where: ${predicate} took more than ${READ_TIMEOUT_MS / 1_000} s for a page of rows.`,
    {
      hints: ["Use a condition that PostgreSQL can check with an index or the row alone."],
    },
  );
}
