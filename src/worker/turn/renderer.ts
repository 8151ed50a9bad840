/**
 * planned → uploading: renders the rows queued for a batch, as they are now, into its spool file. Only here requests
 * enter the batch. A row that is gone, empty, already answered or too large ends at once; what does not fit stays in
 * the queue. Nothing is spent yet: after a crash the batch is rendered again.
 */
import { formatCustomId } from "../../model/request/custom-id.js";
import {
  addLine,
  NOTHING_PACKED,
  pack,
  type LineSize,
  type PackedSoFar,
  type PackingLimits,
} from "../../model/request/packing.js";
import { tooLargeText, type SourceRow } from "../../sources/source.js";
import * as batches from "../../store/batches/batches.js";
import type { Queryable } from "../../postgres/database.js";
import * as estimates from "../../store/batches/estimates.js";
import * as attempts from "../../store/requests/attempts.js";
import * as inFlight from "../../store/batches/in-flight.js";
import type { QueueRow, Request, TakenRequest } from "../../store/batches/in-flight.js";
import * as money from "../../store/batches/money.js";
import * as queue from "../../store/requests/queue.js";
import type { Encoder } from "../../model/provider/provider.js";
import { firstAttempt, type Pipeline } from "../context.js";
import { pause } from "../guard.js";
import { encoderFor, lineBound, requestBounds, type RequestBounds } from "../rounds/estimate.js";
import { dollars, resumesText } from "../rounds/planner.js";
import { endingOf, undoRendering, withdraw, type EndingFacts } from "./ending.js";
import { fileLimits, type FileLimits } from "../rounds/file-limits.js";
import { DraftLines, openSpool, type SpoolWriter } from "../spool.js";
import { AGAIN, DONE, LOST, moveBatch, type BatchIn, type Next, type Turn } from "./turn.js";
import { userCodeTimer } from "../user-code.js";

type Planned = Turn<BatchIn<"planned">>;

interface Limits extends PackingLimits, FileLimits {
  /** The account's own limit; null: none was learned. */
  readonly tokensWhole: number | null;
}

/** Everything about the batch that lives in memory: a few numbers. */
interface Progress {
  packed: PackedSoFar;
  /** Set when no further line fits. */
  full: boolean;
  /** The first line that did not fit, for the next plan. */
  overflow: LineSize | null;
}

export async function render(turn: Planned): Promise<Next> {
  const { context, pipeline, batch } = turn;
  if (!(await undoRendering(turn))) return LOST;
  if (batch.definitionHash !== pipeline.definitionHash)
    return withdraw(turn, "the definition changed since it was planned");
  const bounds = await requestBounds(context, pipeline, batch.rates);
  const limits = await packingLimits(turn);
  const spool = await openSpool(context, batch.id, pipeline.provider.frame);
  const encode = encoderFor(pipeline, bounds.ratio);
  const progress: Progress = { packed: NOTHING_PACKED, full: false, overflow: null };
  try {
    if (!(await renderAllChunks(turn, { encode, room: bounds.room, limits, progress, spool }))) {
      spool.leave();
      return LOST;
    }
    return await finish(turn, spool, { progress, bounds });
  } catch (error) {
    await spool.abandon();
    throw error;
  }
}

/** Reserved money and tokens bind only where there is a budget or a known limit. */
async function packingLimits({ context, pipeline, batch }: Planned): Promise<Limits> {
  const learned = await context.step("render.limits", () =>
    context.database.transaction((tx) => money.lockLimits(tx, batch.account, batch.model)),
  );
  return {
    ...fileLimits(pipeline, learned),
    tokensWhole: learned.enqueuedTokens,
    tokensMax: learned.enqueuedTokens === null ? null : batch.reservedTokens,
    nanoUsdMax: pipeline.config.budget === null ? null : batch.reservedNanoUsd,
  };
}

interface Rendering {
  readonly encode: Encoder;
  /** Output tokens of an answer, unless the row's last one was cut short. */
  readonly room: number;
  readonly limits: Limits;
  readonly progress: Progress;
  readonly spool: SpoolWriter;
}

/** The requests of one row of the batch's queue that were read together. */
interface ReadChunk {
  /** The number of the queue's row. */
  readonly no: string;
  readonly asked: readonly { readonly request: Request; readonly row: SourceRow | undefined }[];
  /** Ids that were not read, for the next chunk. */
  readonly left: readonly string[];
}

