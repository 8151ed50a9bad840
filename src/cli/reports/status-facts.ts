/** Reads everything that `rowmill status` shows, as facts for a terminal and as an object for programs. */
import { heldBackText } from "../../app/story/held-back.js";
import type { OpenedDatabase } from "../../app/open/open-database.js";
import { accountWords, choiceOf, promisesOf } from "../../app/open/providers.js";
import type { OverdueBatch } from "../../model/batch/overdue.js";
import { abandonCommand, heldText, type HeldBatch } from "../../model/provider/account.js";
import * as batchProgress from "../../store/batches/batch-progress.js";
import type { BatchProgress } from "../../store/batches/batch-progress.js";
import * as money from "../../store/batches/money.js";
import type { AccountWait } from "../../store/batches/money.js";
import * as stuckBatches from "../../store/batches/stuck-batches.js";
import * as deliverers from "../../store/deliveries/deliverers.js";
import type { Standing } from "../../store/deliveries/deliverers.js";
import * as overview from "../../store/ledger/overview.js";
import type { BatchOverview, LivingWorker, PipelineOverview } from "../../store/ledger/overview.js";
import * as refusedPushes from "../../store/replicas/refused-pushes.js";
import type { ListedRefusal } from "../../store/replicas/refused-pushes.js";
import * as syncOverview from "../../store/syncs/sync-overview.js";
import type { SyncOverview } from "../../store/syncs/sync-overview.js";
import * as failures from "../../store/requests/failures.js";
import type { FailureGroup } from "../../store/requests/failures.js";
import { configOf, type Project } from "../project.js";
import { pausedText } from "../screen/text.js";
import type { StatusFacts } from "./status-text.js";
import type { WatchFacts } from "./watch-text.js";

const EVENTS_SHOWN = 8;
const BATCHES_SHOWN = 20;
const OVERDUE_SHOWN = 5;
const HELD_SHOWN = 5;
const WAITS_SHOWN = 5;
const REFUSED_PUSHES_SHOWN = 5;
/** Per pipeline, to find the most common reason. */
const FAILED_ROWS_SEEN = 20_000;
/** More rows than a terminal has. */
const FRAME_LINES_MAX = 200;

export async function readFacts(project: Project, opened: OpenedDatabase): Promise<StatusFacts> {
  const { database } = opened;
  return {
    ...(await readCommon(project, opened)),
    batches: await overview.batchOverviews(database, BATCHES_SHOWN),
    progress: await batchProgress.unfinished(database, BATCHES_SHOWN),
  };
}

/** For a frame of a terminal, again and again: without the list of ended batches. */
export async function readFrame(project: Project, opened: OpenedDatabase): Promise<WatchFacts> {
  const { database } = opened;
  return {
    ...(await readCommon(project, opened)),
    batches: [],
    progress: await batchProgress.unfinished(database, FRAME_LINES_MAX),
    ended: await batchProgress.summedUp(database),
  };
}

async function readCommon(
  project: Project,
  opened: OpenedDatabase,
): Promise<Omit<StatusFacts, "batches" | "progress">> {
  const { database, place } = opened;
  const overviews = await overview.pipelineOverviews(database);
  const top = await topFailures(opened, overviews);
  const heldBack = await heldBackRows(project, opened, overviews);
  return {
    place,
    pipelines: overviews.map((pipeline) => ({
      ...pipeline,
      paused: pausedText(pipeline, configOf(project, pipeline.name)),
      heldBack: heldBack.get(pipeline.id) ?? null,
      topFailure: top.get(pipeline.id) ?? null,
    })),
    money: await overview.moneyOverviews(database),
    waits: (await money.accountWaits(database, WAITS_SHOWN)).map((wait) => ({
      ...wait,
      place: accountWords(project, wait.provider).accountText(wait.account),
    })),
    held: (await stuckBatches.held(database, { max: HELD_SHOWN })).map((batch) => heldWords(project, batch)),
    overdue: await stuckBatches.overdue(database, { max: OVERDUE_SHOWN }),
    refusedPushes: await refusedPushes.listRecent(database, REFUSED_PUSHES_SHOWN),
    syncs: await syncOverview.list(database),
    deliveries: await deliverers.standings(database),
    events: await overview.lastEvents(database, EVENTS_SHOWN),
    workers: await overview.livingWorkers(database),
    promises: promisesOf(project),
  };
}

