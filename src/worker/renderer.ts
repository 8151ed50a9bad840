/**
 * planned → uploading: renders the rows of a batch, as they are now, into its spool file. A row that is gone, empty, already
 * answered or too large ends here; what does not fit goes back. Nothing is spent yet: after a crash the batch is rendered again.
 */
import { formatCustomId } from "../model/custom-id.js";
import {
  addLine,
  nothingPacked,
  pack,
  type LineSize,
  type PackedSoFar,
  type PackingLimits,
} from "../model/packing.js";
import { tooLargeText, type RowsRead, type SourceRow } from "../sources/source.js";
import * as batches from "../store/batches.js";
import { raiseLineMaxima } from "../store/estimates.js";
import {
  endMany,
  lockNext,
  recordRendered,
  type AttemptEnding,
  type InFlight,
  type RenderedLine,
} from "../store/in-flight.js";
import { lockLimits } from "../store/money.js";
import * as pipelines from "../store/pipelines.js";
import type { Encoder } from "../model/provider.js";
import { firstAttempt } from "./context.js";
import { encoderFor, lineBound, requestBounds, type RequestBounds } from "./estimate.js";
import { CHUNK, endAll, endingOf, type EndingFacts } from "./ending.js";
import { fileLimits, type FileLimits } from "./file-limits.js";
import { moveBatch } from "./move-batch.js";
import { openSpool, type SpoolWriter } from "./spool.js";
import { again, done, lost, type BatchIn, type Next, type Turn } from "./turn.js";
import { userCodeTimer } from "./user-code.js";
import { withdraw } from "./withdraw.js";

type Planned = Turn<BatchIn<"planned">>;

type LineBounds = Pick<LineSize, "tokens" | "nanoUsd">;

interface Limits extends PackingLimits, FileLimits {
  /** The account's own limit, where one was learned. */
  readonly tokensWhole: number | null;
}

/** Where the rendering stands: everything of one batch that lives in memory, a few numbers. */
interface Progress {
  packed: PackedSoFar;
  after: string | null;
  /** Set when no further line fits. */
  full: boolean;
  /** The first line that did not fit, for the next plan. */
  overflow: LineSize | null;
}

export async function render(turn: Planned): Promise<Next> {
  const { context, pipeline, batch } = turn;
  if (batch.definitionHash !== pipeline.definitionHash)
    return giveBack(turn, "the definition changed since it was planned");
  const bounds = await requestBounds(context, pipeline, batch.rates);
  const limits = await packingLimits(turn);
  const spool = await openSpool(context.spoolFolder, batch.id, pipeline.provider.frame);
  const encode = encoderFor(pipeline, bounds.ratio);
  const progress: Progress = { packed: nothingPacked, after: null, full: false, overflow: null };
  try {
    let more = true;
    while (more) {
      turn.signal.throwIfAborted();
      const chunk = await renderChunk(turn, { encode, limits, progress, spool });
      if (chunk === null) {
        spool.leave();
        return lost;
      }
      more = chunk.more;
    }
    return await finish(turn, spool, { progress, bounds });
  } catch (error) {
    await spool.abandon();
    throw error;
  }
}

async function giveBack(turn: Planned, reason: string): Promise<Next> {
  const ended = await endAll(turn.context, {
    ...turn,
    facts: () => ({ outcome: "noRoom", detail: reason }),
    event: "nothingToSend",
    reason,
  });
  return ended === "lost" ? lost : done;
}