/** Reads the queue's next row while this one is taken, unless this one takes more reads. False: the lease is lost. */
async function renderAllChunks(turn: Planned, rendering: Rendering): Promise<boolean> {
  let read = await readNext(turn, null);
  while (read !== null && !rendering.progress.full) {
    turn.signal.throwIfAborted();
    const ahead = read.left.length > 0 ? Promise.resolve(null) : readNext(turn, read.no);
    const [done, next] = await bothOf(renderChunk(turn, rendering, read), ahead);
    if (done === null) return false;
    // What there was no room or time for is still in the queue.
    read = done.left > 0 ? await readNext(turn, null) : next;
  }
  return true;
}

/** Waits for both, so that nothing runs on after an error. @throws the first one's error, else the second one's */
async function bothOf<A, B>(first: Promise<A>, second: Promise<B>): Promise<[A, B]> {
  await Promise.allSettled([first, second]);
  return [await first, await second];
}

/** The row of the queue after this one; null: there is none. */
function readNext({ context, pipeline, batch }: Planned, after: string | null): Promise<ReadChunk | null> {
  return context.step("render.read", () =>
    context.database.transaction(
      async (tx) => {
        const queued = await inFlight.nextOfBatch(tx, batch.no, after);
        return queued === null ? null : readChunk(pipeline, tx, queued);
      },
      { readOnly: true },
    ),
  );
}

/**
 * Renders as many requests as the queue's row has, as fit into memory, or as there is time for. No lock is held while
 * rows are read and the user's functions run; then one transaction takes those that still wait unchanged into the
 * batch, and only their lines go into the file. A crash before the file is whole costs the whole rendering. Null: the
 * lease is lost.
 */
async function renderChunk(
  turn: Planned,
  rendering: Rendering,
  read: ReadChunk,
): Promise<{ readonly left: number } | null> {
  const { context } = turn;
  return context.step("render.chunk", async () => {
    const before = rendering.progress.packed;
    const rendered = renderAll(turn, rendering, read);
    const taken = await context.database.transaction((tx) => take(turn, tx, { rendering, read, rendered, before }));
    if (taken === null) return null;
    const isTaken = (place: number) => taken.has(rendered.lines[place]?.request.requestId ?? "");
    const lines = rendered.lines.filter((_line, place) => isTaken(place));
    rendering.progress.packed = lines.reduce((packed, { line }) => addLine(packed, line.size), before);
    await rendering.spool.append(rendered.draft, isTaken);
    return { left: rendered.left.length };
  });
}

async function readChunk(pipeline: Pipeline, tx: Queryable, { no, requests }: QueueRow): Promise<ReadChunk> {
  const { rows, left } = await pipeline.source.readRows(
    tx,
    requests.map(({ key }) => key),
  );
  const byKey = new Map(rows.map((row) => [row.key, row]));
  const readable = requests.slice(0, requests.length - left.length);
  return {
    no,
    asked: readable.map((request) => ({ request, row: byKey.get(request.key) })),
    left: requests.slice(readable.length).map(({ requestId }) => requestId),
  };
}

interface Rendered {
  /** In the order of the draft. */
  readonly lines: readonly { readonly request: Request; readonly line: Line }[];
  readonly draft: DraftLines;
  readonly endings: readonly { readonly request: Request; readonly facts: EndingFacts }[];
  /** Ids that do not fit into this batch, though others may. */
  readonly waiting: readonly string[];
  /** Ids without room or time. */
  readonly left: readonly string[];
}

function renderAll(turn: Planned, rendering: Rendering, { asked, left }: ReadChunk): Rendered {
  const lines: Rendered["lines"][number][] = [];
  const endings: Rendered["endings"][number][] = [];
  const waiting: string[] = [];
  const draft = new DraftLines(turn.pipeline.provider.frame);
  const drafting = { ...rendering, draft };
  const isTimeOver = userCodeTimer();
  for (const [index, one] of asked.entries()) {
    const line = isTimeOver() ? "full" : renderOne(turn, drafting, one);
    if (line === "full") {
      const rest = asked.slice(index).map(({ request }) => request.requestId);
      return { lines, draft, endings, waiting, left: [...rest, ...left] };
    }
    if (line === "overflow") waiting.push(one.request.requestId);
    else if ("outcome" in line) endings.push({ request: one.request, facts: line });
    else lines.push({ line, request: one.request });
  }
  return { lines, draft, endings, waiting, left };
}

