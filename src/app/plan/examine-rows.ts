/**
 * Some of the rows that would go out, rendered as they would be: what their requests need, which rows cannot be asked,
 * and the first requests as they are. Bounded in rows, bytes and time; writes nothing.
 */
import { formatCustomId } from "../../model/request/custom-id.js";
import type { ModelRequest } from "../../model/provider/outcome.js";
import type { OutputSizes } from "../../model/request/output-limit.js";
import type { Encoder } from "../../model/provider/provider.js";
import type { Database, Queryable } from "../../postgres/database.js";
import { CONTENT_BYTES_MAX, tooLargeText, type SourceRow } from "../../sources/source.js";
import * as arrivals from "../../store/requests/arrivals.js";
import * as queue from "../../store/requests/queue.js";
import { firstAttempt, type Asking, type RowSample } from "../../worker/context.js";
import {
  boundsOf,
  encoderFor,
  lineBound,
  measureRequests,
  SAMPLE_ROWS,
  type RequestBounds,
} from "../../worker/rounds/estimate.js";
import { overWhole, type WholeLimits } from "../../worker/rounds/file-limits.js";
import type { RowFacts } from "./count-rows.js";
import type { PlannedRequest } from "./pipeline-plan.js";
import { reading } from "./reading.js";

/** Rows that are rendered to find those that cannot be asked. */
const ROWS_MAX = 500;
/** After this no further page is read. */
const EXAMINE_MS_MAX = 3_000;

export interface RowFault {
  readonly reason: "empty" | "unrenderable" | "tooLarge";
  readonly rows: number;
  /** The first one. */
  readonly key: string;
  readonly message: string;
}

export interface ExaminedRows {
  readonly read: number;
  readonly sample: RowSample;
  readonly bounds: RequestBounds;
  /** Of those that were read, how many ask what another one of them asked before. */
  readonly repeated: number;
  readonly faults: readonly RowFault[];
  readonly requests: readonly PlannedRequest[];
}

export interface ExaminingFacts {
  readonly rows: RowFacts;
  readonly limits: WholeLimits;
  readonly sizes: OutputSizes | null;
  readonly learned: { readonly tokens: number; readonly nanoUsd: number };
  readonly requestsShown: number;
}

/** A row's request, with what names it. */
interface Asked {
  readonly key: string;
  readonly hash: string;
  readonly request: ModelRequest;
}

interface Examining {
  readonly pipeline: Asking;
  readonly facts: ExaminingFacts;
  readonly faults: Map<RowFault["reason"], RowFault>;
  /** Fingerprints, at most ROWS_MAX. */
  readonly questions: Set<string>;
  repeated: number;
  /** The first rows' requests, from which the others' sizes are estimated. */
  readonly first: Asked[];
  firstBytes: number;
  read: number;
  measured: Measured | null;
}

interface Measured {
  readonly sample: RowSample;
  readonly bounds: RequestBounds;
  readonly encode: Encoder;
}

export async function examineRows(database: Database, pipeline: Asking, facts: ExaminingFacts): Promise<ExaminedRows> {
  const examining: Examining = {
    pipeline,
    facts,
    faults: new Map(),
    questions: new Set(),
    repeated: 0,
    first: [],
    firstBytes: 0,
    read: 0,
    measured: null,
  };
  let left: readonly string[] = await reading(database, (tx) => chooseKeys(tx, pipeline, facts.rows));
  const startedAt = performance.now();
  const isLate = () => examining.read > 0 && performance.now() - startedAt > EXAMINE_MS_MAX;
  while (left.length > 0 && !isLate()) {
    const keys = left;
    const read = await reading(database, (tx) => pipeline.source.readRows(tx, keys));
    for (const row of inOrder(read.rows, keys)) if (!isLate()) await examineRow(examining, row);
    left = read.left;
  }
  const measured = await measuredOf(examining);
  return {
    read: examining.read,
    sample: measured.sample,
    bounds: measured.bounds,
    repeated: examining.repeated,
    faults: [...examining.faults.values()],
    requests: examining.first.slice(0, facts.requestsShown).map((asked) => plannedRequest(pipeline, asked, measured)),
  };
}

function inOrder(rows: readonly SourceRow[], keys: readonly string[]): readonly SourceRow[] {
  const byKey = new Map(rows.map((row) => [row.key, row]));
  return keys.flatMap((key) => byKey.get(key) ?? []);
}