export async function statusObject(project: Project, opened: OpenedDatabase | null): Promise<object> {
  if (opened === null)
    return {
      pipelines: [],
      batches: [],
      workers: [],
      overdue: [],
      waits: [],
      refusedPushes: [],
      syncs: [],
      providers: [],
    };
  const pipelines = await overview.pipelineOverviews(opened.database);
  const top = await topFailures(opened, pipelines);
  const heldBack = await heldBackRows(project, opened, pipelines);
  const delivering = new Map((await deliverers.standings(opened.database)).map((one) => [one.pipelineId, one]));
  const batches = await overview.batchOverviews(opened.database, overview.BATCHES_SHOWN_MAX);
  const progress = new Map(
    (await batchProgress.unfinished(opened.database, overview.BATCHES_SHOWN_MAX)).map((batch) => [batch.id, batch]),
  );
  const overdue = await stuckBatches.overdue(opened.database, { max: overview.BATCHES_SHOWN_MAX });
  const held = new Map(
    (await stuckBatches.held(opened.database, { max: overview.BATCHES_SHOWN_MAX })).map((batch) => [batch.id, batch]),
  );
  return {
    pipelines: pipelines.map((pipeline) => ({
      ...pipelineObject(project, pipeline, top.get(pipeline.id)),
      ...heldBackObject(heldBack.get(pipeline.id)),
      ...deliveriesObject(delivering.get(pipeline.id)),
    })),
    batches: batches.map((batch) => ({
      ...batchObject(batch),
      ...progressObject(progress.get(batch.id)),
      ...heldObject(project, held.get(batch.id)),
    })),
    workers: (await overview.livingWorkers(opened.database)).map(workerObject),
    overdue: overdue.map(overdueObject),
    waits: (await money.accountWaits(opened.database, WAITS_SHOWN)).map(waitObject),
    refusedPushes: (await refusedPushes.listRecent(opened.database, overview.BATCHES_SHOWN_MAX)).map(refusalObject),
    syncs: (await syncOverview.list(opened.database)).map(syncObject),
    providers: promisesOf(project).map(({ name, title, found, fenced, paidTwice }) => ({
      name,
      title,
      found,
      fenced,
      paidTwice,
    })),
  };
}

function syncObject({ nextMs, troubleMs, ...sync }: SyncOverview): object {
  return { ...sync, nextSeconds: seconds(nextMs), troubleSeconds: troubleMs === null ? null : seconds(troubleMs) };
}

function seconds(ms: number): number {
  return Math.round(ms / 1_000);
}

/** By pipeline id; without an entry for those that have no failed row. */
async function topFailures(
  { database }: OpenedDatabase,
  pipelines: readonly PipelineOverview[],
): Promise<ReadonlyMap<number, FailureGroup>> {
  const pipelineIds = pipelines.filter(({ failed }) => failed > 0).map(({ id }) => id);
  if (pipelineIds.length === 0) return new Map();
  const { groups } = await failures.readFailures(database, {
    pipelineIds,
    groupsMax: 1,
    rowsMax: FAILED_ROWS_SEEN,
  });
  return new Map(groups.map((group) => [group.pipelineId, group]));
}

