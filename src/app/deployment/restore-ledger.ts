/**
 * "The previous database is gone": adopts what it created at the provider and this ledger does not know, by our own
 * custom ids, so that paid answers are collected and nothing is asked twice. Withdraws what is not sent first, since
 * its rows may be in those batches. Each batch is one transaction; after an interruption, the same command continues.
 */
import { randomUUID } from "node:crypto";
import { matchesContent, parseCustomId, type CustomId } from "../../model/request/custom-id.js";
import { ProviderError, type Provider, type ProviderBatch } from "../../model/provider/provider.js";
import type { Queryable } from "../../postgres/database.js";
import * as adoptions from "../../store/batches/adoption.js";
import * as duplicates from "../../store/batches/duplicates.js";
import * as deployments from "../../store/ledger/deployment.js";
import * as recovery from "../../store/ledger/recovery.js";
import type { UnfinishedBatch } from "../../store/ledger/recovery.js";
import * as pipelines from "../../store/pipelines/pipelines.js";
import { providersOf, type Pipeline, type WorkerContext } from "../../worker/context.js";
import { listOurs, logUntold } from "../../worker/rounds/duplicates.js";
import { requestBounds } from "../../worker/rounds/estimate.js";
import { catchUp } from "../../worker/rounds/intake.js";
import { listSince } from "../../worker/rounds/provider-clock.js";
import { batchLines, type Reading } from "../adopt/batch-lines.js";
import { billedAs, insertTaken, takeRows, type Billed, type Matching, type TakenLine } from "../adopt/take-over.js";
import type { Place } from "../open/place-of-ledger.js";
import { finishDecision, holdBack, withdrawUnsent } from "./decide-deployment.js";

/** Equals none: an answer counts only where the present definition would ask the same. */
const UNKNOWN_DEFINITION = "of a lost batch";

/** A batch of ours at the provider that the ledger does not know: an orphan. */
export interface LostBatch {
  readonly batch: ProviderBatch;
  /** The one that lists it: its pipeline may use another account by now. */
  readonly provider: Provider;
  /** Null: the config has no pipeline of the name that it was created for. */
  readonly pipeline: Pipeline | null;
  /** Its answers exist, or will. */
  readonly collectable: boolean;
  /** Requests in it, as the provider counts them. */
  readonly requests: number;
  /** Its input can be read, which says what was asked. */
  readonly promptKnown: boolean;
  /** Parts of its results, in words. */
  readonly gone: readonly string[];
}

export interface Restoration {
  /** Newest first. */
  readonly lost: readonly LostBatch[];
  /** Titles of providers whose list shows no name of ours, so that lost batches are not found there. */
  readonly unlisted: readonly string[];
  /** In flight here, but without answers at the provider: the previous database had collected and deleted them. */
  readonly gone: readonly UnfinishedBatch[];
  /** Planned and not sent: withdrawn, so their rows wait again. */
  readonly unsent: readonly UnfinishedBatch[];
}

/** Looks at the ledger and at the provider. Writes nothing. */
export async function prepareRestore(context: WorkerContext, signal: AbortSignal): Promise<Restoration> {
  const unfinished = await recovery.unfinishedBatches(context.database);
  const unlisted: string[] = [];
  const lost: LostBatch[] = [];
  const gone: UnfinishedBatch[] = [];
  for (const provider of providersOf(context)) {
    if (provider.recovery.find === "circumstance") unlisted.push(provider.title);
    else
      for (const batch of await lostBatches(context, provider, signal))
        lost.push(await describeLost(context, provider, { batch, signal }));
    for (const batch of unfinished.filter(({ account, rows }) => account === provider.account && rows > 0))
      if (await isCollectedElsewhere(provider, batch, signal)) gone.push(batch);
  }
  const unsent = unfinished.filter(({ sent, pipelineId }) => !sent && context.pipelines.has(pipelineId));
  return { lost, unlisted, gone, unsent };
}

async function lostBatches(context: WorkerContext, provider: Provider, signal: AbortSignal): Promise<ProviderBatch[]> {
  const deployment = await deployments.deploymentId(context.database);
  const since = listSince(provider, provider.limits.resultsKeptHours * 3_600);
  const { ours, untold } = await listOurs(provider.list(since, { signal }), {
    deployment,
    recovery: provider.recovery,
  });
  logUntold(context.log, untold);
  const named = ours.map((batch) => ({ providerBatchId: batch.id, batchId: batch.mark?.batch ?? "" }));
  const unknown = new Set(
    await duplicates.orphansAmong(context.database, provider.account, named, { orNotRecorded: true }),
  );
  return ours.filter(({ id }) => unknown.has(id));
}

async function describeLost(
  context: WorkerContext,
  provider: Provider,
  { batch, signal }: { batch: ProviderBatch; signal: AbortSignal },
): Promise<LostBatch> {
  const name = batch.mark?.pipeline;
  const pipeline = [...context.pipelines.values()].find(({ config }) => config.name === name) ?? null;
  const { inputs } = provider;
  const kept = (await inputs?.kept(batch, { signal })) ?? { input: false, results: false, gone: [] };
  const collectable = pipeline !== null && inputs !== null && (!batch.terminal || kept.results);
  const promptKnown = collectable && kept.input;
  const { gone } = batch.terminal ? kept : { gone: [] };
  return { batch, provider, pipeline, collectable, requests: batch.counts?.total ?? 0, promptKnown, gone };
}