interface Taking {
  readonly rendering: Rendering;
  readonly read: ReadChunk;
  readonly rendered: Rendered;
  readonly before: PackedSoFar;
}

/** Returns the ids that entered the batch. Null: the lease is lost. */
async function take(
  turn: Planned,
  tx: Queryable,
  { rendering, read, rendered, before }: Taking,
): Promise<ReadonlySet<string> | null> {
  const { pipeline, batch, lease } = turn;
  const { room } = rendering;
  if (!(await batches.holds(tx, lease))) return null;
  const { lines, endings } = rendered;
  await queue.putBack(tx, read.no, { ids: rendered.waiting, delayMs: pipeline.config.polling.minMs });
  const taken = await inFlight.takeIntoBatch(tx, batch, {
    first: before.requests + 1,
    queued: { no: read.no, left: rendered.left },
    requests: [
      ...lines.map(({ request, line }) => takenOf(request, { ...line, room: line.room === room ? null : line.room })),
      ...endings.map(({ request, facts }) =>
        takenOf(request, { hash: facts.hash ?? null, fingerprint: null, room: request.room }),
      ),
    ],
  });
  const ended = endings.filter(({ request }) => taken.has(request.requestId));
  await attempts.endMany(
    tx,
    batch,
    ended.map(({ request, facts }) => endingOf(turn, { ...request, attempt: request.attempt + 1, room }, facts)),
  );
  return taken;
}

/** Requests with a fingerprint are sent. */
function takenOf(
  { requestId, attempt }: Request,
  { hash, fingerprint, room }: Pick<TakenRequest, "hash" | "fingerprint" | "room">,
): TakenRequest {
  return { id: requestId, attempt: attempt + 1, hash, fingerprint, room, sent: fingerprint !== null };
}

type Drafting = Rendering & { readonly draft: DraftLines };

interface Line {
  readonly hash: string;
  readonly fingerprint: string;
  /** Output tokens. */
  readonly room: number;
  readonly size: LineSize;
}

/** `full`: no further line goes into this batch. `overflow`: this one does not, others may. */
type OneRendered = Line | EndingFacts | "full" | "overflow";

function renderOne(
  turn: Planned,
  rendering: Drafting,
  asked: { request: Request; row: SourceRow | undefined },
): OneRendered {
  const { pipeline, batch } = turn;
  const { request, row } = asked;
  if (row === undefined) return { outcome: "gone" };
  if (row.cells === null) return { outcome: "tooLarge", detail: tooLargeText(row.hash), hash: row.hash };
  const rendered = pipeline.render(row.cells);
  if (rendered.kind === "empty")
    return {
      outcome: "empty",
      detail: "There is nothing to ask about this row: its message is empty.",
      hash: row.hash,
    };
  if (rendered.kind === "failed") return { outcome: "unrenderable", detail: rendered.message, hash: row.hash };
  const name = formatCustomId(request.requestId, request.attempt + 1, row.hash);
  const { maxOutputTokens } = pipeline.config.request;
  const room = Math.min(maxOutputTokens, Math.max(rendering.room, request.room ?? 0));
  const attempt = { ...firstAttempt(pipeline.config), maxOutputTokens: room };
  const encoded = rendering.encode(name, rendered.request, attempt);
  const { line: text, fingerprint } = encoded;
  if (row.hash === request.answeredHash && fingerprint === request.answeredFingerprint) {
    return { outcome: "alreadyAnswered", hash: row.hash, fingerprint };
  }
  const bounds = lineBound(batch.rates, { tokens: encoded.boundTokens, room });
  const size = { bytes: rendering.draft.add(text), ...bounds };
  const refused = refusalOf(turn, rendering, { size, hash: row.hash });
  if (refused === null) return { hash: row.hash, fingerprint, room, size };
  rendering.draft.dropLast();
  return refused;
}