/** Money and tokens bind only where a budget or a known limit made the reservation a promise. */
async function packingLimits({ context, pipeline, batch }: Planned): Promise<Limits> {
  const learned = await context.step("render.limits", () =>
    context.database.transaction((tx) => lockLimits(tx, batch.account, batch.model)),
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
  readonly limits: Limits;
  readonly progress: Progress;
  readonly spool: SpoolWriter;
}

/**
 * As many requests as there are in a chunk, or as their contents go into memory together, or as are rendered in time. Each line goes
 * into the file at once: a transaction that fails afterwards costs the whole file.
 */
async function renderChunk(turn: Planned, rendering: Rendering): Promise<{ more: boolean } | null> {
  const { context, pipeline, batch, lease } = turn;
  const { progress, spool } = rendering;
  return context.step("render.chunk", () =>
    context.database.transaction(async (tx) => {
      if (!(await batches.holds(tx, lease))) return null;
      const next = await lockNext(tx, batch.id, progress.after, CHUNK);
      const keys = next.map((request) => request.key);
      const { rows, left } = progress.full ? nothingRead : await pipeline.source.readRows(tx, keys);
      const readable = next.slice(0, next.length - left.length);
      const byKey = new Map(rows.map((row) => [row.key, row]));
      const recorded: RenderedLine[] = [];
      const endings: AttemptEnding[] = [];
      const isTimeOver = userCodeTimer();
      let rendered = 0;
      for (const request of readable) {
        if (isTimeOver()) break;
        rendered++;
        const line = renderOne(turn, rendering, { request, row: byKey.get(request.key) });
        if ("outcome" in line) endings.push(endingOf(turn, request, line));
        else {
          await spool.write(line.text);
          recorded.push({
            id: request.requestId,
            hash: line.hash,
            fingerprint: line.fingerprint,
            room: pipeline.config.request.maxOutputTokens,
            line: progress.packed.requests,
          });
        }
      }
      await recordRendered(tx, batch.id, recorded);
      await endMany(tx, { id: batch.id, pipelineId: pipeline.id }, endings);
      progress.after = readable[rendered - 1]?.requestId ?? progress.after;
      return { more: next.length === CHUNK || rendered < next.length };
    }),
  );
}

const nothingRead: RowsRead = { rows: [], left: [] };

interface Line {
  readonly text: string;
  readonly hash: string;
  readonly fingerprint: string;
}

function renderOne(
  turn: Planned,
  rendering: Rendering,
  asked: { request: InFlight; row: SourceRow | undefined },
): Line | EndingFacts {
  const { pipeline, batch } = turn;
  const { request, row } = asked;
  if (rendering.progress.full) return { outcome: "noRoom", detail: "The batch was full." };
  if (row === undefined) return { outcome: "gone" };
  if (row.cells === null) return { outcome: "tooLarge", detail: tooLargeText(row.hash), hash: row.hash };
  const rendered = pipeline.render(row.cells);
  if (rendered.kind === "empty")
    return {
      outcome: "empty",
      detail: "There is nothing to ask about this row: its message is empty.",
      hash: row.hash,
    };
  if (rendered.kind === "failed")
    return { outcome: "unrenderable", detail: rendered.message, hash: row.hash };
  const name = formatCustomId(request.requestId, request.attempt, row.hash);
  const encoded = rendering.encode(name, rendered.request, firstAttempt(pipeline.config));
  const { line: text, fingerprint } = encoded;
  if (row.hash === request.answeredHash && fingerprint === request.answeredFingerprint) {
    return { outcome: "alreadyAnswered", hash: row.hash, fingerprint };
  }
  const bounds = lineBound({ pipeline, rates: batch.rates }, encoded.boundTokens);
  return packOne(turn, rendering, { line: { text, hash: row.hash, fingerprint }, bounds });
}

function packOne(
  turn: Planned,
  { limits, progress }: Rendering,
  packing: { line: Line; bounds: LineBounds },
): Line | EndingFacts {
  const { line, bounds } = packing;
  const size: LineSize = { bytes: Buffer.byteLength(line.text) + separatorBytes(turn), ...bounds };
  const tooLarge = overWhole(turn.pipeline, size, limits);
  if (tooLarge !== null) return { outcome: "tooLarge", detail: tooLarge, hash: line.hash };
  const { requests, bytes } = progress.packed;
  const isLikely = limits.bytesGuess === null || requests === 0 || bytes + size.bytes <= limits.bytesGuess;
  if (isLikely && pack(progress.packed, size, limits) === "take") {
    progress.packed = addLine(progress.packed, size);
    return line;
  }
  const noRoom = { outcome: "noRoom", detail: "The batch was full." } as const;
  // Over what was reserved for the whole batch: this line has to wait for a larger reservation, the others need not.
  if (pack(nothingPacked, size, limits) !== "take") {
    progress.overflow = size;
    return { ...noRoom, delayMs: turn.pipeline.config.polling.minMs };
  }
  progress.full = true;
  return noRoom;
}

function separatorBytes({ pipeline }: Planned): number {
  return Buffer.byteLength(pipeline.provider.frame.separator);
}

/** Why no batch can ever hold this line; null: some can. */
function overWhole(pipeline: Planned["pipeline"], size: LineSize, limits: Limits): string | null {
  const { budget } = pipeline.config;
  if (size.bytes > limits.bytesMax)
    return `The request has ${size.bytes} bytes; a batch file may have ${limits.bytesMax}.`;
  if (limits.tokensWhole !== null && size.tokens > limits.tokensWhole) {
    return `The request may need ${size.tokens} tokens; the account may have ${limits.tokensWhole} enqueued for this model.`;
  }
  if (budget === null || size.nanoUsd <= budget.usd * 1e9) return null;
  return `The request may cost $${(size.nanoUsd / 1e9).toFixed(6)}, more than the whole budget of $${budget.usd} per ${budget.per}.`;
}

async function finish(
  turn: Planned,
  spool: SpoolWriter,
  rendered: { progress: Progress; bounds: RequestBounds },
): Promise<Next> {
  const { batch } = turn;
  const { packed, overflow } = rendered.progress;
  if (overflow) await makeRoom(turn, overflow, rendered);
  const move = (event: "rendered" | "nothingToSend", reason: string, fields: batches.BatchFields) =>
    moveBatch("render.move", turn, { batch, event, reason, fields });
  if (packed.requests === 0) {
    await spool.abandon();
    return (await move("nothingToSend", "no request was left to send", {})) ? done : lost;
  }
  const { requestsMin } = turn.pipeline.provider.limits;
  if (packed.requests < requestsMin) {
    await spool.abandon();
    return withdraw(
      turn,
      `it has ${packed.requests} requests, and a batch there has at least ${requestsMin}`,
      {
        delayMs: turn.pipeline.config.polling.maxMs,
      },
    );
  }
  const file = await spool.close();
  const moved = await move("rendered", `${packed.requests} lines, ${file.bytes} bytes`, {
    lines: packed.requests,
    spool_bytes: file.bytes,
    spool_sha256: file.sha256,
    reserved_tokens: Math.ceil(packed.tokens),
    reserved_nano_usd: Math.ceil(packed.nanoUsd),
  });
  return moved ? again : lost;
}

/** The next plan reserves enough for the line that did not fit; if this one had known already, there is no more money. */
async function makeRoom(
  { context, pipeline }: Planned,
  overflow: LineSize,
  { progress, bounds }: { progress: Progress; bounds: RequestBounds },
): Promise<void> {
  await context.step("render.learn", () => raiseLineMaxima(context.database, pipeline.id, overflow));
  const { budget, name } = pipeline.config;
  if (budget === null || progress.packed.requests > 0 || bounds.nanoUsdMost < overflow.nanoUsd) return;
  const reason = `The next request may cost $${(overflow.nanoUsd / 1e9).toFixed(6)}, more than is left of the budget of $${budget.usd} per ${budget.per}. It goes on by itself when there is room again; raise pipelines.${name}.budget.usd to go on now.`;
  await context.step("turn.pause", () =>
    pipelines.pause(context.database, pipeline.id, { kind: "budget", reason }),
  );
}
