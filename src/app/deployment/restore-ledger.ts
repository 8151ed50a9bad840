/**
 * "The former database is gone": what it had created at the provider, and this ledger does not know of, is taken over by our own
 * custom ids, so that answers that are paid for are collected and nothing is asked twice. Takes what is not sent back first, since
 * its rows may be in those batches. Each batch is one transaction; cut off, the same command goes on.
 */
import { randomUUID } from "node:crypto";
import { matchesContent } from "../../model/request/custom-id.js";
import {
  ProviderError,
  type Inputs,
  type Provider,
  type ProviderBatch,
} from "../../model/provider/provider.js";
import { contentsOf } from "../../sources/source.js";
import * as batches from "../../store/batches/batches.js";
import * as adoption from "../../store/batches/adoption.js";
import type { Queryable } from "../../postgres/database.js";
import { deploymentId } from "../../store/ledger/deployment.js";
import * as duplicates from "../../store/batches/duplicates.js";
import { lockIntake } from "../../store/pipelines/pipelines.js";
import * as recovery from "../../store/ledger/recovery.js";
import type { UnfinishedBatch } from "../../store/ledger/recovery.js";
import { listOurs, logUntold } from "../../worker/rounds/duplicates.js";
import { currentFingerprint, providersOf, type Pipeline, type WorkerContext } from "../../worker/context.js";
import { requestBounds } from "../../worker/rounds/estimate.js";
import { catchUp } from "../../worker/rounds/intake.js";
import { listSince } from "../../worker/rounds/provider-clock.js";
import { finishDecision, holdBack, withdrawUnsent } from "./decide-deployment.js";
import type { Place } from "../open/place-of-ledger.js";
import { billedAs, type Billed } from "../adopt/billed-as.js";
import { readLostLines, type LostLine, type LostLines } from "../adopt/lost-lines.js";

const CHUNK = 1_000;
/** Equals none: an answer counts only where the present definition would ask the same. */
const UNKNOWN_DEFINITION = "of a lost batch";

/** A batch of ours at the provider that the ledger does not know. */
export interface LostBatch {
  readonly batch: ProviderBatch;
  /** Null: the config has no pipeline of the name that it was created for. */
  readonly pipeline: Pipeline | null;
  /** Its answers are there, or will be. */
  readonly collectable: boolean;
  /** Requests in it, as the provider counts them. */
  readonly requests: number;
  /** Null: what it asked cannot be read back at this provider. */
  readonly inputs: Inputs | null;
  /** Its input can be read, which says what was asked. */
  readonly promptKnown: boolean;
  /** Parts of its results, in words. */
  readonly gone: readonly string[];
}

