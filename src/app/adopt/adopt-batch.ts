/**
 * Takes a batch that other code created at the provider into the ledger, so that poller and collector go on with it as with any
 * other. Costs nothing and changes nothing at the provider. Everything is one transaction: a crash leaves no trace, and a batch can be
 * adopted once.
 */
import { randomUUID } from "node:crypto";
import { RowmillError } from "../../model/errors.js";
import { ProviderError, type Inputs, type ProviderBatch } from "../../model/provider/provider.js";
import { contentsOf, READ_KEYS_MAX } from "../../sources/source.js";
import {
  countStatesOf,
  findByProviderBatch,
  insertAdopted,
  lockWaiting,
  takeAdopted,
} from "../../store/batches/adoption.js";
import * as batches from "../../store/batches/batches.js";
import * as wake from "../../store/ledger/wake.js";
import type { Queryable } from "../../postgres/database.js";
import * as pipelines from "../../store/pipelines/pipelines.js";
import { currentFingerprint, type Pipeline, type WorkerContext } from "../../worker/context.js";
import { requestBounds } from "../../worker/rounds/estimate.js";
import { catchUp } from "../../worker/rounds/intake.js";
import { billedAs } from "./billed-as.js";
import { readNamedLines, type NamedLine, type NamedLines } from "./adopt-lines.js";

/** Rows whose requests are taken by one statement. */
const CHUNK = 1_000;

export interface AdoptionCounts {
  /** Rows that wait and are taken over. */
  readonly adopted: number;
  /** Rows that have their ending: left alone. */
  readonly ended: number;
  /** Rows in another batch: left alone. */
  readonly inFlight: number;
  /** Names of no row, or of one that is gone. */
  readonly noRow: number;
}

export interface Adoption {
  readonly batch: ProviderBatch;
  readonly pattern: string;
  readonly lines: NamedLines;
  /** As it is now; when it is adopted something may have moved. */
  readonly expected: AdoptionCounts;
}

/** Looks at the batch and at the rows that it names. The pipeline's sweep must be done. Writes nothing. */
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
    for (const [state, count] of await countStatesOf(context.database, pipeline.id, keys))
      states.set(state, (states.get(state) ?? 0) + count);
  }
  const expected = countsOf(lines, states, states.get("waiting") ?? 0);
  if (expected.adopted === 0) throw nothingToTake(pipeline, lines, expected);
  return { batch, pattern: wanted.pattern, lines, expected };
}

function countsOf(lines: NamedLines, states: ReadonlyMap<string, number>, adopted: number): AdoptionCounts {
  const ended = ["succeeded", "failed", "cancelled"].reduce(
    (sum, state) => sum + (states.get(state) ?? 0),
    0,
  );
  const inFlight = states.get("batched") ?? 0;
  return { adopted, ended, inFlight, noRow: lines.named.length - adopted - ended - inFlight };
}

async function retrieve(pipeline: Pipeline, id: string, signal: AbortSignal): Promise<ProviderBatch> {
  let batch: ProviderBatch;
  try {
    batch = await pipeline.provider.status(id, { signal });
  } catch (error) {
    if (!(error instanceof ProviderError) || error.kind !== "notFound") throw error;
    throw new RowmillError("not_found", `The provider has no batch "${id}" for this key.`, {
      cause: error,
      hints: [
        "A batch belongs to the account whose key created it.",
        `Asked: ${pipeline.provider.accountText(pipeline.provider.account)}`,
      ],
    });
  }
  if (batch.mark !== null)
    throw new RowmillError(
      "refused",
      `${id} was created by Rowmill, which finds its own batches again by itself.`,
    );
  if (batch.status === "failed")
    throw new RowmillError(
      "refused",
      `The provider refused ${id}: it ran nothing, so there is nothing to collect.`,
    );
  return batch;
}

async function refuseKnown(client: Queryable, pipeline: Pipeline, batch: ProviderBatch): Promise<void> {
  const known = await findByProviderBatch(client, pipeline.provider.account, batch.id);
  if (known === null) return;
  throw new RowmillError(
    "refused",
    `${batch.id} was adopted already, for the pipeline "${known.pipeline}".`,
    {
      hints: ["To see how it stands: rowmill status"],
    },
  );
}

/** Without results that the batch had the collector could only pause the pipeline, with the rows bound to answers that nobody has. */
async function requireAnswers(inputs: Inputs, batch: ProviderBatch, signal: AbortSignal): Promise<void> {
  if (!batch.terminal) return;
  const { gone } = await inputs.kept(batch, { signal });
  if (gone.length === 0) return;
  throw new RowmillError(
    "refused",
    `The provider does not have the answers of ${batch.id} any more: its ${gone.join(" and ")} is gone.`,
    { hints: ["Nothing was adopted. To ask these rows anew, which is paid again: rowmill up"] },
  );
}

