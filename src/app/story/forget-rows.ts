/**
 * `rowmill forget`: erases every copy of rows that Rowmill has. One transaction a chunk of keys; after a crash the same
 * command erases the rest. What a provider has is deleted by the worker when a batch ends, as always; a batch that was
 * not sent yet is prepared again without these rows. Answers in your target go only on your word.
 */
import { compileAnswer } from "../../model/answer/answer.js";
import { RowmillError } from "../../model/errors.js";
import type { PipelineConfig } from "../../model/pipeline.js";
import { replicaTable } from "../../model/replica-name.js";
import { isConflict, type Database, type Queryable } from "../../postgres/database.js";
import { inspectTable, type SourceTable } from "../../sources/table/inspection.js";
import { createTableSource } from "../../sources/table/table-source.js";
import * as cancellation from "../../store/batches/cancellation.js";
import * as pipelines from "../../store/pipelines/pipelines.js";
import * as goneRows from "../../store/replicas/gone-rows.js";
import * as replicas from "../../store/replicas/replicas.js";
import * as arrivals from "../../store/requests/arrivals.js";
import * as forgetting from "../../store/requests/forgetting.js";
import type { HeldBatch } from "../../store/requests/forgetting.js";
import * as tries from "../../store/tries/tries.js";
import { fitTarget } from "../../targets/table/ensure.js";
import { targetOf } from "../open/bind-target.js";
import type { Target } from "../../targets/target.js";
import { keyParts, spelledKeys, spellKey } from "./row-key.js";

/** Keys of one transaction. */
const CHUNK_KEYS = 100;
/** Of a chunk that met a worker's transaction the wrong way round. */
const TRIES_MAX = 5;
const LOCK_TIMEOUT_MS = 10_000;
const BY = "you (rowmill forget)";

export interface Forgetting {
  readonly name: string;
  /** Null: it was never set up, and only tried. */
  readonly pipelineId: number | null;
  /** Undefined: the pipeline is no longer in the config. */
  readonly config: PipelineConfig | undefined;
  /** Null: the rows were not pushed. */
  readonly replica: replicas.Replica | null;
  /** Null: it cannot be read now. */
  readonly table: SourceTable | null;
  /** As the ledger spells them, each once. */
  readonly keys: readonly string[];
}

/** @throws RowmillError `usage` for a key that cannot be one of this pipeline */
export async function prepareForgetting(
  database: Database,
  given: {
    readonly name: string;
    readonly pipelineId: number | null;
    readonly config: PipelineConfig | undefined;
    readonly keys: readonly string[];
  },
): Promise<Forgetting> {
  const { name, pipelineId, config } = given;
  const replica = await replicas.replicaOf(database, name);
  const table = await database.transaction((tx) => tableOf(tx, config, replica), { readOnly: true });
  const keys = await database.transaction((tx) => spelled(tx, { table, config, replica }, given.keys), {
    readOnly: true,
  });
  return { name, pipelineId, config, replica, table, keys: [...new Set(keys)] };
}

async function tableOf(
  tx: Queryable,
  config: PipelineConfig | undefined,
  replica: replicas.Replica | null,
): Promise<SourceTable | null> {
  const pushed = replica && { table: replicaTable(replica.pipeline), key: replica.key, columns: replica.key };
  const source = config?.source ?? pushed;
  if (source === null) return null;
  try {
    return await inspectTable(tx, source);
  } catch (error) {
    // Its copies are erased all the same.
    if (error instanceof RowmillError && error.code === "source_unsupported") return null;
    throw error;
  }
}

async function spelled(
  tx: Queryable,
  { table, config, replica }: Pick<Forgetting, "table" | "config" | "replica">,
  given: readonly string[],
): Promise<string[]> {
  if (table !== null) return spelledKeys(tx, table, given);
  const columns = (replica?.key ?? config?.source.key)?.length ?? null;
  return Promise.all(given.map((key) => spellKey(tx, null, keyParts([key], columns))));
}

export interface Known {
  /** Of the keys, those that the ledger has. */
  readonly known: readonly string[];
  /** Those whose row is still in the user's table, or was when it was last read: it would be sent again. */
  readonly present: readonly string[];
  readonly batches: readonly HeldBatch[];
  /** Batches that are prepared again. */
  readonly unsent: readonly string[];
}

