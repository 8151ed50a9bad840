/**
 * Takes a provider batch into the ledger that did not plan it, with the waiting rows that it asks about. Runs in the
 * caller's transaction, under the pipeline's intake lock: a crash leaves no trace.
 */
import type { Json } from "../../model/pipeline.js";
import { ratesFor, type Rates } from "../../model/provider/pricing.js";
import type { ProviderBatch } from "../../model/provider/provider.js";
import type { Queryable } from "../../postgres/database.js";
import { contentsOf } from "../../sources/source.js";
import * as adoption from "../../store/batches/adoption.js";
import * as batches from "../../store/batches/batches.js";
import { currentFingerprint, type Pipeline } from "../../worker/context.js";

/** Rows that one statement takes. */
const CHUNK_ROWS = 1_000;

export interface Billed {
  readonly model: string;
  readonly rates: Rates;
}

/**
 * By the batch's own model, at the config's price if the config asks that model, else at the list price of the day on
 * which it was created. `model`: as its lines name it; null: the pipeline's own is the best guess.
 */
export function billedAs(
  { config }: Pipeline,
  model: string | null,
  { createdAt }: Pick<ProviderBatch, "createdAt">,
): Billed {
  const { provider, request } = config;
  const billed = model ?? request.model;
  const price = billed === request.model ? request.price : null;
  const at = createdAt === null ? new Date() : new Date(createdAt * 1_000);
  return { model: billed, rates: ratesFor(provider.dialect, { model: billed, price }, at) };
}

export interface TakenLine {
  readonly customId: string;
  /** Of what was asked; null: not known, so it counts as what the pipeline asks now. */
  readonly fingerprint: string | null;
  /** The most tokens that the answer may have; null: not known. */
  readonly room: number | null;
  /** 1-based, in the file that was read. */
  readonly line: number;
}

export interface Waiting<Line> {
  readonly id: string;
  readonly key: string;
  readonly line: Line | undefined;
}

/** Which rows wait for these lines, locked, and whether a line asks about the row as it is now. */
export interface Matching<Line> {
  lock(tx: Queryable, pipeline: Pipeline, lines: readonly Line[]): Promise<readonly Waiting<Line>[]>;
  isAsked(line: Line, contentHash: string): boolean;
}

interface Taking<Line> {
  readonly pipeline: Pipeline;
  readonly lines: readonly Line[];
  readonly matching: Matching<Line>;
}

/** Returns the batch's number, and how many rows it has: with none there is nothing to insert. */
export async function takeRows<Line extends TakenLine>(
  tx: Queryable,
  { pipeline, lines, matching }: Taking<Line>,
): Promise<{ no: number; rows: number }> {
  const no = await batches.nextNumber(tx);
  let rows = 0;
  for (let start = 0; start < lines.length; start += CHUNK_ROWS) {
    const waiting = await matching.lock(tx, pipeline, lines.slice(start, start + CHUNK_ROWS));
    const byKey = new Map(waiting.map((one) => [one.key, one]));
    for await (const contents of contentsOf(pipeline.source, tx, [...byKey.keys()])) {
      const requests = contents.flatMap(({ key, hash, cells }) => {
        const { id, line } = byKey.get(key) ?? {};
        if (id === undefined || line === undefined || !matching.isAsked(line, hash)) return [];
        const fingerprint = line.fingerprint ?? currentFingerprint(pipeline, cells);
        return [{ id, hash, fingerprint, room: line.room, customId: line.customId, line: line.line }];
      });
      rows += await adoption.takeAdopted(tx, { no, pipelineId: pipeline.id }, requests);
    }
  }
  return { no, rows };
}

interface Taken {
  readonly id: string;
  readonly no: number;
  readonly rows: number;
  readonly batch: ProviderBatch;
  readonly read: { readonly lines: number; readonly bytes: number };
  readonly billed: Billed;
  readonly bounds: { readonly nanoUsdEach: number; readonly tokensEach: number };
  readonly definitionHash: string;
  readonly pattern: string | null;
  readonly detail: Json;
}

/** After `takeRows`. */
export async function insertTaken(
  tx: Queryable,
  { provider, id }: Pick<Pipeline, "provider" | "id">,
  taken: Taken,
): Promise<void> {
  const { rows, batch, read, billed, bounds } = taken;
  await adoption.insertAdopted(tx, {
    id: taken.id,
    no: taken.no,
    pipelineId: id,
    definitionHash: taken.definitionHash,
    provider: provider.name,
    account: provider.account,
    ...billed,
    endpoint: provider.endpoint,
    windowHours: provider.limits.windowHours,
    requests: rows,
    reservedNanoUsd: Math.ceil(rows * bounds.nanoUsdEach),
    reservedTokens: batch.terminal ? 0 : Math.ceil(rows * bounds.tokensEach),
    providerBatchId: batch.id,
    providerStatus: batch.statusText,
    refs: batch.refs,
    createdAt: batch.createdAt,
    lines: read.lines,
    bytes: read.bytes,
    pattern: taken.pattern,
    detail: taken.detail,
  });
}