export interface Restoration {
  /** Newest first. */
  readonly lost: readonly LostBatch[];
  /** Titles of providers whose list shows nothing of ours, so that lost batches there are not found. */
  readonly unlisted: readonly string[];
  /** In flight here, and their answers were deleted at the provider: the former database had collected them. */
  readonly gone: readonly UnfinishedBatch[];
  /** Planned and not sent: taken back, and their rows wait again. */
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

async function lostBatches(
  context: WorkerContext,
  provider: Provider,
  signal: AbortSignal,
): Promise<ProviderBatch[]> {
  const deployment = await deploymentId(context.database);
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
  return { batch, pipeline, inputs, collectable, requests: batch.counts?.total ?? 0, promptKnown, gone };
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
    // Its pipeline pauses for it once work goes on, and says so; that must not keep this decision from being made.
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
  // The newest first: where two of them ask about one row, the later one does because the earlier one did not answer it.
  for (const lost of restoration.lost) {
    signal.throwIfAborted();
    const rows = await takeOver(context, lost, signal);
    adoptedRows += rows;
    if (rows > 0) adoptedBatches++;
  }
  const told = restoration.gone.map(({ id }) => id);
  await recovery.believeMissing(context.database, told);
  const reason = "this database was restored; the former one is gone";
  await finishDecision(context, place, { renamed: false, event: "restored", reason });
  return { adoptedBatches, adoptedRows };
}

/** Returns how many rows it will be asked for. */
async function takeOver(context: WorkerContext, lost: LostBatch, signal: AbortSignal): Promise<number> {
  const { batch, pipeline, collectable, inputs } = lost;
  if (pipeline === null || inputs === null || !collectable) {
    const reason = "created by a former state of this ledger; its answers cannot be read any more";
    await duplicates.noteUnneeded(context.database, {
      account: accountOf(context, lost),
      providerBatchId: batch.id,
      reason,
    });
    return 0;
  }
  const lines = await readLostLines(pipeline.provider, { batch, inputs, signal });
  const billed = billedAs(pipeline, lines.model, batch);
  const bounds = await requestBounds(context, pipeline, billed.rates);
  return context.database.transaction((tx) => adoptLost(tx, { lost, pipeline, lines, billed, bounds }));
}

function accountOf({ pipelines }: WorkerContext, { pipeline }: LostBatch): string {
  const [any] = pipelines.values();
  return (pipeline ?? any)?.provider.account ?? "";
}

interface Adopting {
  readonly lost: LostBatch;
  readonly pipeline: Pipeline;
  readonly lines: LostLines;
  readonly billed: Billed;
  readonly bounds: { readonly nanoUsdEach: number; readonly tokensEach: number };
}

async function adoptLost(
  tx: Queryable,
  { lost, pipeline, lines, billed, bounds }: Adopting,
): Promise<number> {
  const { batch } = lost;
  const { account } = pipeline.provider;
  // Before the requests, as an intake does: so neither waits for the other with rows locked.
  await lockIntake(tx, pipeline.id);
  if ((await adoption.findByProviderBatch(tx, account, batch.id)) !== null) return 0;
  const name = batch.mark?.batch ?? "";
  const id = (await recovery.isFreeId(tx, name)) ? name : randomUUID();
  const no = await batches.nextNumber(tx);
  let rows = 0;
  for (let start = 0; start < lines.named.length; start += CHUNK)
    rows += await takeChunk(tx, pipeline, { no, lines: lines.named.slice(start, start + CHUNK) });
  if (rows === 0) {
    const reason = "created by a former state of this ledger; none of its rows waits for an answer";
    await duplicates.noteUnneeded(tx, { account, providerBatchId: batch.id, reason });
    return 0;
  }
  await adoption.insertAdopted(tx, {
    id,
    no,
    pipelineId: pipeline.id,
    definitionHash: (lost.promptKnown && batch.mark?.definition) || UNKNOWN_DEFINITION,
    provider: pipeline.provider.name,
    account,
    ...billed,
    endpoint: pipeline.provider.endpoint,
    windowHours: pipeline.provider.limits.windowHours,
    requests: rows,
    reservedNanoUsd: Math.ceil(rows * bounds.nanoUsdEach),
    reservedTokens: batch.terminal ? 0 : Math.ceil(rows * bounds.tokensEach),
    providerBatchId: batch.id,
    providerStatus: batch.statusText,
    refs: batch.refs,
    createdAt: batch.createdAt,
    lines: lines.lines,
    bytes: lines.bytes,
    pattern: null,
    detail: { lines: lines.lines, adopted: rows },
  });
  if (lost.gone.length > 0) await recovery.believeMissing(tx, [id]);
  return rows;
}

/** The rows that wait, and still have the content that was asked. */
async function takeChunk(
  tx: Queryable,
  pipeline: Pipeline,
  chunk: { no: number; lines: readonly LostLine[] },
): Promise<number> {
  const lines = new Map(chunk.lines.map((line) => [line.name.requestId, line]));
  const waiting = await recovery.lockWaitingById(tx, pipeline.id, [...lines.keys()]);
  const byKey = new Map(waiting.map(({ id, key }) => [key, { id, line: lines.get(id) }]));
  let taken = 0;
  for await (const rows of contentsOf(pipeline.source, tx, [...byKey.keys()])) {
    const requests = rows.flatMap(({ key, hash, cells }) => {
      const { id, line } = byKey.get(key) ?? {};
      if (id === undefined || line === undefined || !matchesContent(line.name, hash)) return [];
      const fingerprint = line.fingerprint ?? currentFingerprint(pipeline, cells);
      return [{ id, hash, fingerprint, room: line.room, customId: line.customId, line: line.line }];
    });
    taken += await adoption.takeAdopted(tx, { no: chunk.no, pipelineId: pipeline.id }, requests);
  }
  return taken;
}