/** @throws RowmillError `refused` where the provider cannot say what a batch asked. */
function requireInputs({ provider }: Pipeline): Inputs {
  if (provider.inputs !== null) return provider.inputs;
  throw new RowmillError(
    "refused",
    `${provider.title} does not show what a batch asked, so a batch of other code cannot be adopted there.`,
    {
      hints: [
        "Collect it with the code that created it; rows that have an answer in the target can be left out by source.where.",
      ],
    },
  );
}

function nothingToTake(pipeline: Pipeline, lines: NamedLines, counts: AdoptionCounts): RowmillError {
  const { name, source } = pipeline.config;
  if (lines.named.length === 0) {
    const example = lines.unreadableExample;
    const such = example === null ? "" : `, such as "${example}"`;
    return new RowmillError("refused", `No line of the batch has a name that fits the pattern${such}.`, {
      hints: [
        `The key of ${name} is ${source.key.join(", ")}: write it as in 'task-{${source.key[0] ?? "id"}}'.`,
      ],
    });
  }
  return new RowmillError(
    "refused",
    `None of the rows that the batch names waits for an answer: ${counts.ended} have theirs, ${counts.inFlight} are in another batch, and ${counts.noRow} ${counts.noRow === 1 ? "is" : "are"} not in ${source.table}.`,
  );
}

export interface Adopted extends AdoptionCounts {
  /** Our own id of the batch. */
  readonly batchId: string;
}

/** @throws RowmillError `refused` when somebody else adopted it, took all of its rows, or changed the pipeline meanwhile. */
export async function adoptBatch(
  context: WorkerContext,
  pipeline: Pipeline,
  adoption: Adoption,
): Promise<Adopted> {
  const billed = billedAs(pipeline, adoption.lines.model, adoption.batch);
  const bounds = await requestBounds(context, pipeline, billed.rates);
  return context.database.transaction(async (tx) => {
    // One at a time, and before the requests, as an intake does: so neither waits for the other with rows locked.
    await pipelines.lockIntake(tx, pipeline.id);
    await refuseKnown(tx, pipeline, adoption.batch);
    await requireCurrent(tx, pipeline);
    const batchId = randomUUID();
    const no = await batches.nextNumber(tx);
    let adopted = 0;
    for (let start = 0; start < adoption.lines.named.length; start += CHUNK) {
      adopted += await takeChunk(tx, pipeline, {
        no,
        lines: adoption.lines.named.slice(start, start + CHUNK),
      });
    }
    if (adopted === 0) throw nothingToTake(pipeline, adoption.lines, adoption.expected);
    const counts = {
      ...adoption.expected,
      adopted,
      noRow: adoption.expected.noRow + adoption.expected.adopted - adopted,
    };
    await insertAdopted(tx, {
      id: batchId,
      no,
      ...describe(pipeline, adoption),
      ...billed,
      requests: adopted,
      reservedNanoUsd: Math.ceil(adopted * bounds.nanoUsdEach),
      reservedTokens: adoption.batch.terminal ? 0 : Math.ceil(adopted * bounds.tokensEach),
      detail: { pattern: adoption.pattern, lines: adoption.lines.lines, ...counts },
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
    `The pipeline "${pipeline.config.name}" was changed or uninstalled meanwhile.`,
    {
      hints: ["Nothing was adopted. Try again when the config is as it shall be."],
    },
  );
}

async function takeChunk(
  tx: Queryable,
  pipeline: Pipeline,
  chunk: { no: number; lines: readonly NamedLine[] },
): Promise<number> {
  const lines = new Map(chunk.lines.map((line) => [line.key, line]));
  const ids = new Map(
    (await lockWaiting(tx, pipeline.id, [...lines.keys()])).map((row) => [row.key, row.id]),
  );
  let taken = 0;
  for await (const rows of contentsOf(pipeline.source, tx, [...ids.keys()])) {
    const requests = rows.flatMap(({ key, hash, cells }) => {
      const id = ids.get(key);
      const line = lines.get(key);
      if (id === undefined || line === undefined) return [];
      return [
        {
          id,
          hash,
          fingerprint: currentFingerprint(pipeline, cells),
          room: line.room,
          customId: line.customId,
          line: line.line,
        },
      ];
    });
    taken += await takeAdopted(tx, { no: chunk.no, pipelineId: pipeline.id }, requests);
  }
  return taken;
}

function describe(pipeline: Pipeline, { batch, pattern, lines }: Adoption) {
  return {
    pipelineId: pipeline.id,
    definitionHash: pipeline.definitionHash,
    provider: pipeline.provider.name,
    account: pipeline.provider.account,
    endpoint: pipeline.provider.endpoint,
    windowHours: pipeline.provider.limits.windowHours,
    providerBatchId: batch.id,
    providerStatus: batch.statusText,
    refs: batch.refs,
    createdAt: batch.createdAt,
    lines: lines.lines,
    bytes: lines.bytes,
    pattern,
  };
}
