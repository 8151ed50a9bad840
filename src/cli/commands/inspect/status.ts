/** `rowmill status`: every pipeline and batch. Reads only, and needs no API key. */
import { setTimeout as sleep } from "node:timers/promises";
import type { OpenedDatabase } from "../../../app/open/open-database.js";
import { accountWords, choiceOf, promisesOf } from "../../../app/open/providers.js";
import * as overview from "../../../store/ledger/overview.js";
import type { BatchOverview, PipelineOverview } from "../../../store/ledger/overview.js";
import { abandonCommand, heldText, type HeldBatch } from "../../../model/provider/account.js";
import * as failures from "../../../store/requests/failures.js";
import type { FailureGroup } from "../../../store/requests/failures.js";
import * as stuckBatches from "../../../store/batches/stuck-batches.js";
import * as money from "../../../store/batches/money.js";
import type { Cli, ProjectOptions } from "../../cli.js";
import { EXIT_STATUS } from "../../screen/exit-status.js";
import { interruptible } from "../../screen/interruption.js";
import { configOf, loadProject, notSetUp, requireBroughtForward, withLedger, type Project } from "../../project.js";
import { renderStatus } from "../../reports/status-text.js";
import { pausedText } from "../../screen/text.js";

const WATCH_EVERY_MS = 2_000;
/** Reading may take at most a tenth of the time. */
const WATCH_REST_FACTOR = 10;
const EVENTS_SHOWN = 8;
const BATCHES_SHOWN = 20;
const OVERDUE_SHOWN = 5;
const HELD_SHOWN = 5;
const WAITS_SHOWN = 5;
/** Per pipeline, to find the most common reason. */
const FAILED_ROWS_SEEN = 20_000;

export interface StatusOptions extends ProjectOptions {
  readonly json?: true;
  readonly watch?: true;
}

export async function runStatus(cli: Cli, options: StatusOptions): Promise<number> {
  const project = await loadProject(cli.terminal, options.config);
  if (options.watch) return watch(cli, project, options);
  return withLedger(project, async (opened) => {
    if (opened !== null) await requireBroughtForward(opened.database);
    if (options.json) {
      cli.terminal.data(JSON.stringify(await statusObject(project, opened)));
      return EXIT_STATUS.ok;
    }
    if (opened === null) throw notSetUp();
    const lines = await cli.terminal.during("Reading the status", () => statusLines(cli, project, opened));
    for (const line of lines) cli.terminal.print(line);
    return EXIT_STATUS.ok;
  });
}

/** Ends when the interruption throws. */
async function watch(cli: Cli, project: Project, options: StatusOptions): Promise<number> {
  return interruptible(cli.terminal, null, (signal) =>
    withLedger(project, async (opened) => {
      if (opened === null && !options.json) throw notSetUp();
      if (opened !== null) await requireBroughtForward(opened.database);
      const showJson = jsonChanges(cli);
      for (;;) {
        const startedAtMs = performance.now();
        if (options.json || opened === null) showJson(JSON.stringify(await statusObject(project, opened)));
        else redraw(cli, await statusLines(cli, project, opened));
        const tookMs = performance.now() - startedAtMs;
        await rest(Math.max(WATCH_EVERY_MS, tookMs * WATCH_REST_FACTOR), signal);
      }
    }),
  );
}

async function rest(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal }).catch(() => signal.throwIfAborted());
}

function jsonChanges(cli: Cli): (text: string) => void {
  let before = "";
  return (text) => {
    if (text !== before) cli.terminal.data(text);
    before = text;
  };
}

function redraw({ terminal }: Cli, lines: readonly string[]): void {
  if (terminal.drawsOver) terminal.live(lines);
  else for (const line of [...lines, ""]) terminal.print(line);
}

