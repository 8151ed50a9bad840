/** Ties a pipeline's target to its table, and to the notes by which answers go elsewhere. */
import { createHash } from "node:crypto";
import type { TargetConnector } from "../../model/connector.js";
import type { PipelineConfig } from "../../model/pipeline.js";
import { writesBack } from "../../model/write-back.js";
import type { Queryable } from "../../postgres/database.js";
import * as deliveries from "../../store/deliveries/deliveries.js";
import type { Wanted } from "../../targets/table/ensure.js";
import { readAnswers } from "../../targets/table/read-answers.js";
import { createTableTarget, type TargetTable } from "../../targets/table/table-target.js";
import type { Target } from "../../targets/target.js";
import type { Delivery } from "../../worker/context.js";

/** Also for commands that write or delete answers without a worker. `pipelineId`: null where it was never set up. */
export function targetOf({ target }: PipelineConfig, pipelineId: number | null, found: TargetTable): Target {
  const table = createTableTarget(found);
  if (target.elsewhere === null || pipelineId === null) return table;
  return createDeliveredTarget(table, (tx, keys, what) =>
    what === "written" ? deliveries.noteWritten(tx, pipelineId, keys) : deliveries.noteDeleted(tx, pipelineId, keys),
  );
}

export function targetHashOf({ name, writes }: TargetConnector): string {
  return createHash("sha256")
    .update(JSON.stringify([name, writes ?? null]))
    .digest("hex")
    .slice(0, 32);
}

/** Null: the target is a table. */
export function deliveryOf(config: PipelineConfig, { source, answer }: Wanted): Delivery | null {
  const { elsewhere, table, trustOwner } = config.target;
  if (elsewhere === null) return null;
  const fields = answer.map(({ field }) => ({ field, column: field }));
  const wanted = { table, trustOwner, source, fields };
  return {
    connector: elsewhere,
    writesBack: writesBack(config),
    targetHash: targetHashOf(elsewhere),
    read: (tx, keys) => readAnswers(tx, wanted, keys),
  };
}

/** Notes that the answers of these keys changed, or were deleted. */
type NoteChanges = (tx: Queryable, keys: readonly string[], what: "written" | "deleted") => Promise<void>;

/**
 * A table target whose answers also go elsewhere: each write leaves a note in its own transaction, by which a worker
 * delivers the answer later. No stage learns of it.
 */
function createDeliveredTarget(table: Target, note: NoteChanges): Target {
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
