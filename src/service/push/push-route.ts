/**
 * Takes rows: the tutorial's body, a list, one row, or lines of JSON (NDJSON) without end. Answers once they are
 * durable. A row that cannot be taken is refused alone, with its reason; a push that finds no room, with 429.
 */
import { createHash } from "node:crypto";
import { BodyRefused, type BodyRefusal } from "../../http/body-refusal.js";
import { bodyLines, readBytes } from "../../http/read-body.js";
import { cutRows, textProblem } from "../../model/json/json-rows.js";
import { isJsonObject } from "../../model/json/json-scan.js";
import { JSON_DEPTH_MAX } from "../../model/json/json-values.js";
import { DatabaseError } from "../../postgres/database.js";
import * as pushes from "../../store/replicas/pushes.js";
import type { Digest, Pushed } from "../../store/replicas/pushes.js";
import * as replicas from "../../store/replicas/replicas.js";
import * as tokens from "../../store/tokens/tokens.js";
import type { Token } from "../../store/tokens/tokens.js";
import { DATABASE_UNAVAILABLE, responseTo, tooBusy, unknownPipeline, type Refusal } from "../refusals.js";
import { GATHERED_BYTES_MAX, GATHERED_ROWS_MAX } from "./gathered-pushes.js";
import { revoked } from "../access.js";
import type { Call, Desk } from "../routes.js";
import { added, CHUNK_BYTES, CHUNK_ROWS, chunksOf, retrying, storeGood, type SentRow } from "./store-rows.js";

/** Of a body that is not sent as lines. */
const BODY_BYTES_MAX = 64 * 1024 * 1024;
/** A row has at most 4 MiB, as PostgreSQL spells it. */
const LINE_BYTES_MAX = 5 * 1024 * 1024;
/** What gzip unpacks of a byte, at most. */
const GZIP_RATIO_MAX = 1_032;
/** A smaller body costs less to compare with the table than to remember. */
const DIGEST_BYTES_MIN = 16 * 1024;
/** For a chunk of lines: nothing is read in the meantime, so its sender waits too. */
const CHUNK_WAIT_MS = 30_000;
/** As `rowmill.push_rows` says that there is no such pipeline. */
const UNDEFINED_OBJECT = "42704";
/** Between two looks whether the token of a stream was revoked. */
const TOKEN_CHECK_MS = 1_000;

export interface Pushing {
  readonly pipeline: string;
  readonly token: Token | null;
  /** The token that repeats itself; null: no digest is kept. */
  readonly repeatedBy: number | null;
  /** How long it waits for room. */
  readonly waitMs: number;
}

export async function takePush(desk: Desk, call: Call, pushing: Pushing): Promise<Response> {
  const { pipeline, waitMs } = pushing;
  if (!(await isKnown(desk, pipeline))) return unknownPipeline(pipeline);
  const lines = isLines(call);
  const release = lines ? await desk.streams.take(1, waitMs) : await desk.bodies.take(bytesOf(call), waitMs);
  if (release === null) return refuse(desk, pushing, NO_ROOM);
  try {
    return await (lines ? takeLines(desk, call, pushing) : takeBody(desk, call, pushing));
  } finally {
    release();
  }
}

export function isLines(call: Call): boolean {
  return /^application\/(?:x-ndjson|ndjson|jsonl|x-jsonlines)\b/i.test(call.req.header("content-type") ?? "");
}

/** Remembers what it found, because pipelines rarely go. */
async function isKnown({ database, pipelines }: Desk, pipeline: string): Promise<boolean> {
  if (pipelines.has(pipeline)) return true;
  if ((await replicas.replicaOf(database, pipeline))?.synced !== false) return false;
  pipelines.add(pipeline);
  return true;
}

/** What the body may come to, unpacked. */
function bytesOf(call: Call): number {
  const sent = Number(call.req.header("content-length") ?? BODY_BYTES_MAX);
  const isPacked = call.req.header("content-encoding") !== undefined;
  return Math.min(BODY_BYTES_MAX, isPacked ? sent * GZIP_RATIO_MAX : sent);
}

function refuse(desk: Desk, { pipeline }: Pushing, refusal: Refusal): Response {
  desk.refused.note({ pipeline, reason: `${refusal.status}: ${refusal.detail}` });
  return responseTo(refusal);
}

