/**
 * Takes rows: the tutorial's body, a list, one row, or lines of JSON (NDJSON) without end. Answers once they are
 * durable. A row that cannot be taken is refused alone, with its reason; a push that finds no room, with 429.
 */
import { createHash } from "node:crypto";
import { BodyRefused, type BodyRefusal } from "../http/body-refusal.js";
import { problem } from "../http/problem.js";
import { bodyLines, readBytes } from "../http/read-body.js";
import { cutRows, textProblem } from "../model/json/json-rows.js";
import { isJsonObject } from "../model/json/json-scan.js";
import { DatabaseError, isConflict } from "../postgres/database.js";
import * as pushes from "../store/replicas/pushes.js";
import type { Digest, Pushed, RowProblem } from "../store/replicas/pushes.js";
import * as replicas from "../store/replicas/replicas.js";
import * as tokens from "../store/tokens/tokens.js";
import type { Token } from "../store/tokens/tokens.js";
import { RETRY_AFTER_SECONDS, unknownPipeline } from "./refusals.js";
import { revoked } from "./access.js";
import type { Call, Desk } from "./routes.js";

/** Of a body that is not sent as lines. */
export const BODY_BYTES_MAX = 64 * 1024 * 1024;
/** A row has at most 4 MiB, as PostgreSQL spells it. */
const LINE_BYTES_MAX = 5 * 1024 * 1024;
/** Rows that go to the database in one statement. */
const CHUNK_ROWS = 2_000;
const CHUNK_BYTES = 4 * 1024 * 1024;
/** A smaller body costs less to compare with the table than to remember. */
const DIGEST_BYTES_MIN = 16 * 1024;
const PROBLEMS_MAX = 100;
/** Between two looks whether the token of a stream was revoked. */
const TOKEN_CHECK_MS = 1_000;
/** Two pushes of the same keys, or a lock that `up` holds. */
const CONFLICT_TRIES = 5;

export interface Pushing {
  readonly pipeline: string;
  readonly token: Token | null;
  /** The token that repeats itself; null: no digest is kept. */
  readonly repeatedBy: number | null;
  /** How long it waits for room. */
  readonly waitMs: number;
}

export async function takePush(desk: Desk, call: Call, pushing: Pushing): Promise<Response> {
  const { pipeline } = pushing;
  if ((await replicas.replicaOf(desk.database, pipeline)) === null) return unknownPipeline(pipeline);
  const isLines = /^application\/(?:x-ndjson|ndjson|jsonl|x-jsonlines)\b/i.test(call.req.header("content-type") ?? "");
  const sent = call.req.header("content-length");
  const bytes = isLines ? 2 * CHUNK_BYTES : sent === undefined ? BODY_BYTES_MAX : Number(sent);
  const release = await desk.bodies.take(bytes, pushing.waitMs);
  if (release === null) return refuse(desk, pushing, tooBusy());
  try {
    return await (isLines ? takeLines(desk, call, pushing) : takeBody(desk, call, pushing));
  } finally {
    release();
  }
}

interface Refusal {
  readonly status: number;
  readonly code: string;
  readonly detail: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly more?: Readonly<Record<string, unknown>>;
}

function refuse(desk: Desk, { pipeline }: Pushing, { status, code, detail, headers, more }: Refusal): Response {
  desk.refused.note({ pipeline, reason: `${status}: ${detail}` });
  return problem({ status, code, detail, ...more }, headers);
}

function tooBusy(): Refusal {
  const detail = "Too many pushes are being taken. Send it again later.";
  return { status: 429, code: "too_busy", detail, headers: { "retry-after": String(RETRY_AFTER_SECONDS) } };
}

function ofBody({ status, code, message, limit }: BodyRefusal, more: Readonly<Record<string, unknown>> = {}): Refusal {
  return { status, code, detail: message, more: { ...(limit === null ? {} : { limit }), ...more } };
}

