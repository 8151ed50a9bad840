/**
 * Takes a batch that other code created at the provider into the ledger, so that poller and collector treat it as any
 * other. Costs nothing and changes nothing at the provider. One transaction: a crash leaves no trace, and a batch can
 * be adopted once.
 */
import { randomUUID } from "node:crypto";
import { RowmillError } from "../../model/errors.js";
import type { PipelineConfig } from "../../model/pipeline.js";
import { ProviderError, type Inputs, type ProviderBatch } from "../../model/provider/provider.js";
import type { Database, Queryable } from "../../postgres/database.js";
import { READ_KEYS_MAX } from "../../sources/source.js";
import * as adoptions from "../../store/batches/adoption.js";
import * as overview from "../../store/ledger/overview.js";
import * as wake from "../../store/ledger/wake.js";
import * as pipelines from "../../store/pipelines/pipelines.js";
import type { Pipeline, WorkerContext } from "../../worker/context.js";
import { requestBounds } from "../../worker/rounds/estimate.js";
import { catchUp } from "../../worker/rounds/intake.js";
import { configuredHash, openProject, type ProjectParts } from "../open/open-project.js";
import { readNamedLines, type NamedLine, type NamedLines } from "./adopt-lines.js";
import { billedAs, insertTaken, takeRows, type Matching } from "./take-over.js";

type LivingWorker = Awaited<ReturnType<typeof overview.livingWorkers>>[number];

export interface OpenedForAdoption {
  readonly context: WorkerContext;
  /** One that runs; it may have this pipeline in its config or not. Null: none runs. */
  readonly worker: LivingWorker | null;
}

/** As `up` would. @throws RowmillError `refused` when a running worker, which would stop, has another definition */
export async function openForAdoption(parts: ProjectParts, config: PipelineConfig): Promise<OpenedForAdoption> {
  const worker = await workerOf(parts.database, config);
  const context = await openProject({ ...parts, config: { ...parts.config, pipelines: [config] } });
  return { context, worker };
}

async function workerOf(database: Database, config: PipelineConfig): Promise<LivingWorker | null> {
  if (!(await overview.ledgerExists(database))) return null;
  const [worker = null] = await overview.livingWorkers(database);
  if (worker === null) return null;
  const row = (await pipelines.all(database)).find((known) => known.name === config.name);
  if (row === undefined || row.definitionHash === configuredHash(config)) return worker;
  throw new RowmillError(
    "refused",
    `Process ${worker.pid} on ${worker.host} uses a different config of "${config.name}" than this command.`,
    { hints: ["Restart it with this config, then adopt."] },
  );
}

export interface AdoptionCounts {
  /** Rows that wait for an answer: taken over. */
  readonly adopted: number;
  /** Rows that were answered, failed or left out: left alone. */
  readonly ended: number;
  /** Rows in another batch: left alone. */
  readonly inFlight: number;
  /** Names without a row. */
  readonly noRow: number;
}

export interface Adoption {
  readonly batch: ProviderBatch;
  readonly pattern: string;
  readonly lines: NamedLines;
  /** As it is now; when it is adopted something may have moved. */
  readonly expected: AdoptionCounts;
}

/** Looks at the batch and its rows, after the pipeline's sweep. Writes nothing. */
export async function prepareAdoption(
  context: WorkerContext,
  pipeline: Pipeline,
  wanted: { batchId: string; pattern: string; signal: AbortSignal },
): Promise<Adoption> {
  const inputs = requireInputs(pipeline);
  const batch = await retrieve(pipeline, wanted.batchId, wanted.signal);
  await refuseKnown(context.database, pipeline, batch);
  await requireAnswers(inputs, batch, wanted.signal);
  const lines = await readNamedLines(context, pipeline, { ...wanted, batch, inputs });
  await catchUp(context, pipeline, wanted.signal);
  const states = new Map<string, number>();
  for (let start = 0; start < lines.named.length; start += READ_KEYS_MAX) {
    const keys = lines.named.slice(start, start + READ_KEYS_MAX).map((line) => line.key);
    for (const [state, count] of await adoptions.countStatesOf(context.database, pipeline.id, keys))
      states.set(state, (states.get(state) ?? 0) + count);
  }
  const expected = countsOf(lines, states, states.get("waiting") ?? 0);
  if (expected.adopted === 0) throw nothingToTake(pipeline, lines, expected);
  return { batch, pattern: wanted.pattern, lines, expected };
}

function countsOf(lines: NamedLines, states: ReadonlyMap<string, number>, adopted: number): AdoptionCounts {
  const ended = ["succeeded", "failed", "cancelled"].reduce((sum, state) => sum + (states.get(state) ?? 0), 0);
  const inFlight = states.get("batched") ?? 0;
  return { adopted, ended, inFlight, noRow: lines.named.length - adopted - ended - inFlight };
}

