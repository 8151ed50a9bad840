/**
 * Compares source and ledger, chunk by chunk in key order: the backfill first, later what no trigger reported. It only
 * finds keys; `look.ts` decides what they mean. The position is saved after every chunk, so a crash costs one chunk,
 * and several workers share one sweep.
 */
import { boundedRead, READ_TIMEOUT_MS } from "../../postgres/bounded-read.js";
import { READ_KEYS_MAX } from "../../sources/source.js";
import * as pipelines from "../../store/pipelines/pipelines.js";
import type { Queryable } from "../../postgres/database.js";
import * as refusedKeys from "../../store/requests/refused-keys.js";
import { bisect } from "../../postgres/bisect.js";
import * as ledgerChunks from "../../store/requests/ledger-chunks.js";
import * as sweeps from "../../store/requests/sweeps.js";
import type { SweepPhase, SweepRow, SweepStep } from "../../store/requests/sweeps.js";
import type { Pipeline, WorkerContext } from "../context.js";
import { guarded, mayLook } from "../guard.js";
import { compareWithDefinition } from "./changed-definition.js";
import { lookAt } from "./look.js";

const SWEEP_EVERY_MS = 600_000;
/** Sweeping takes at most about a twentieth of the time. */
const SWEEP_REST_FACTOR = 20;
const CHUNK_TIMEOUT_MS = 60_000;

export interface SweepProgress {
  readonly phase: SweepPhase;
  readonly rowsSeen: number;
  readonly keysFound: number;
}

/** Does the next chunk of this pipeline's sweep, if one is due. Null: nothing to do, or another worker does it. */
export async function sweepChunk(context: WorkerContext, pipeline: Pipeline): Promise<SweepProgress | null> {
  const progress = await guarded(context, pipeline, () =>
    context.step("sweep.chunk", () =>
      context.database.transaction(
        async (tx) => {
          if (!(await mayLook(tx, pipeline))) return null;
          const sweep = await sweeps.lockSweep(tx, pipeline.id);
          if (sweep === null) return null;
          if (sweep.phase === "idle" || isOutdated(pipeline, sweep)) return beginIfDue(tx, pipeline, sweep);
          const chunk = await doChunk(tx, pipeline, sweep);
          await sweeps.advanceSweep(tx, pipeline.id, chunk);
          return {
            phase: chunk.phase,
            rowsSeen: sweep.rowsSeen + chunk.rows,
            keysFound: sweep.keysFound + chunk.keys,
          };
        },
        { statementTimeoutMs: CHUNK_TIMEOUT_MS },
      ),
    ),
  );
  return progress;
}

async function beginIfDue(tx: Queryable, pipeline: Pipeline, sweep: SweepRow): Promise<SweepProgress | null> {
  const changed = sweep.sweptHash !== pipeline.definitionHash;
  if (!changed && !isSweepDue(sweep)) return null;
  await sweeps.startSweep(tx, pipeline.id, changed ? pipeline.definitionHash : null);
  return { phase: changed ? "definition" : "source", rowsSeen: 0, keysFound: 0 };
}

/** It began under another definition, by whose columns it compares. */
function isOutdated({ definitionHash }: Pipeline, sweep: SweepRow): boolean {
  return sweep.sweptHash !== definitionHash && sweep.definitionHash !== definitionHash;
}

/** For a pipeline whose present definition was swept. Pure. */
export function isSweepDue({
  wanted,
  mayRest,
  finishedAgoMs,
  lastedMs,
}: Pick<SweepRow, "wanted" | "mayRest" | "finishedAgoMs" | "lastedMs">): boolean {
  if (finishedAgoMs === null) return wanted;
  const restMs = (lastedMs ?? 0) * SWEEP_REST_FACTOR;
  if (finishedAgoMs > Math.max(SWEEP_EVERY_MS, restMs)) return true;
  return wanted && (!mayRest || finishedAgoMs > restMs);
}

async function doChunk(tx: Queryable, pipeline: Pipeline, sweep: SweepRow): Promise<SweepStep> {
  if (sweep.phase === "source") return sourceChunk(tx, pipeline, sweep);
  if (sweep.phase === "ledger") return goneChunk(tx, pipeline, sweep);
  const { cursor, moved } = await compareWithDefinition(tx, pipeline, sweep.cursor);
  // Before the source is compared: its content may be of other columns now.
  return { phase: cursor === null ? "source" : "definition", cursor, rows: 0, keys: moved, met: sweep.met };
}

async function sourceChunk(tx: Queryable, pipeline: Pipeline, sweep: SweepRow): Promise<SweepStep> {
  const chunk = await pipeline.source.compareChunk(tx, sweep, READ_KEYS_MAX);
  await lookAtFound(tx, pipeline, chunk.keys);
  if (chunk.cursor === null) await countKeyless(tx, pipeline);
  // Rows that this sweep found are known as they were just read.
  const met = String(BigInt(sweep.met) ^ BigInt(chunk.met));
  const afterAll = async (): Promise<SweepPhase> =>
    sweep.lastRequestId === "0" ? "idle" : afterRows(tx, { ...sweep, met });
  return {
    phase: chunk.cursor === null ? await afterAll() : "source",
    cursor: chunk.cursor,
    rows: chunk.rows,
    keys: chunk.keys.length,
    met,
  };
}

async function countKeyless(tx: Queryable, pipeline: Pipeline): Promise<void> {
  const found = await pipeline.source.countKeyless(tx);
  if (found === null) await refusedKeys.keepKeyless(tx, pipeline.id);
  else if (found.rows > 0) await refusedKeys.refuseKeyless(tx, pipeline.id, found);
}

async function goneChunk(tx: Queryable, pipeline: Pipeline, sweep: SweepRow): Promise<SweepStep> {
  const { keys, lastKey } = await goneKeys(tx, pipeline, {
    pipelineId: pipeline.id,
    after: sweep.cursor?.[0] ?? null,
    lastId: sweep.lastRequestId,
    max: READ_KEYS_MAX,
  });
  await lookAtFound(tx, pipeline, keys);
  return {
    phase: lastKey === null ? "idle" : "ledger",
    cursor: lastKey === null ? null : [lastKey],
    rows: 0,
    keys: keys.length,
    met: sweep.met,
  };
}

/** The ledger phase is skipped where every request's row was read. Finding out may take too long: then it is not. */
async function afterRows(tx: Queryable, { pipelineId, lastRequestId, met }: SweepRow): Promise<SweepPhase> {
  const all = await boundedRead(tx, READ_TIMEOUT_MS, () => ledgerChunks.metByAll(tx, pipelineId, lastRequestId));
  return all === met ? "idle" : "ledger";
}

/** One statement; where one row's data makes it fail, row by row. */
async function goneKeys(
  tx: Queryable,
  { source }: Pipeline,
  bounds: ledgerChunks.ChunkBounds,
): Promise<ledgerChunks.LedgerChunk> {
  let chunk: ledgerChunks.LedgerChunk | null = null;
  await bisect(
    tx,
    [bounds],
    async () => {
      chunk = await ledgerChunks.ledgerChunk(tx, bounds, source.inSql);
    },
    async () => {
      const { keys, lastKey } = await ledgerChunks.ledgerChunk(tx, bounds, null);
      chunk = { keys: await source.missingKeys(tx, keys), lastKey };
    },
  );
  return chunk ?? { keys: [], lastKey: null };
}

async function lookAtFound(tx: Queryable, pipeline: Pipeline, keys: readonly string[]): Promise<void> {
  if (keys.length === 0) return;
  await pipelines.lockIntake(tx, pipeline.id);
  await lookAt(tx, pipeline, { keys, since: null });
}
