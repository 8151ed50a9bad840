/** A batch by the name that you typed: our ID, the beginning of it as `batches` shows it, or the provider's. */
import { RowmillError } from "../model/errors.js";
import * as batchList from "../store/batches/batch-list.js";
import type { Database } from "../postgres/database.js";

/** Null: there is none. @throws RowmillError `not_found` where several match */
export async function findBatchId(database: Database, name: string): Promise<string | null> {
  const ids = await batchList.idsByName(database, name);
  if (ids.length <= 1) return ids[0] ?? null;
  throw new RowmillError("not_found", `More than one batch has an ID that matches "${name}":`, { lines: ids });
}

/** What `read` knows of it. @throws RowmillError `not_found` unless exactly one matches */
export async function findBatch<T>(
  database: Database,
  name: string,
  read: (database: Database, id: string) => Promise<T | null>,
): Promise<T> {
  const id = await findBatchId(database, name);
  const found = id === null ? null : await read(database, id);
  if (found !== null) return found;
  throw new RowmillError("not_found", `There is no batch "${name}" in this database.`, {
    hints: ["See the latest batches: rowmill batches"],
  });
}
