/** What follows from our own write into the rows of the source. */
import { contentsOf } from "../sources/source.js";
import type { Queryable } from "../postgres/database.js";
import * as requests from "../store/requests/requests.js";
import { currentFingerprint, type Pipeline } from "./context.js";

/** How far a transaction got; tells who is responsible when it fails. */
export interface Place {
  /** The user's code runs now: the target's write, the reads after it, or the COMMIT; no statement over the ledger. */
  atTarget: boolean;
}

/**
 * Our write into the source may change declared columns (a touch trigger, a generated column). The ledger follows, or
 * every sweep would send the row again. The rows were locked before they were read, so these changes are ours.
 * `again`: rows that the present definition sends again keep the fingerprint of the one that asked.
 */
export async function followOwnWrite(
  tx: Queryable,
  pipeline: Pipeline,
  { keys, again, trial }: { keys: readonly string[]; again: Pick<ReadonlySet<string>, "has">; trial: Place },
): Promise<void> {
  for await (const rows of contentsOf(pipeline.source, tx, keys)) {
    const seen = rows.map(({ key, hash, cells }) => ({
      key,
      hash,
      fingerprint: again.has(key) ? null : currentFingerprint(pipeline, cells),
    }));
    trial.atTarget = false;
    await requests.followContent(tx, pipeline.id, seen);
    trial.atTarget = true;
  }
}