const NO_ROOM: Refusal = tooBusy("Too many pushes are in progress. Send it again later.");

function ofBody({ status, code, message, limit }: BodyRefusal): Refusal {
  return { status, code, detail: message, more: limit === null ? {} : { limit } };
}

interface Body {
  readonly rows: readonly string[];
  readonly bytes: number;
  /** Null: it is not remembered. */
  readonly digest: Digest | null;
}

async function takeBody(desk: Desk, call: Call, pushing: Pushing): Promise<Response> {
  const body = await readBody(desk, call, pushing);
  return body instanceof Response ? body : storeBody(desk, pushing, body);
}

/** Its bytes are let go before the rows are stored. */
async function readBody(desk: Desk, call: Call, pushing: Pushing): Promise<Body | Response> {
  const read = await readBytes(call.req.raw, { bytesMax: BODY_BYTES_MAX });
  if ("refused" in read) return refuse(desk, pushing, ofBody(read.refused));
  const { bytes } = read;
  const digest = digestOf(bytes, pushing);
  const last = digest && (await pushes.sameAsLast(desk.database, pushing.pipeline, digest));
  if (last !== null) return tell(desk, pushing, last);
  const text = textOf(bytes);
  if (text === null) return refuse(desk, pushing, badBody("The body is not valid UTF-8.", null));
  const cut = cutRows(text);
  if ("problem" in cut) return refuse(desk, pushing, badBody(cut.problem, cut.at));
  return { rows: cut.rows, bytes: bytes.length, digest };
}

function storeBody(desk: Desk, pushing: Pushing, body: Body): Promise<Response> {
  const { rows, bytes, digest } = body;
  const isSmall = digest === null && rows.length <= GATHERED_ROWS_MAX && bytes <= GATHERED_BYTES_MAX;
  return answering(desk, pushing, () => (isSmall ? storeSoon(desk, pushing, rows) : storeAll(desk, pushing, body)));
}

function badBody(detail: string, at: number | null): Refusal {
  return { status: 400, code: "body_malformed", detail, more: at === null ? {} : { at } };
}

function digestOf(bytes: Buffer, { repeatedBy }: Pushing): Digest | null {
  if (repeatedBy === null || bytes.length < DIGEST_BYTES_MIN) return null;
  return { token: repeatedBy, sha256: createHash("sha256").update(bytes).digest() };
}

function textOf(bytes: Uint8Array): string | null {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (error) {
    if (error instanceof TypeError) return null;
    throw error;
  }
}

/** In one transaction, perhaps with other pushes. */
function storeSoon(desk: Desk, { pipeline, waitMs }: Pushing, rows: readonly string[]): Promise<Pushed | null> {
  return storeGood(rows, textProblem, (good) => desk.gathered.push(pipeline, good, waitMs));
}

/** All rows in one transaction. */
function storeAll(desk: Desk, { pipeline, waitMs }: Pushing, { rows, digest }: Body): Promise<Pushed | null> {
  const store = () =>
    desk.database.transaction(async (tx) => {
      const isAlone = digest !== null && (await replicas.lockAloneIfFree(tx, pipeline));
      let sum = pushes.NOTHING;
      let from = 0;
      for (const chunk of chunksOf(rows)) {
        const pushed = await storeGood(chunk, textProblem, (good) => pushes.push(tx, pipeline, good));
        sum = added(sum, pushed ?? pushes.NOTHING, from);
        from += chunk.length;
      }
      if (isAlone) await pushes.keepDigest(tx, pipeline, { ...digest, pushed: sum });
      return sum;
    });
  return inTurn(desk, waitMs, () => retrying(store));
}

/** Null: no connection to the database became free within this time. */
async function inTurn<T>({ pushes: room }: Desk, waitMs: number, work: () => Promise<T>): Promise<T | null> {
  const release = await room.take(1, waitMs);
  if (release === null) return null;
  try {
    return await work();
  } finally {
    release();
  }
}

