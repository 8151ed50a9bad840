/**
 * A table target whose answers also go elsewhere: each write leaves a note in its own transaction, by which a worker
 * delivers the answer later. No stage learns of it.
 */
import type { Queryable } from "../../postgres/database.js";
import type { Target } from "../target.js";

/** Notes that the answers of these keys changed, or were deleted. */
export type NoteChanges = (tx: Queryable, keys: readonly string[], what: "written" | "deleted") => Promise<void>;

export function createDeliveredTarget(table: Target, note: NoteChanges): Target {
  return {
    ...table,
    write: async (tx, results, plain) => {
      const missing = await table.write(tx, results, plain);
      const keys = results.map(({ key }) => key).filter((key) => !missing.has(key));
      if (keys.length > 0) await note(tx, keys, "written");
      return missing;
    },
    erase: async (tx, keys) => {
      const erased = await table.erase(tx, keys);
      await note(tx, keys, "deleted");
      return erased;
    },
  };
}