async function takeBody(desk: Desk, call: Call, pushing: Pushing): Promise<Response> {
  const read = await readBytes(call.req.raw, { bytesMax: BODY_BYTES_MAX });
  if ("refused" in read) return refuse(desk, pushing, ofBody(read.refused));
  const digest = digestOf(read.bytes, pushing);
  if (digest !== null) {
    const rows = await pushes.sameAsLast(desk.database, pushing.pipeline, digest);
    if (rows !== null) return Response.json(answerOf({ ...NOTHING, unchanged: rows }));
  }
  const text = textOf(read.bytes);
  if (text === null) return refuse(desk, pushing, badBody("The body is not valid UTF-8.", null));
  const cut = cutRows(text);
  if ("problem" in cut) return refuse(desk, pushing, badBody(cut.problem, cut.at));
  return answering(desk, pushing, () => storeAll(desk, pushing, cut.rows, digest));
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

const NOTHING: Pushed = { accepted: 0, unchanged: 0, older: 0, refused: 0, problems: [] };

/** All rows in one transaction. */
function storeAll(desk: Desk, { pipeline }: Pushing, rows: readonly string[], digest: Digest | null): Promise<Pushed> {
  return retrying(() =>
    desk.database.transaction(async (tx) => {
      if (digest !== null) await pushes.lockForDigest(tx, pipeline);
      let sum = NOTHING;
      let from = 0;
      for (const chunk of chunksOf(rows)) {
        sum = added(sum, await store(chunk, (good) => pushes.push(tx, pipeline, good)), from);
        from += chunk.length;
      }
      if (digest !== null) await pushes.keepDigest(tx, pipeline, { ...digest, rows: rows.length });
      return sum;
    }),
  );
}

function* chunksOf(rows: readonly string[]): Generator<readonly string[]> {
  let start = 0;
  let length = 0;
  for (let at = 0; at < rows.length; at++) {
    const next = rows[at]?.length ?? 0;
    if (at > start && (at - start === CHUNK_ROWS || length + next > CHUNK_BYTES)) {
      yield rows.slice(start, at);
      [start, length] = [at, 0];
    }
    length += next;
  }
  if (start < rows.length) yield rows.slice(start);
}

/** Without the rows whose text the database could not take, which are refused here. */
async function store(rows: readonly string[], push: (good: readonly string[]) => Promise<Pushed>): Promise<Pushed> {
  const bad: RowProblem[] = [];
  const places: number[] = [];
  rows.forEach((row, place) => {
    const reason = textProblem(row);
    if (reason === null) places.push(place);
    else bad.push({ row: place, key: null, reason });
  });
  const pushed =
    places.length === 0 ? NOTHING : await push(bad.length === 0 ? rows : places.map((at) => rows[at] ?? ""));
  const problems = pushed.problems.map((one) => ({ ...one, row: places[one.row] ?? one.row }));
  const all = [...bad, ...problems].toSorted((a, b) => a.row - b.row);
  return { ...pushed, refused: pushed.refused + bad.length, problems: all };
}

function added(sum: Pushed, more: Pushed, from: number): Pushed {
  const problems = more.problems.map((one) => ({ ...one, row: one.row + from }));
  return {
    accepted: sum.accepted + more.accepted,
    unchanged: sum.unchanged + more.unchanged,
    older: sum.older + more.older,
    refused: sum.refused + more.refused,
    problems: [...sum.problems, ...problems].slice(0, PROBLEMS_MAX),
  };
}

class TokenRevoked extends Error {}

/** Chunk by chunk, each in a transaction of its own: what was taken before a stream breaks stays. */
async function takeLines(desk: Desk, call: Call, pushing: Pushing): Promise<Response> {
  const { pipeline, token } = pushing;
  let sum = NOTHING;
  let from = 0;
  let checkedMs = performance.now();
  const take = async (lines: readonly (string | null)[]): Promise<void> => {
    // Lines may come for hours.
    if (token !== null && performance.now() - checkedMs >= TOKEN_CHECK_MS) {
      if (!(await tokens.isValid(desk.database, token.id))) throw new TokenRevoked();
      checkedMs = performance.now();
    }
    const pushed = await storeLines(lines, (good) => retrying(() => pushes.push(desk.database, pipeline, good)));
    sum = added(sum, pushed, from);
    from += lines.length;
  };
  return answering(desk, pushing, async () => {
    let held: (string | null)[] = [];
    let bytes = 0;
    try {
      for await (const line of bodyLines(call.req.raw, { bytesMax: null, lineBytesMax: LINE_BYTES_MAX })) {
        const text = textOf(line);
        // Empty lines are no rows.
        if (text?.trim() === "") continue;
        held.push(text);
        bytes += line.length;
        if (held.length < CHUNK_ROWS && bytes < CHUNK_BYTES) continue;
        await take(held);
        [held, bytes] = [[], 0];
      }
      if (held.length > 0) await take(held);
    } catch (error) {
      if (error instanceof TokenRevoked) return revoked();
      if (!(error instanceof BodyRefused)) throw error;
      return refuse(desk, pushing, ofBody(error.refusal, { taken: answerOf(sum) }));
    }
    return sum;
  });
}

/** Null: a line that is not UTF-8. */
async function storeLines(
  lines: readonly (string | null)[],
  push: (good: readonly string[]) => Promise<Pushed>,
): Promise<Pushed> {
  const bad: RowProblem[] = [];
  const places: number[] = [];
  lines.forEach((line, row) => {
    if (line === null) bad.push({ row, key: null, reason: "it is not valid UTF-8" });
    else if (!isJsonObject(line.trim())) bad.push({ row, key: null, reason: "it is not a JSON object" });
    else places.push(row);
  });
  const pushed = await store(
    places.map((at) => lines[at] ?? ""),
    push,
  );
  const problems = pushed.problems.map((one) => ({ ...one, row: places[one.row] ?? one.row }));
  const all = [...bad, ...problems].toSorted((a, b) => a.row - b.row);
  return { ...pushed, refused: pushed.refused + bad.length, problems: all };
}

async function answering(desk: Desk, pushing: Pushing, work: () => Promise<Pushed | Response>): Promise<Response> {
  const release = await desk.pushes.take(1, pushing.waitMs);
  if (release === null) return refuse(desk, pushing, tooBusy());
  try {
    const pushed = await work();
    if (pushed instanceof Response) return pushed;
    noteRows(desk, pushing, pushed);
    // A caller that looks at nothing but the status must notice when none of its rows was taken.
    const isAllRefused = pushed.refused > 0 && pushed.accepted + pushed.unchanged + pushed.older === 0;
    return Response.json(answerOf(pushed), { status: isAllRefused ? 422 : 200 });
  } catch (error) {
    if (!(error instanceof DatabaseError)) throw error;
    desk.log.warn({ pipeline: pushing.pipeline, err: error }, "a push failed at the database");
    const detail = "The database could not take the rows now. Send them again later.";
    const headers = { "retry-after": String(RETRY_AFTER_SECONDS) };
    return refuse(desk, pushing, { status: 503, code: "database_unavailable", detail, headers });
  } finally {
    release();
  }
}

function noteRows(desk: Desk, { pipeline }: Pushing, { problems }: Pushed): void {
  for (const { reason, key } of problems) desk.refused.note({ pipeline, reason, rows: 1, example: key });
}

/** As the caller gets it. */
function answerOf({ accepted, unchanged, older, refused, problems }: Pushed): object {
  return { accepted, unchanged, older, refused, problems };
}

async function retrying<T>(work: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await work();
    } catch (error) {
      if (tries === CONFLICT_TRIES || !isConflict(error)) throw error;
    }
  }
}
