/**
 * What the rows of a chunk become in a batch: a line of its file, a share in the line of an equal request, or an ending
 * without being sent. Touches no database and no file.
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
import type { Encoder } from "../../model/provider/provider.js";
import { tooLargeText, type SourceRow } from "../../sources/source.js";
import type { Request } from "../../store/batches/in-flight.js";
import { firstAttempt } from "../context.js";
import { lineBound } from "../rounds/estimate.js";
import { overWhole, type WholeLimits } from "../rounds/file-limits.js";
import { DraftLines, type SpoolWriter } from "../spool.js";
import { userCodeTimer } from "../user-code.js";
import type { EndingFacts } from "./ending.js";
import type { BatchIn, Turn } from "./turn.js";

export type Planned = Turn<BatchIn<"planned">>;

export type Limits = PackingLimits & WholeLimits;

/** Everything about the batch that lives in memory. */
export interface Progress {
  packed: PackedSoFar;
  /** Requests that share the line of an equal one. */
  sharing: number;
  /** Question → the name of its line, where equal questions share one: at most as many as the batch has lines. */
  readonly lines: Map<string, string> | null;
  /** Set when no further line fits. */
  full: boolean;
  /** The first line that did not fit, for the next plan. */
  overflow: LineSize | null;
}

export interface Rendering {
  readonly encode: Encoder;
  /** Output tokens of an answer, unless the row's last one was cut short. */
  readonly room: number;
  readonly limits: Limits;
  readonly progress: Progress;
  readonly spool: SpoolWriter;
}

/** The requests of one row of the batch's queue that were read together. */
export interface ReadChunk {
  /** The number of the queue's row. */
  readonly no: string;
  readonly asked: readonly { readonly request: Request; readonly row: SourceRow | undefined }[];
  /** Ids that were not read, for the next chunk. */
  readonly left: readonly string[];
}

export interface Rendered {
  /** In the order of the draft. */
  readonly lines: readonly { readonly request: Request; readonly line: Line }[];
  readonly draft: DraftLines;
  readonly endings: readonly { readonly request: Request; readonly facts: EndingFacts }[];
  readonly shares: readonly { readonly request: Request; readonly share: Share }[];
  /** Ids that do not fit into this batch, though others may. */
  readonly waiting: readonly string[];
  /** Ids without room or time. */
  readonly left: readonly string[];
}

export function renderAll(turn: Planned, rendering: Rendering, { asked, left }: ReadChunk): Rendered {
  const lines: Rendered["lines"][number][] = [];
  const endings: Rendered["endings"][number][] = [];
  const shares: Rendered["shares"][number][] = [];
  const waiting: string[] = [];
  const draft = new DraftLines(turn.pipeline.provider.frame);
  const drafting = { ...rendering, draft };
  const isTimeOver = userCodeTimer();
  for (const [index, one] of asked.entries()) {
    const line = isTimeOver() ? "full" : renderOne(turn, drafting, one);
    if (line === "full") {
      const rest = asked.slice(index).map(({ request }) => request.requestId);
      return { lines, draft, endings, shares, waiting, left: [...rest, ...left] };
    }
    if (line === "overflow") waiting.push(one.request.requestId);
    else if ("shares" in line) shares.push({ request: one.request, share: line });
    else if ("outcome" in line) endings.push({ request: one.request, facts: line });
    else lines.push({ line, request: one.request });
  }
  return { lines, draft, endings, shares, waiting, left };
}

type Drafting = Rendering & { readonly draft: DraftLines };

export interface Line {
  readonly name: string;
  readonly hash: string;
  readonly fingerprint: string;
  /** Output tokens. */
  readonly room: number;
  readonly size: LineSize;
}

/** An equal request of the batch has a line of this name. */
export interface Share {
  readonly shares: string;
  readonly hash: string;
  readonly fingerprint: string;
  /** Output tokens, as that line's. */
  readonly room: number;
}

/** `full`: no further line goes into this batch. `overflow`: this one does not, others may. */
type OneRendered = Line | Share | EndingFacts | "full" | "overflow";

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
  const question = questionOf(rendering.progress, request, fingerprint);
  const shares = question === null ? undefined : rendering.progress.lines?.get(question);
  if (shares !== undefined) return { shares, hash: row.hash, fingerprint, room };
  const bounds = lineBound(batch.rates, { tokens: encoded.boundTokens, room });
  const size = { bytes: rendering.draft.add(text), ...bounds };
  const refused = refusalOf(turn, rendering, { size, hash: row.hash });
  if (refused === null) {
    if (question !== null) rendering.progress.lines?.set(question, name);
    return { name, hash: row.hash, fingerprint, room, size };
  }
  rendering.draft.dropLast();
  return refused;
}

/**
 * Equal questions share a line, if they are at the same try and need the same room. Null: this request has its own,
 * because a shared answer did not fit its row.
 */
export function questionOf(
  { lines }: Pick<Progress, "lines">,
  { tries, room, isAlone }: Pick<Request, "tries" | "room" | "isAlone">,
  fingerprint: string,
): string | null {
  return lines === null || isAlone ? null : `${fingerprint} ${tries} ${room ?? ""}`;
}

/** Null: the line is packed. */
function refusalOf(
  turn: Planned,
  { limits, progress }: Rendering,
  { size, hash }: Pick<Line, "size" | "hash">,
): Exclude<OneRendered, Line | Share> | null {
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
