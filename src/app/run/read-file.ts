/**
 * Brings Rowmill's copy of a file up to date: one pass over the file, then the look at what changed. The caller is the
 * only worker of the database. After a crash the next call begins again.
 */
import { sweepAll } from "../open/round.js";
import { RowmillError } from "../../model/errors.js";
import { replicaTable } from "../../model/replica-name.js";
import { raw } from "../../postgres/database.js";
import * as pipelines from "../../store/pipelines/pipelines.js";
import * as syncOverview from "../../store/syncs/sync-overview.js";
import * as syncs from "../../store/syncs/syncs.js";
import type { Pipeline, WorkerContext } from "../../worker/context.js";
import { runIntake } from "../../worker/rounds/intake.js";
import { runRescuer } from "../../worker/rounds/rescuer.js";
import { syncPipeline } from "../../worker/rounds/sync.js";

/** A pass that another transaction was in the way of, or that has rows left to delete. */
const TURNS_MAX = 100;

/**
 * `onRead`: called once the file is read, before its lines are compared.
 * @throws RowmillError `connector_failed` where the file cannot be read
 */
export async function readFile(
  context: WorkerContext,
  pipeline: Pipeline,
  { signal, onRead }: { readonly signal: AbortSignal; readonly onRead: () => void },
): Promise<void> {
  const { database } = context;
  const { name } = pipeline.config;
  await runRescuer(context, { alone: true });
  // Of a run that was killed while it read, and of a reading that failed.
  await syncs.breakLease(database, name);
  await pipelines.resume(database, pipeline.id, "source");
  const isNew = !(await syncOverview.list(database)).some((one) => one.pipeline === name);
  // While there are no rows, which all arrive afterwards: otherwise it would compare each of them again.
  if (isNew) await settle(context, signal);
  await syncs.want(database, name, { full: true });
  for (let turn = 1; ; turn++) {
    await syncPipeline(context, pipeline, signal);
    signal.throwIfAborted();
    const sync = (await syncOverview.list(database)).find((one) => one.pipeline === name);
    if (sync?.trouble != null) throw new RowmillError("connector_failed", sync.trouble);
    if (sync?.phase === "idle" && sync.nextMs > 0) break;
    if (turn === TURNS_MAX) throw new RowmillError("connector_failed", "The file could not be read to its end.");
  }
  onRead();
  await takeAll(context, signal);
  // No one else does so soon after so many writes, and without statistics a chunk of a sweep reads the whole copy.
  await database.run(raw(`analyze ${replicaTable(name)}, rowmill.requests`));
  await settle(context, signal);
}

/** Until every changed row is counted. */
export async function settle(context: WorkerContext, signal: AbortSignal): Promise<void> {
  // First: an arrival links a changed key to the previous one, which a sweep would take for a new row.
  await takeAll(context, signal);
  await sweepAll(context, signal);
  await takeAll(context, signal);
}

async function takeAll(context: WorkerContext, signal: AbortSignal): Promise<void> {
  while ((await runIntake(context, signal)).full) signal.throwIfAborted();
}