async function isCollectedElsewhere(
  provider: Provider,
  { providerBatchId }: UnfinishedBatch,
  signal: AbortSignal,
): Promise<boolean> {
  if (providerBatchId === null) return false;
  try {
    const batch = await provider.status(providerBatchId, { signal });
    return batch.terminal && ((await provider.inputs?.kept(batch, { signal }))?.gone.length ?? 0) > 0;
  } catch (error) {
    if (!(error instanceof ProviderError) || error.kind !== "notFound") throw error;
    // Its pipeline pauses for it once work resumes; that must not block this decision.
    return false;
  }
}

export interface RestoreCounts {
  readonly adoptedBatches: number;
  readonly adoptedRows: number;
}

export async function restoreLedger(
  context: WorkerContext,
  place: Place,
  { restoration, signal }: { restoration: Restoration; signal: AbortSignal },
): Promise<RestoreCounts> {
  await holdBack(context);
  for (const pipeline of context.pipelines.values()) await catchUp(context, pipeline, signal);
  const unfinished = await recovery.unfinishedBatches(context.database);
  await withdrawUnsent(context, unfinished, "the database was restored before the batch was sent");
  let adoptedBatches = 0;
  let adoptedRows = 0;
  // The newest first: where two of them ask about one row, the later one does because the earlier one did not answer
  // it.
  for (const lost of restoration.lost) {
    signal.throwIfAborted();
    const rows = await takeOver(context, lost, signal);
    adoptedRows += rows;
    if (rows > 0) adoptedBatches++;
  }
  const gone = restoration.gone.map(({ id }) => id);
  await recovery.believeMissing(context.database, gone);
  const reason = "this database was restored; the previous one is gone";
  await finishDecision(context, place, { renamed: false, event: "restored", reason });
  return { adoptedBatches, adoptedRows };
}

/** Returns how many rows it has. */
async function takeOver(context: WorkerContext, lost: LostBatch, signal: AbortSignal): Promise<number> {
  const { batch, provider, pipeline, collectable } = lost;
  const { account, inputs } = provider;
  if (pipeline === null || inputs === null || !collectable) {
    const reason = "created by an earlier state of this ledger; its answers can no longer be read";
    await duplicates.noteUnneeded(context.database, { account, providerBatchId: batch.id, reason });
    return 0;
  }
  const lines = await readLostLines({ provider, batch, inputs, signal });
  const billed = billedAs(pipeline, lines.model, batch);
  const bounds = await requestBounds(context, pipeline, billed.rates);
  return context.database.transaction((tx) => adoptLost(tx, { lost, pipeline, lines, billed, bounds }));
}

interface LostLine extends TakenLine {
  readonly name: CustomId;
}

interface LostLines {
  readonly named: readonly LostLine[];
  /** The model that was asked, else one that gave an answer; null: no line names one. */
  readonly model: string | null;
  readonly lines: number;
  readonly bytes: number;
}

async function readLostLines(reading: Reading): Promise<LostLines> {
  const named = new Map<string, LostLine>();
  let [lines, bytes] = [0, 0];
  let asked: string | null = null;
  let answeredBy: string | null = null;
  for await (const line of batchLines(reading)) {
    lines++;
    bytes += line.bytes;
    asked ??= line.model;
    answeredBy ??= line.answeredBy;
    const { customId, fingerprint, room } = line;
    const name = customId === null ? null : parseCustomId(customId);
    if (customId === null || name === null || named.has(name.requestId)) continue;
    named.set(name.requestId, { name, customId, fingerprint, room, line: lines });
  }
  return { named: [...named.values()], model: asked ?? answeredBy, lines, bytes };
}

interface Adopting {
  readonly lost: LostBatch;
  readonly pipeline: Pipeline;
  readonly lines: LostLines;
  readonly billed: Billed;
  readonly bounds: { readonly nanoUsdEach: number; readonly tokensEach: number };
}

async function adoptLost(tx: Queryable, { lost, pipeline, lines, billed, bounds }: Adopting): Promise<number> {
  const { batch, provider } = lost;
  const { account } = provider;
  // Before the requests, as an intake does: so neither waits for the other with rows locked.
  await pipelines.lockIntake(tx, pipeline.id);
  if ((await adoptions.findByProviderBatch(tx, account, batch.id)) !== null) return 0;
  const { no, rows } = await takeRows(tx, { pipeline, lines: lines.named, matching: BY_REQUEST });
  if (rows === 0) {
    const reason = "created by an earlier state of this ledger; no row of it waits for an answer";
    await duplicates.noteUnneeded(tx, { account, providerBatchId: batch.id, reason });
    return 0;
  }
  const name = batch.mark?.batch ?? "";
  const id = (await recovery.isFreeId(tx, name)) ? name : randomUUID();
  await insertTaken(
    tx,
    { id: pipeline.id, provider },
    {
      id,
      no,
      rows,
      batch,
      read: lines,
      billed,
      bounds,
      definitionHash: (lost.promptKnown && batch.mark?.definition) || UNKNOWN_DEFINITION,
      pattern: null,
      detail: { lines: lines.lines, adopted: rows },
    },
  );
  if (lost.gone.length > 0) await recovery.believeMissing(tx, [id]);
  return rows;
}

/** The rows that wait, and still have the content that was asked. */
const BY_REQUEST: Matching<LostLine> = {
  lock: async (tx, pipeline, lines) => {
    const byRequest = new Map(lines.map((line) => [line.name.requestId, line]));
    const waiting = await adoptions.lockWaiting(tx, pipeline.id, { ids: [...byRequest.keys()] });
    return waiting.map((row) => ({ ...row, line: byRequest.get(row.id) }));
  },
  isAsked: ({ name }, contentHash) => matchesContent(name, contentHash),
};