async function retrieve(pipeline: Pipeline, id: string, signal: AbortSignal): Promise<ProviderBatch> {
  let batch: ProviderBatch;
  try {
    batch = await pipeline.provider.status(id, { signal });
  } catch (error) {
    if (!(error instanceof ProviderError) || error.kind !== "notFound") throw error;
    throw new RowmillError("not_found", `The provider has no batch "${id}" in this account.`, {
      cause: error,
      hints: [
        "A batch belongs to the account whose key created it.",
        `Rowmill asked ${pipeline.provider.accountText(pipeline.provider.account)}`,
      ],
    });
  }
  if (batch.mark !== null)
    throw new RowmillError("refused", `Rowmill created ${id} itself, and finds its own batches automatically.`);
  if (batch.status === "failed")
    throw new RowmillError("refused", `The provider refused ${id} and ran nothing, so there is nothing to collect.`);
  return batch;
}

async function refuseKnown(client: Queryable, pipeline: Pipeline, batch: ProviderBatch): Promise<void> {
  const known = await adoptions.findByProviderBatch(client, pipeline.provider.account, batch.id);
  if (known === null) return;
  throw new RowmillError("refused", `${batch.id} is already adopted, by the pipeline "${known.pipeline}".`, {
    hints: ["See its progress: rowmill status"],
  });
}

/** Else the collector could only pause the pipeline, with rows that wait for answers that are gone. */
async function requireAnswers(inputs: Inputs, batch: ProviderBatch, signal: AbortSignal): Promise<void> {
  if (!batch.terminal) return;
  const { gone } = await inputs.kept(batch, { signal });
  if (gone.length === 0) return;
  throw new RowmillError(
    "refused",
    `The provider no longer has the answers of ${batch.id}: its ${gone.join(" and ")} is gone.`,
    { hints: ["Nothing was adopted. To send and pay for these rows again: rowmill up"] },
  );
}

/** @throws RowmillError `refused` where the provider does not show what a batch asked. */
function requireInputs({ provider }: Pipeline): Inputs {
  if (provider.inputs !== null) return provider.inputs;
  throw new RowmillError(
    "refused",
    `${provider.title} does not show what a batch asked, so Rowmill cannot adopt batches of other code there.`,
    {
      hints: [
        "Collect it with the code that created it. Use source.where to skip rows that already have an answer " +
          "in the target.",
      ],
    },
  );
}

function nothingToTake(pipeline: Pipeline, lines: NamedLines, counts: AdoptionCounts): RowmillError {
  const { name, source } = pipeline.config;
  if (lines.named.length === 0) {
    const example = lines.unreadableExample;
    const such = example === null ? "" : `: the first is "${example}"`;
    return new RowmillError("refused", `No custom_id in the batch matches the pattern${such}.`, {
      hints: [
        `The key of ${name} is ${source.key.join(", ")}: use it as in --custom-id 'task-{${source.key[0] ?? "id"}}'`,
      ],
    });
  }
  return new RowmillError(
    "refused",
    `No row of the batch waits for an answer: ${counts.ended} done already, ${counts.inFlight} in another ` +
      `batch, ${counts.noRow} not in ${source.table}.`,
  );
}

const BY_KEY: Matching<NamedLine> = {
  lock: async (tx, { id }, lines) => {
    const byKey = new Map(lines.map((line) => [line.key, line]));
    const waiting = await adoptions.lockWaiting(tx, id, { keys: [...byKey.keys()] });
    return waiting.map((row) => ({ ...row, line: byKey.get(row.key) }));
  },
  isAsked: () => true,
};

export interface Adopted extends AdoptionCounts {
  /** Our own id of the batch. */
  readonly batchId: string;
}

/** @throws RowmillError `refused` when, by now, the batch or its rows were taken, or the pipeline was changed */
export async function adoptBatch(context: WorkerContext, pipeline: Pipeline, adoption: Adoption): Promise<Adopted> {
  const billed = billedAs(pipeline, adoption.lines.model, adoption.batch);
  const bounds = await requestBounds(context, pipeline, billed.rates);
  return context.database.transaction(async (tx) => {
    // Before the requests, as an intake does: so neither waits for the other with rows locked.
    await pipelines.lockIntake(tx, pipeline.id);
    await refuseKnown(tx, pipeline, adoption.batch);
    await requireCurrent(tx, pipeline);
    const { lines, batch, pattern, expected } = adoption;
    const { no, rows } = await takeRows(tx, { pipeline, lines: lines.named, matching: BY_KEY });
    if (rows === 0) throw nothingToTake(pipeline, lines, expected);
    const counts = { ...expected, adopted: rows, noRow: expected.noRow + expected.adopted - rows };
    const batchId = randomUUID();
    await insertTaken(tx, pipeline, {
      id: batchId,
      no,
      rows,
      batch,
      read: lines,
      billed,
      bounds,
      definitionHash: pipeline.definitionHash,
      pattern,
      detail: { pattern, lines: lines.lines, ...counts },
    });
    await wake.schedule(tx, batchId, 0);
    return { batchId, ...counts };
  });
}

async function requireCurrent(tx: Queryable, pipeline: Pipeline): Promise<void> {
  const row = await pipelines.byId(tx, pipeline.id);
  if (row !== null && row.uninstalledAt === null && row.definitionHash === pipeline.definitionHash) return;
  throw new RowmillError(
    "refused",
    `The pipeline "${pipeline.config.name}" was changed or uninstalled in the meantime.`,
    { hints: ["Nothing was adopted. Try again with the config that the worker uses."] },
  );
}
