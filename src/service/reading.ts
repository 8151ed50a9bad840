/** Reads of the database for a call: few at once, each in a transaction that cannot write, within a time. */
import type { Queryable } from "../postgres/database.js";
import type { Desk } from "./routes.js";

const READ_MS_MAX = 10_000;
const LOCK_MS_MAX = 2_000;
export const WAIT_FOR_ROOM_MS = 3_000;

/** "busy": there was no room in time. */
export async function reading<T>(desk: Desk, work: (tx: Queryable) => Promise<T>): Promise<T | "busy"> {
  const release = await desk.reads.take(1, WAIT_FOR_ROOM_MS);
  if (release === null) return "busy";
  try {
    return await desk.database.transaction(work, {
      readOnly: true,
      statementTimeoutMs: READ_MS_MAX,
      lockTimeoutMs: LOCK_MS_MAX,
    });
  } finally {
    release();
  }
}