/** What there is to erase. Reads only. */
export async function lookAtRows(database: Database, wanted: Forgetting): Promise<Known> {
  const { pipelineId, config, replica, table, keys } = wanted;
  if (pipelineId === null) return { known: [], present: [], batches: [], unsent: [] };
  const rows = { pipelineId, keys };
  const of = (present: SourceTable) => ({ table: present, config, keys, id: pipelineId });
  return database.transaction(
    async (tx) => ({
      known: await forgetting.knownKeys(tx, rows),
      present: replica?.synced === false || table === null ? [] : await presentKeys(tx, of(table)),
      batches: await forgetting.heldBatches(tx, rows),
      unsent: await forgetting.unsentBatches(tx, rows),
    }),
    { readOnly: true },
  );
}

async function presentKeys(
  tx: Queryable,
  {
    table,
    config,
    keys,
    id,
  }: { table: SourceTable; config: PipelineConfig | undefined; keys: readonly string[]; id: number },
): Promise<readonly string[]> {
  const where = config?.source.where ?? null;
  const source = createTableSource(table, { pipelineId: id, where, skipBefore: null });
  const missing = new Set(await source.missingKeys(tx, keys));
  return keys.filter((key) => !missing.has(key));
}

export interface Forgotten {
  /** Requests that lost their rows. */
  readonly requests: number;
  /** Rows deleted from Rowmill's own copy of what was pushed. */
  readonly pushed: number;
  /** Questions of `rowmill try`. */
  readonly tried: number;
  /** Rows deleted from the target. */
  readonly answers: number;
}

/** `target`: answers there are deleted too; null: they stay. Stops between two chunks at the signal. */
export async function forgetRows(
  database: Database,
  wanted: Forgetting,
  { target, signal }: { readonly target: Target | null; readonly signal: AbortSignal },
): Promise<Forgotten> {
  const sum = { requests: 0, pushed: 0, tried: 0, answers: 0 };
  for (let start = 0; start < wanted.keys.length; start += CHUNK_KEYS) {
    signal.throwIfAborted();
    const keys = wanted.keys.slice(start, start + CHUNK_KEYS);
    const done = await unlessCrossed(() =>
      database.transaction((tx) => forgetChunk(tx, { ...wanted, keys }, target), { lockTimeoutMs: LOCK_TIMEOUT_MS }),
    );
    sum.requests += done.requests;
    sum.pushed += done.pushed;
    sum.tried += done.tried;
    sum.answers += done.answers;
  }
  return sum;
}

/** Locks as every stage does: pipeline, batches, requests, target. */
async function forgetChunk(
  tx: Queryable,
  { name, pipelineId, replica, keys }: Forgetting,
  target: Target | null,
): Promise<Forgotten> {
  if (pipelineId === null) return { requests: 0, pushed: 0, tried: await tries.eraseRows(tx, name, keys), answers: 0 };
  if (replica !== null) await replicas.lockAlone(tx, name);
  await pipelines.lockIntake(tx, pipelineId);
  for (const id of await forgetting.unsentBatches(tx, { pipelineId, keys }))
    await cancellation.want(tx, id, { by: BY, drops: false });
  const requests = await forgetting.eraseMany(tx, pipelineId, keys);
  const tried = await tries.eraseRows(tx, name, keys);
  const pushed = replica === null ? 0 : await goneRows.eraseRows(tx, replica, keys);
  const answers = target === null ? 0 : await target.erase(tx, keys);
  // After the deletions: their triggers report them.
  await arrivals.dropKeys(tx, pipelineId, keys);
  return { requests, pushed, tried, answers };
}

async function unlessCrossed<T>(work: () => Promise<T>): Promise<T> {
  for (let tried = 1; ; tried++) {
    try {
      return await work();
    } catch (error) {
      if (tried === TRIES_MAX || !isConflict(error)) throw error;
    }
  }
}

/** The target whose answers are to be deleted. @throws RowmillError `refused` where it has no rows of its own */
export async function answersOf(database: Database, { name, pipelineId, config, table }: Forgetting): Promise<Target> {
  if (config === undefined || table === null)
    throw new RowmillError(
      "refused",
      `Rowmill cannot delete answers of ${name}: ` +
        (config === undefined ? "it is no longer in the config." : "its source cannot be read."),
      { hints: ["Delete them yourself, from the target table. Then run the command without --answers."] },
    );
  const answer = compileAnswer(config.answer).columns;
  const found = await database.transaction((tx) => fitTarget(tx, { config: config.target, source: table, answer }));
  if (typeof found === "string") throw new RowmillError("refused", found);
  const target = targetOf(config, pipelineId, found);
  if (target.isSource)
    throw new RowmillError("refused", `The answers of ${name} are in the rows of your own table ${table.qualified}.`, {
      hints: ["Delete those rows yourself, or empty the columns. Then run the command without --answers."],
    });
  return target;
}