/** Chunk by chunk, each in a transaction of its own: what was taken before a stream breaks stays. */
async function takeLines(desk: Desk, call: Call, pushing: Pushing): Promise<Response> {
  const { pipeline, token } = pushing;
  let checkedMs = performance.now();
  let sum = pushes.NOTHING;
  let from = 0;
  const stop = (refusal: Refusal): Response =>
    refuse(desk, pushing, { ...refusal, more: { ...refusal.more, taken: answerOf(sum) } });
  return answering(desk, pushing, async () => {
    try {
      for await (const lines of chunksOfLines(call.req.raw)) {
        // Lines may come for hours.
        if (token !== null && performance.now() - checkedMs >= TOKEN_CHECK_MS) {
          if (!(await tokens.isValid(desk.database, token.id))) return revoked();
          checkedMs = performance.now();
        }
        const pushed = await storeGood(lines, lineProblem, (good) =>
          inTurn(desk, CHUNK_WAIT_MS, () => retrying(() => pushes.push(desk.database, pipeline, good))),
        );
        if (pushed === null) return stop(NO_ROOM);
        sum = added(sum, pushed, from);
        from += lines.length;
      }
      return sum;
    } catch (error) {
      if (error instanceof BodyRefused) return stop(ofBody(error.refusal));
      if (error instanceof DatabaseError && error.sqlState !== UNDEFINED_OBJECT)
        return stop(unavailable(desk, pipeline, error));
      throw error;
    }
  });
}

/** Without blank lines, which are no rows. @throws BodyRefused after the last whole line */
async function* chunksOfLines(request: Request): AsyncGenerator<readonly SentRow[]> {
  let held: SentRow[] = [];
  let bytes = 0;
  for await (const line of bodyLines(request, { bytesMax: null, lineBytesMax: LINE_BYTES_MAX })) {
    const text = textOf(line)?.trim() ?? null;
    if (text === "") continue;
    held.push(text);
    bytes += line.length;
    if (held.length < CHUNK_ROWS && bytes < CHUNK_BYTES) continue;
    yield held;
    [held, bytes] = [[], 0];
  }
  if (held.length > 0) yield held;
}

function lineProblem(line: SentRow): string | null {
  if (line === null) return "it is not valid UTF-8";
  if (isJsonObject(line, JSON_DEPTH_MAX)) return textProblem(line);
  return isJsonObject(line) ? "it is nested too deeply" : "it is not a JSON object";
}

/** Null: there was no room. */
async function answering(
  desk: Desk,
  pushing: Pushing,
  work: () => Promise<Pushed | Response | null>,
): Promise<Response> {
  const { pipeline } = pushing;
  try {
    const pushed = await work();
    if (pushed === null) return refuse(desk, pushing, NO_ROOM);
    return pushed instanceof Response ? pushed : tell(desk, pushing, pushed);
  } catch (error) {
    if (!(error instanceof DatabaseError)) throw error;
    if (error.sqlState !== UNDEFINED_OBJECT) return refuse(desk, pushing, unavailable(desk, pipeline, error));
    desk.pipelines.delete(pipeline);
    return unknownPipeline(pipeline);
  }
}

function tell(desk: Desk, pushing: Pushing, pushed: Pushed): Response {
  noteRows(desk, pushing, pushed);
  // A caller that looks at nothing but the status must notice when none of its rows was taken.
  const isAllRefused = pushed.refused > 0 && pushed.accepted + pushed.unchanged + pushed.older === 0;
  return Response.json(answerOf(pushed), { status: isAllRefused ? 422 : 200 });
}

function unavailable({ log }: Desk, pipeline: string, error: DatabaseError): Refusal {
  log.warn({ pipeline, err: error }, "a push failed at the database");
  return DATABASE_UNAVAILABLE;
}

/** A push has more refused rows than problems when there are many: the others count as the most frequent reason. */
function noteRows(desk: Desk, { pipeline }: Pushing, { problems, refused }: Pushed): void {
  const reasons = new Map<string, { rows: number; example: string | null }>();
  for (const { reason, key } of problems) {
    const known = reasons.get(reason);
    reasons.set(reason, { rows: (known?.rows ?? 0) + 1, example: known?.example ?? key });
  }
  let others = refused - problems.length;
  for (const [reason, { rows, example }] of [...reasons].toSorted(([, a], [, b]) => b.rows - a.rows)) {
    desk.refused.note({ pipeline, reason, rows: rows + others, example });
    others = 0;
  }
}

/** As the caller gets it. */
function answerOf({ accepted, unchanged, older, refused, problems }: Pushed): object {
  return { accepted, unchanged, older, refused, problems };
}