/** By pipeline id; without an entry for those whose rows nothing holds back, or whose pause says why. */
async function heldBackRows(
  project: Project,
  { database }: OpenedDatabase,
  overviews: readonly PipelineOverview[],
): Promise<ReadonlyMap<number, string>> {
  const texts = new Map<number, string>();
  for (const pipeline of overviews) {
    if (pausedText(pipeline, configOf(project, pipeline.name)) !== null) continue;
    const text = await heldBackText(database, pipeline, project);
    if (text !== null) texts.set(pipeline.id, text);
  }
  return texts;
}

function pipelineObject(project: Project, pipeline: PipelineOverview, top: FailureGroup | undefined): object {
  const { name, waiting, batched, succeeded, failed, cancelled, gone, unnamed, undecided } = pipeline;
  const paused = pausedText(pipeline, configOf(project, name));
  const topFailure = top === undefined ? null : failureObject(top);
  return { name, waiting, batched, succeeded, failed, cancelled, gone, paused, unnamed, undecided, topFailure };
}

/** Only for pipelines whose waiting rows are held back. */
function heldBackObject(heldBack: string | undefined): object {
  return heldBack === undefined ? {} : { heldBack };
}

/** Only for pipelines whose target is elsewhere. */
function deliveriesObject(standing: Standing | undefined): object {
  if (standing === undefined) return {};
  const { target, waiting, delivered, stale, failed, reason, trouble, troubleSince, nextAt } = standing;
  const since = troubleSince?.toISOString() ?? null;
  const next = nextAt?.toISOString() ?? null;
  const inTrouble = trouble === null ? null : { message: trouble, since };
  return { deliveries: { target, waiting, delivered, stale, failed, reason, trouble: inTrouble, nextAt: next } };
}

function failureObject({ reason, rows, key, message }: FailureGroup): object {
  return { reason, rows, key, message };
}

function batchObject(batch: BatchOverview): object {
  const { id, pipeline, state, cancelWanted, provider, providerBatchId, presumed } = batch;
  const { requests, succeeded, failed, returned } = batch;
  return {
    id,
    pipeline,
    state,
    cancelWanted,
    provider,
    providerBatchId,
    presumed,
    requests,
    succeeded,
    failed,
    returned,
  };
}

/** Only for unfinished batches. Instants, not durations: `--watch` reports changes only. */
function progressObject(progress: BatchProgress | undefined): object {
  if (progress === undefined) return {};
  const { since, sentAt, providerStatus, providerCounts, usualMs, failures: tries, trouble } = progress;
  return {
    since: since.toISOString(),
    sentAt: sentAt?.toISOString() ?? null,
    usualMs: usualMs === null ? null : Math.round(usualMs),
    providerStatus,
    providerCounts,
    trouble: trouble === null ? null : { message: trouble.message, since: trouble.since.toISOString(), tries },
  };
}

/** Only for batches that wait for another account. */
function heldObject(project: Project, held: HeldBatch | undefined): object {
  if (held === undefined) return {};
  const { account, presentAccount } = held;
  const missing = accountWords(project, held.provider).accountVariables(account, presentAccount);
  return { held: { account, presentAccount, missing, abandon: abandonCommand(held) } };
}

function heldWords(project: Project, held: HeldBatch): ReturnType<typeof heldText> {
  const present = choiceOf(project, held.pipeline).dialect;
  return heldText(held, { of: accountWords(project, held.provider), present });
}

/** Without the time: `--watch` reports changes only. */
function overdueObject({ pipeline, providerBatchId, providerStatus }: OverdueBatch): object {
  return { pipeline, providerBatchId, providerStatus };
}

function waitObject({ provider, account, model, message }: AccountWait): object {
  return { provider, account, model, message };
}

function refusalObject({ pipeline, reason, pushes, rows, example, lastAt }: ListedRefusal): object {
  return { pipeline, reason, pushes, rows, example, lastAt: lastAt.toISOString() };
}

function workerObject({ host, pid, startedAt, configChangedAt }: LivingWorker): object {
  const changed = configChangedAt?.toISOString() ?? null;
  return { host, pid, startedAt: startedAt.toISOString(), configChangedAt: changed };
}
