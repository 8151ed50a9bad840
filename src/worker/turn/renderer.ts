/**
 * planned → uploading: renders the rows queued for a batch, as they are now, into its spool file. Only here requests
 * enter the batch. A row that is gone, empty, already answered or too large ends at once; what does not fit stays in
 * the queue. Nothing is spent yet: after a crash the batch is rendered again.
 */
import { addLine, NOTHING_PACKED, type LineSize, type PackedSoFar } from "../../model/request/packing.js";
import { budgetWords, dollars } from "../../model/provider/pricing.js";
import { counted } from "../../model/words/counted.js";
import * as batches from "../../store/batches/batches.js";
import type { Queryable } from "../../postgres/database.js";
import * as attempts from "../../store/requests/attempts.js";
import * as inFlight from "../../store/batches/in-flight.js";
import type { QueueRow, Request, TakenRequest } from "../../store/batches/in-flight.js";
import * as money from "../../store/batches/money.js";
import * as queue from "../../store/requests/queue.js";
import type { Pipeline } from "../context.js";
import { pause } from "../guard.js";
import { encoderFor, requestBounds, type RequestBounds } from "../rounds/estimate.js";
import { resumesText } from "../rounds/planner.js";
import { endingOf, undoRendering, withdraw } from "./ending.js";
import { fileLimits } from "../rounds/file-limits.js";
import {
  questionOf,
  renderAll,
  type Limits,
  type Planned,
  type Progress,
  type ReadChunk,
  type Rendered,
  type Rendering,
} from "./render-rows.js";
import { openSpool, type SpoolWriter } from "../spool.js";
import { AGAIN, DONE, LOST, moveBatch, type Next } from "./turn.js";

export async function render(turn: Planned): Promise<Next> {
  const { context, pipeline, batch } = turn;
  if (!(await undoRendering(turn))) return LOST;
  if (batch.definitionHash !== pipeline.definitionHash)
    return withdraw(turn, "the definition changed since it was planned");
  const bounds = await requestBounds(context, pipeline, batch.rates);
  const limits = await packingLimits(turn);
  const spool = await openSpool(context, batch.id, pipeline.provider.frame);
  const encode = encoderFor(pipeline, bounds.ratio);
  const lines = sharesLines(pipeline) ? new Map<string, string>() : null;
  const progress: Progress = { packed: NOTHING_PACKED, sharing: 0, lines, full: false, overflow: null };
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

/** Not where a provider takes no small batch: equal rows alone would never fill one. */
function sharesLines({ config, provider }: Pipeline): boolean {
  return config.dedupe && provider.limits.requestsMin === 1;
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
    const { progress } = rendering;
    const before = progress.packed;
    const rendered = renderAll(turn, rendering, read);
    const entered = await context.database.transaction((tx) => take(turn, tx, { rendering, read, rendered, before }));
    if (entered === null) return null;
    const { taken, sharing, orphans } = entered;
    const isTaken = (place: number) => taken.has(rendered.lines[place]?.request.requestId ?? "");
    const lines = rendered.lines.filter((_line, place) => isTaken(place));
    forgetQuestions(progress, rendered, taken);
    progress.packed = lines.reduce((packed, { line }) => addLine(packed, line.size), before);
    progress.sharing += sharing;
    await rendering.spool.append(rendered.draft, isTaken);
    return { left: rendered.left.length + orphans };
  });
}

