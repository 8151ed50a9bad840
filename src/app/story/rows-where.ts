/**
 * Which failed rows match a predicate over their table, as `--where` gives it. It runs as `source.where` does: under
 * the role's own path, with your rights, in transactions that only read; page by page, each within a time.
 */
import { RowmillError } from "../../model/errors.js";
import { boundedRead, READ_TIMEOUT_MS } from "../../postgres/bounded-read.js";
import { DatabaseError, raw, sql, underRolePath, type Database } from "../../postgres/database.js";
import type { SourceTable } from "../../sources/table/inspection.js";
import { createTableSource } from "../../sources/table/table-source.js";
import * as failures from "../../store/requests/failures.js";
import type { FailedRows } from "../../store/requests/failures.js";

const PAGE_ROWS = 1_000;
/** Their keys stay in memory until you have answered. */
const KEYS_MAX = 50_000;

export interface RowsWhere {
  readonly keys: readonly string[];
  /** More rows may match than were looked at. */
  readonly more: boolean;
}

/** @throws RowmillError `usage` for a predicate that the database refuses, or that takes too long */
export async function failedRowsWhere(
  database: Database,
  { table, sourceWhere, meant }: { table: SourceTable; sourceWhere: string | null; meant: FailedRows },
  predicate: string,
): Promise<RowsWhere> {
  await requirePredicate(database, table, predicate);
  const where = sourceWhere === null ? predicate : `(${sourceWhere}) and (${predicate})`;
  const source = createTableSource(table, { pipelineId: meant.pipelineId, where, skipBefore: null });
  const keys: string[] = [];
  for (let after = "0"; ;) {
    const page = await failures.nextMeant(database, meant, { after, max: PAGE_ROWS });
    const last = page.at(-1);
    if (last === undefined) return { keys, more: false };
    if (keys.length + page.length > KEYS_MAX) return { keys, more: true };
    const asked = page.map(({ key }) => key);
    const missing = await refusedAsUsage(table, predicate, () =>
      database.transaction((tx) => boundedRead(tx, READ_TIMEOUT_MS, () => source.missingKeys(tx, asked)), {
        readOnly: true,
      }),
    );
    if (missing === null) throw tooSlow(predicate);
    const left = new Set(missing);
    for (const key of asked) if (!left.has(key)) keys.push(key);
    after = last.id;
  }
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
      hints: ["Use a condition that an index or the row itself answers."],
    },
  );
}
