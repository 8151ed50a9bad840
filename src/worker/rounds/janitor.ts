/**
 * Deletes files at the provider, spool files, ledger rows and pushed rows that are no longer needed. Repeatable: a
 * crash leaves the rest to the next round.
 */
import { ProviderError } from "../../model/provider/provider.js";
import * as arrivals from "../../store/requests/arrivals.js";
import * as counts from "../../store/requests/counts.js";
import type { Database } from "../../postgres/database.js";
import * as deployment from "../../store/ledger/deployment.js";
import * as attempts from "../../store/requests/attempts.js";
import * as leftBehind from "../../store/ledger/left-behind.js";
import * as refusedKeys from "../../store/requests/refused-keys.js";
import * as expiry from "../../store/replicas/expiry.js";
import * as replicas from "../../store/replicas/replicas.js";
import * as pipelines from "../../store/pipelines/pipelines.js";
import * as tries from "../../store/tries/tries.js";
import * as workers from "../../store/ledger/workers.js";
import { lookOnce } from "./duplicates.js";
import type { Pipeline, WorkerContext } from "../context.js";
import { guarded, mayLook } from "../guard.js";
import { listSpools, removeSpool } from "../spool.js";

const BATCHES_MAX = 50;
/** Paid answers that could not be used, and the texts of tries, are kept this long; attempts and tries stay. */
const UNUSED_ANSWER_DAYS = 30;
const ANSWERS_MAX = 1_000;
const JOBS_MAX = 1_000;
const PUSHED_ROWS_MAX = 1_000;
/** Of a pipeline, in one round. */
const CHUNKS_MAX = 20;
/** The janitor does not wait for a long transaction that pushes rows: other pushes would wait behind it. */
const LOCK_MS_MAX = 1_000;

export async function runJanitor(context: WorkerContext, signal: AbortSignal): Promise<void> {
  for (const batch of await forgettableHere(context)) {
    signal.throwIfAborted();
    await forget(context, batch, signal);
  }
  // A ledger that may be a copy does not know which files the original's workers on this machine need.
  if ((await deployment.suspicion(context.read)) !== null) return;
  const spooled = await listSpools(context.spoolFolder);
  const needed = spooled.length === 0 ? new Set<string>() : await leftBehind.needSpool(context.read, spooled);
  for (const id of spooled.filter((id) => !needed.has(id)))
    await context.step("clean.spool", () => removeSpool(context.spoolFolder, id));
  await expirePushedRows(context, signal);
  await context.step("clean.ledger", () => cleanLedger(context.database));
}

/**
 * Deletes what is left at the provider, as far as it can be deleted now: each batch is tried once. Returns how many
 * have files left, at most BATCHES_MAX.
 */
export async function forgetFiles(context: WorkerContext, signal: AbortSignal): Promise<number> {
  const tried = new Set<string>();
  for (;;) {
    const batches = await forgettableHere(context);
    const fresh = batches.filter(({ id }) => !tried.has(id));
    if (fresh.length === 0) return batches.length;
    for (const batch of fresh) {
      tried.add(batch.id);
      await forget(context, batch, signal);
    }
  }
}

/** At most BATCHES_MAX, of the accounts that their pipelines have now. */
async function forgettableHere(context: WorkerContext): Promise<leftBehind.Forgettable[]> {
  const accounts = [...context.pipelines.values()].map(({ provider }) => provider.account);
  const ours = { pipelineIds: [...context.pipelines.keys()], accounts };
  const all = await leftBehind.forgettable(context.read, ours, BATCHES_MAX);
  return all.filter(({ pipelineId, account }) => context.pipelines.get(pipelineId)?.provider.account === account);
}

/** Deletes pushed rows when their time is over, `source.keep`, and keeps their answers. One transaction a chunk. */
async function expirePushedRows(context: WorkerContext, signal: AbortSignal): Promise<void> {
  for (const pipeline of context.pipelines.values()) {
    const keepMs = pipeline.config.source.replica?.keepMs ?? null;
    if (keepMs === null) continue;
    for (let chunk = 0; chunk < CHUNKS_MAX; chunk++) {
      signal.throwIfAborted();
      if ((await guarded(context, pipeline, () => expireChunk(context, pipeline, keepMs))) !== "more") break;
    }
  }
}

async function expireChunk(context: WorkerContext, pipeline: Pipeline, keepMs: number): Promise<"more" | "done"> {
  const { expiries } = context.memory;
  const place = expiries.get(pipeline) ?? null;
  const expired = await context.step("clean.pushed", () =>
    context.database.transaction(
      async (tx) => {
        await replicas.lockAlone(tx, pipeline.config.name);
        await pipelines.lockIntake(tx, pipeline.id);
        if (!(await mayLook(tx, pipeline))) return null;
        const replica = await replicas.replicaOf(tx, pipeline.config.name);
        if (replica === null) return null;
        const of = { pipelineId: pipeline.id, replica };
        return expiry.expireRows(tx, of, { keepMs, place, max: PUSHED_ROWS_MAX });
      },
      { lockTimeoutMs: LOCK_MS_MAX },
    ),
  );
  const next = expired?.place ?? null;
  if (next === null) {
    expiries.delete(pipeline);
    return "done";
  }
  expiries.set(pipeline, next);
  return "more";
}

async function cleanLedger(database: Database): Promise<void> {
  await arrivals.dropForeignArrivals(database);
  await counts.foldCounts(database);
  await refusedKeys.forgetFormerRefusals(database);
  await workers.removeSpentJobs(database, JOBS_MAX);
  await workers.removeSpentQueues(database, JOBS_MAX);
  const old = { olderThanDays: UNUSED_ANSWER_DAYS, max: ANSWERS_MAX };
  await attempts.forgetUnusedAnswers(database, old);
  await tries.forgetTexts(database, old);
}

/** What cannot be deleted now is tried again in the next round. */
async function forget(
  context: WorkerContext,
  { id, pipelineId, account, batch, staged }: leftBehind.Forgettable,
  signal: AbortSignal,
): Promise<void> {
  const pipeline = context.pipelines.get(pipelineId);
  if (!pipeline || pipeline.provider.account !== account) return;
  if (!pipeline.config.files.keep && (batch !== null || staged !== null)) {
    try {
      if (!(await lookOnce(context, pipeline.provider, signal))) return;
      await context.step("clean.forget", () => pipeline.provider.forget({ batch, staged }, { signal }));
    } catch (error) {
      // Stopping is no failure of the provider, and no reason for a warning.
      signal.throwIfAborted();
      if (!(error instanceof ProviderError)) throw error;
      context.log.warn({ batch: id, err: error }, "files could not be deleted at the provider; trying again later");
      return;
    }
  }
  await context.step("clean.noted", () => leftBehind.noteForgotten(context.database, id));
}