/** Of lines that did not enter the batch after all. */
function forgetQuestions(progress: Progress, { lines }: Rendered, taken: ReadonlySet<string>): void {
  for (const { request, line } of lines) {
    const question = taken.has(request.requestId) ? null : questionOf(progress, request, line.fingerprint);
    if (question !== null) progress.lines?.delete(question);
  }
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

interface Taking {
  readonly rendering: Rendering;
  readonly read: ReadChunk;
  readonly rendered: Rendered;
  readonly before: PackedSoFar;
}

interface Entered {
  /** Ids with a line of their own, or that ended. */
  readonly taken: ReadonlySet<string>;
  readonly sharing: number;
  /** Would share a line that did not enter the batch: still in the queue. */
  readonly orphans: number;
}

/** Null: the lease is lost. */
async function take(turn: Planned, tx: Queryable, taking: Taking): Promise<Entered | null> {
  const { pipeline, batch, lease } = turn;
  const { read, rendered } = taking;
  if (!(await batches.holds(tx, lease))) return null;
  await queue.putBack(tx, read.no, { ids: rendered.waiting, delayMs: pipeline.config.polling.minMs });
  const taken = await takeLines(turn, tx, taking);
  if (rendered.shares.length === 0) return { taken, sharing: 0, orphans: 0 };
  return { taken, ...(await takeShares(tx, batch, { ...taking, taken })) };
}

/** Those with a line of their own, and those that end. Leaves the queue's row to `takeShares`, if some share a line. */
async function takeLines(
  turn: Planned,
  tx: Queryable,
  { rendering: { room }, read, rendered, before }: Taking,
): Promise<ReadonlySet<string>> {
  const { batch } = turn;
  const { lines, endings, shares, left } = rendered;
  const taken = await inFlight.takeIntoBatch(tx, batch, {
    first: before.requests + 1,
    queued: shares.length === 0 ? { no: read.no, left } : null,
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

/** Those that share a line which is in the batch by now; the others stay in the queue. */
async function takeShares(
  tx: Queryable,
  batch: Planned["batch"],
  { rendering: { room }, read, rendered, taken }: Taking & Pick<Entered, "taken">,
): Promise<Pick<Entered, "sharing" | "orphans">> {
  const { lines, shares, left } = rendered;
  const lost = new Set(lines.filter(({ request }) => !taken.has(request.requestId)).map(({ line }) => line.name));
  const orphans = shares.filter(({ share }) => lost.has(share.shares));
  const sharing = await inFlight.shareLines(tx, batch, {
    queued: { no: read.no, left: [...left, ...orphans.map(({ request }) => request.requestId)] },
    requests: shares
      .filter(({ share }) => !lost.has(share.shares))
      .map(({ request, share }) => ({
        id: request.requestId,
        attempt: request.attempt + 1,
        hash: share.hash,
        fingerprint: share.fingerprint,
        room: share.room === room ? null : share.room,
        line: share.shares,
      })),
  });
  return { sharing, orphans: orphans.length };
}

/** Requests with a fingerprint are sent. */
function takenOf(
  { requestId, attempt }: Request,
  { hash, fingerprint, room }: Pick<TakenRequest, "hash" | "fingerprint" | "room">,
): TakenRequest {
  return { id: requestId, attempt: attempt + 1, hash, fingerprint, room, sent: fingerprint !== null };
}

async function finish(
  turn: Planned,
  spool: SpoolWriter,
  rendered: { progress: Progress; bounds: RequestBounds },
): Promise<Next> {
  const { batch } = turn;
  const { bounds } = rendered;
  const { packed, sharing, overflow } = rendered.progress;
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
  const shared = sharing === 0 ? "" : ` for ${counted(packed.requests + sharing, "request")}`;
  const moved = await move("rendered", `${counted(packed.requests, "line")}${shared}, ${counted(file.bytes, "byte")}`, {
    room: bounds.room,
    requests: packed.requests + sharing + ended,
    lines: packed.requests,
    sharing,
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
  await context.step("render.learn", () => money.raiseLineMaxima(context.database, pipeline.id, overflow));
  const { budget, name } = pipeline.config;
  if (budget === null || progress.packed.requests > 0 || bounds.nanoUsdMost < overflow.nanoUsd) return;
  const reason =
    `The next request may cost ${dollars(overflow.nanoUsd)}, ` +
    `more than is left of the budget of ${budgetWords(budget)}. ${resumesText(name)}`;
  await pause(turn, { kind: "budget", reason });
}