/** Null: the line is packed. */
function refusalOf(
  turn: Planned,
  { limits, progress }: Rendering,
  { size, hash }: Pick<Line, "size" | "hash">,
): Exclude<OneRendered, Line> | null {
  const tooLarge = overWhole(turn.pipeline, size, limits);
  if (tooLarge !== null) return { outcome: "tooLarge", detail: tooLarge, hash };
  const { requests, bytes } = progress.packed;
  const isLikely = limits.bytesGuess === null || requests === 0 || bytes + size.bytes <= limits.bytesGuess;
  if (isLikely && pack(progress.packed, size, limits) === "take") {
    progress.packed = addLine(progress.packed, size);
    return null;
  }
  // More than the whole batch reserved: this line waits for a larger reservation, the others need not.
  if (pack(NOTHING_PACKED, size, limits) !== "take") {
    progress.overflow = size;
    return "overflow";
  }
  progress.full = true;
  return "full";
}

/** Why no batch can ever hold this line; null: some can. */
function overWhole(pipeline: Planned["pipeline"], size: LineSize, limits: Limits): string | null {
  const { budget } = pipeline.config;
  if (size.bytes > limits.bytesMax)
    return `The request has ${size.bytes} bytes; a batch file may have at most ${limits.bytesMax}.`;
  if (limits.tokensWhole !== null && size.tokens > limits.tokensWhole) {
    return (
      `The request may need ${size.tokens} tokens; ` +
      `the account may have at most ${limits.tokensWhole} enqueued for this model.`
    );
  }
  if (budget === null || size.nanoUsd <= budget.usd * 1e9) return null;
  return (
    `The request may cost ${dollars(size.nanoUsd)}, ` +
    `more than the whole budget of $${budget.usd} per ${budget.per}.`
  );
}

async function finish(
  turn: Planned,
  spool: SpoolWriter,
  rendered: { progress: Progress; bounds: RequestBounds },
): Promise<Next> {
  const { batch } = turn;
  const { bounds } = rendered;
  const { packed, overflow } = rendered.progress;
  if (overflow) await makeRoom(turn, overflow, rendered);
  const move = (event: "rendered" | "nothingToSend", reason: string, fields: batches.BatchFields) =>
    moveBatch("render.move", turn, { batch, event, reason, fields });
  if (packed.requests === 0) {
    await spool.abandon();
    return (await move("nothingToSend", "no request was left to send", {})) ? DONE : LOST;
  }
  const { requestsMin } = turn.pipeline.provider.limits;
  if (packed.requests < requestsMin) {
    await spool.abandon();
    const why = `it has ${packed.requests} requests, and the provider takes at least ${requestsMin} in a batch`;
    return withdraw(turn, why, { delayMs: turn.pipeline.config.polling.maxMs });
  }
  const file = await spool.close(turn.lease);
  const ended = await inFlight.countEnded(turn.context.read, batch.no);
  const moved = await move("rendered", `${packed.requests} lines, ${file.bytes} bytes`, {
    room: bounds.room,
    requests: packed.requests + ended,
    lines: packed.requests,
    spoolBytes: file.bytes,
    spoolSha256: file.sha256,
    reservedTokens: Math.ceil(packed.tokens),
    reservedNanoUsd: Math.ceil(packed.nanoUsd),
    likelyNanoUsd: bounds.likelyNanoUsdEach === null ? null : bounds.likelyNanoUsdEach * packed.requests,
  });
  return moved ? AGAIN : LOST;
}

/** Lets the next plan reserve enough for the line that did not fit. If this plan already did, the money is used up. */
async function makeRoom(
  turn: Planned,
  overflow: LineSize,
  { progress, bounds }: { progress: Progress; bounds: RequestBounds },
): Promise<void> {
  const { context, pipeline } = turn;
  await context.step("render.learn", () => estimates.raiseLineMaxima(context.database, pipeline.id, overflow));
  const { budget, name } = pipeline.config;
  if (budget === null || progress.packed.requests > 0 || bounds.nanoUsdMost < overflow.nanoUsd) return;
  const reason =
    `The next request may cost ${dollars(overflow.nanoUsd)}, ` +
    `more than is left of the budget of $${budget.usd} per ${budget.per}. ${resumesText(name)}`;
  await pause(turn, { kind: "budget", reason });
}