/** Of each kind of row that would go out as many as its share of them, in turns. */
async function chooseKeys(
  tx: Queryable,
  { id, source }: Asking,
  { unrecorded, waiting, arrived, compared }: RowFacts,
): Promise<readonly string[]> {
  const again = compared === null ? 0 : compared.answered + compared.failed;
  const total = (unrecorded?.rows ?? 0) + waiting + arrived + again;
  const share = (rows: number) => Math.ceil((ROWS_MAX * rows) / Math.max(total, ROWS_MAX));
  const kinds: (readonly string[])[] = [];
  if (unrecorded !== null && unrecorded.rows > 0) {
    const max = share(unrecorded.rows);
    const chosen = await source.sampleKeys(tx, { max, random: unrecorded.rows > max });
    kinds.push(chosen ?? (await source.sampleKeys(tx, { max, random: false })) ?? []);
  }
  if (waiting > 0) kinds.push(await queue.waitingSample(tx, id, share(waiting)));
  if (arrived > 0) kinds.push(await arrivals.arrivedSample(tx, id, share(arrived)));
  if (compared !== null) kinds.push(compared.keys.slice(0, share(again)));
  const longest = Math.max(0, ...kinds.map((keys) => keys.length));
  const inTurns = Array.from({ length: longest }, (_, at) => kinds.flatMap((keys) => keys.slice(at, at + 1)));
  return [...new Set(inTurns.flat())];
}

async function examineRow(examining: Examining, { key, hash, cells }: SourceRow): Promise<void> {
  const { pipeline, first } = examining;
  examining.read++;
  if (cells === null) return addFault(examining, key, { reason: "tooLarge", message: tooLargeText(hash) });
  const rendered = pipeline.render(cells);
  if (rendered.kind === "empty")
    return addFault(examining, key, { reason: "empty", message: "There is nothing to ask: its message is empty." });
  if (rendered.kind === "failed")
    return addFault(examining, key, { reason: "unrenderable", message: rendered.message });
  const asked = { key, hash, request: rendered.request };
  if (examining.measured === null && first.length < SAMPLE_ROWS && examining.firstBytes < CONTENT_BYTES_MAX) {
    first.push(asked);
    examining.firstBytes += Buffer.byteLength(asked.request.user) + Buffer.byteLength(asked.request.system ?? "");
    return;
  }
  checkSize(examining, asked, await measuredOf(examining));
}

/** Once the first rows are read; those of them that are too large are found then. */
async function measuredOf(examining: Examining): Promise<Measured> {
  if (examining.measured !== null) return examining.measured;
  const { pipeline, first, facts } = examining;
  const sample = await measureRequests(
    pipeline,
    first.map(({ request }) => request),
  );
  const bounds = boundsOf(pipeline, { sample, sizes: facts.sizes, learned: facts.learned, rates: pipeline.rates });
  const measured = { sample, bounds, encode: encoderFor(pipeline, bounds.ratio) };
  examining.measured = measured;
  for (const asked of first) checkSize(examining, asked, measured);
  return measured;
}

function checkSize(examining: Examining, asked: Asked, { encode, bounds }: Measured): void {
  const { pipeline, facts } = examining;
  const { line, boundTokens, fingerprint } = encodedOf(pipeline, asked, { encode, bounds });
  const bytes = Buffer.byteLength(line) + Buffer.byteLength(pipeline.provider.frame.separator);
  const bound = lineBound(pipeline.rates, { tokens: boundTokens, room: bounds.room });
  const message = overWhole(pipeline, { bytes, ...bound }, facts.limits);
  if (message !== null) return addFault(examining, asked.key, { reason: "tooLarge", message });
  if (examining.questions.has(fingerprint)) examining.repeated++;
  examining.questions.add(fingerprint);
}

function encodedOf(
  pipeline: Asking,
  { hash, request }: Asked,
  { encode, bounds }: Pick<Measured, "encode" | "bounds">,
) {
  const attempt = { ...firstAttempt(pipeline.config), maxOutputTokens: bounds.room };
  return encode(formatCustomId("1", 1, hash), request, attempt);
}

function addFault({ faults }: Examining, key: string, { reason, message }: Pick<RowFault, "reason" | "message">): void {
  const known = faults.get(reason);
  faults.set(reason, known === undefined ? { reason, rows: 1, key, message } : { ...known, rows: known.rows + 1 });
}

function plannedRequest(pipeline: Asking, asked: Asked, measured: Measured): PlannedRequest {
  const { system, user, schema, model } = asked.request;
  return {
    key: asked.key,
    model,
    maxOutputTokens: measured.bounds.room,
    system,
    user,
    schema: schema?.schema ?? null,
    line: encodedOf(pipeline, asked, measured).line,
  };
}