async function statusObject(project: Project, opened: OpenedDatabase | null): Promise<object> {
  if (opened === null) return { pipelines: [], batches: [], workers: [], overdue: [], waits: [], providers: [] };
  const { database } = opened;
  const max = overview.BATCHES_SHOWN_MAX;
  const pipelines = await overview.pipelineOverviews(database);
  const top = await topFailures(opened, pipelines);
  const batches = await overview.batchOverviews(database, max);
  const overdue = await stuckBatches.overdue(database, { max });
  const held = new Map((await stuckBatches.held(database, { max })).map((batch) => [batch.id, batch]));
  const workers = await overview.livingWorkers(database);
  const waits = await money.accountWaits(database, WAITS_SHOWN);
  return {
    pipelines: pipelines.map((pipeline) => pipelineObject(project, pipeline, top.get(pipeline.id))),
    batches: batches.map((batch) => ({ ...batchObject(batch), ...heldObject(project, held.get(batch.id)) })),
    workers: workers.map(({ host, pid, startedAt }) => ({ host, pid, startedAt: startedAt.toISOString() })),
    // Without the time: `--watch` reports changes only.
    overdue: overdue.map(({ pipeline, providerBatchId, providerStatus }) => {
      return { pipeline, providerBatchId, providerStatus };
    }),
    waits: waits.map(({ provider, account, model, message }) => ({ provider, account, model, message })),
    providers: promisesOf(project).map(({ name, title, found, fenced, paidTwice }) => {
      return { name, title, found, fenced, paidTwice };
    }),
  };
}

/** By pipeline id; without an entry for those that have no failed row. */
async function topFailures(
  { database }: OpenedDatabase,
  pipelines: readonly PipelineOverview[],
): Promise<ReadonlyMap<number, FailureGroup>> {
  const pipelineIds = pipelines.filter(({ failed }) => failed > 0).map(({ id }) => id);
  if (pipelineIds.length === 0) return new Map();
  const { groups } = await failures.readFailures(database, { pipelineIds, groupsMax: 1, rowsMax: FAILED_ROWS_SEEN });
  return new Map(groups.map((group) => [group.pipelineId, group]));
}

function pipelineObject(project: Project, pipeline: PipelineOverview, top: FailureGroup | undefined): object {
  const { name, waiting, batched, succeeded, failed, cancelled, gone, unnamed, undecided } = pipeline;
  const paused = pausedText(pipeline, configOf(project, name));
  const topFailure =
    top === undefined ? null : { reason: top.reason, rows: top.rows, key: top.key, message: top.message };
  return { name, waiting, batched, succeeded, failed, cancelled, gone, paused, unnamed, undecided, topFailure };
}

function batchObject(batch: BatchOverview): object {
  const { id, pipeline, state, provider, providerBatchId, presumed, requests } = batch;
  const { succeeded, failed, returned } = batch;
  return { id, pipeline, state, provider, providerBatchId, presumed, requests, succeeded, failed, returned };
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

async function statusLines(cli: Cli, project: Project, opened: OpenedDatabase): Promise<string[]> {
  const { database, place } = opened;
  const overviews = await overview.pipelineOverviews(database);
  const top = await topFailures(opened, overviews);
  return renderStatus(
    {
      place,
      pipelines: overviews.map((pipeline) => ({
        ...pipeline,
        paused: pausedText(pipeline, configOf(project, pipeline.name)),
        pausedByUser: pipeline.pauseKind === "person",
        topFailure: top.get(pipeline.id) ?? null,
      })),
      money: await overview.moneyOverviews(database),
      batches: await overview.batchOverviews(database, BATCHES_SHOWN),
      waits: (await money.accountWaits(database, WAITS_SHOWN)).map((wait) => ({
        ...wait,
        place: accountWords(project, wait.provider).accountText(wait.account),
      })),
      held: (await stuckBatches.held(database, { max: HELD_SHOWN })).map((batch) => heldWords(project, batch)),
      overdue: await stuckBatches.overdue(database, { max: OVERDUE_SHOWN }),
      events: await overview.lastEvents(database, EVENTS_SHOWN),
      workers: await overview.livingWorkers(database),
      promises: promisesOf(project),
    },
    cli.terminal,
  );
}
