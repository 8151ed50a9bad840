/**
 * Gives results as lines of JSON, in the order in which the answers were accepted, from behind a cursor. Each line has
 * the cursor behind it: a caller that keeps the last one it has processed gets every result at least once, whatever
 * fails between. Pages are small and read when the caller has taken the one before.
 */
import { setTimeout as pause } from "node:timers/promises";
import { problem } from "../../http/problem.js";
import * as results from "../../store/requests/results.js";
import type { ListedResult, Position } from "../../store/requests/results.js";
import * as tokens from "../../store/tokens/tokens.js";
import type { Token } from "../../store/tokens/tokens.js";
import { readAnswers, type StoredAnswer } from "../../targets/table/read-answers.js";
import { jsonObject, pushedPipeline, reading, type PushedPipeline } from "../pushed-pipeline.js";
import { revoked } from "../access.js";
import { responseTo, tooBusy, tooManyCalls, unknownPipeline } from "../refusals.js";
import type { Call, Desk } from "../routes.js";

export const LIMIT_DEFAULT = 1_000;
export const LIMIT_MAX = 10_000;
export const WAIT_SECONDS_MAX = 60;
/** Read and held at once. */
const PAGE_LINES = 200;
/** Of a stream that found no room for its next page. */
const ROOM_TRIES_MAX = 20;
const ROOM_PAUSE_MS = 250;

interface Wanted {
  readonly after: Position | null;
  readonly limit: number;
  readonly waitMs: number;
}

export async function giveResults(desk: Desk, call: Call, token: Token | null): Promise<Response> {
  const name = call.req.param("name") ?? "";
  const wanted = wantedOf(call.req.query());
  if (wanted instanceof Response) return wanted;
  const pipeline = await reading(desk, (tx) => pushedPipeline(tx, name));
  if (pipeline === "busy") return tooManyCalls();
  if (pipeline === null) return unknownPipeline(name);
  const feed = { desk, pipeline, token };
  const first = await readPage(feed, wanted.after, wanted.limit);
  if (typeof first === "string") return NO_PAGE[first]();
  if (first.lines.length > 0 || wanted.waitMs === 0) return answerOf(feed, first, wanted.limit);
  const release = await desk.waiters.take(1, 0);
  if (release === null)
    return responseTo(tooBusy("Too many calls wait for results. Send it again later, or without wait."));
  try {
    return await waitFor(feed, { ...wanted, signal: call.req.raw.signal });
  } finally {
    release();
  }
}

function wantedOf({ after, limit, wait }: Readonly<Record<string, string>>): Wanted | Response {
  const position = after === undefined || after === "" ? null : positionOf(after);
  if (position === undefined) return badParameter("after is the cursor of a line that this server gave.");
  const lines = limit === undefined ? LIMIT_DEFAULT : wholeNumber(limit);
  if (lines === null || lines < 1 || lines > LIMIT_MAX)
    return badParameter(`limit is a whole number from 1 to ${LIMIT_MAX}.`);
  const seconds = wait === undefined ? 0 : wholeNumber(wait);
  if (seconds === null || seconds > WAIT_SECONDS_MAX)
    return badParameter(`wait is a whole number of seconds up to ${WAIT_SECONDS_MAX}.`);
  return { after: position, limit: lines, waitMs: seconds * 1_000 };
}

function wholeNumber(text: string): number | null {
  return /^\d{1,6}$/.test(text) ? Number(text) : null;
}

function badParameter(detail: string): Response {
  return problem({ status: 400, code: "parameter_invalid", detail });
}

function unknownCursor(): Response {
  const detail =
    "This ledger does not have that cursor: it is from another pipeline, or the database was restored. " +
    "Start again without after. You may get some results twice.";
  return problem({ status: 410, code: "cursor_unknown", detail });
}

/** Undefined: it is none. */
function positionOf(cursor: string): Position | undefined {
  const [, no, place, atMicros] = /^(\d{1,18})-(\d{1,9})-(\d{1,17})$/.exec(cursor) ?? [];
  if (no === undefined || place === undefined || atMicros === undefined) return undefined;
  return { no, place: Number(place), atMicros };
}

function cursorOf({ no, place, atMicros }: Position): string {
  return `${no}-${place}-${atMicros}`;
}

interface Feed {
  readonly desk: Desk;
  readonly pipeline: PushedPipeline;
  /** Of the call, which may wait or read for long. */
  readonly token: Token | null;
}

const NO_PAGE = { unknown: unknownCursor, busy: tooManyCalls, revoked } as const;

interface Page {
  readonly lines: readonly string[];
  /** Of the last line; null: there is none. */
  readonly last: Position | null;
}

async function readPage(
  { desk, pipeline, token }: Feed,
  after: Position | null,
  limit: number,
): Promise<Page | keyof typeof NO_PAGE> {
  const { definition, answers } = pipeline;
  return reading(desk, async (tx) => {
    if (token !== null && !(await tokens.isValid(tx, token.id))) return "revoked";
    const listed = await results.page(tx, definition.pipelineId, { after, max: Math.min(limit, PAGE_LINES) });
    if (listed === "unknown") return listed;
    const keys = [...new Set(listed.flatMap(({ key }) => key ?? []))];
    const stored = keys.length === 0 ? null : await readAnswers(tx, answers, keys);
    const lines = listed.map((result) => lineOf(result, stored?.get(result.key ?? "")));
    return { lines, last: listed.at(-1) ?? null };
  });
}

/** A row that is forgotten, or whose answer is gone, still has its line, so that the cursor moves on. */
function lineOf(result: ListedResult, answer: StoredAnswer | undefined): string {
  return jsonObject({
    cursor: JSON.stringify(cursorOf(result)),
    key: JSON.stringify(result.key),
    answer: answer?.json ?? "null",
    model: JSON.stringify(answer === undefined ? null : (answer.model ?? result.model)),
    version: JSON.stringify(answer === undefined ? null : (answer.version ?? result.version)),
    at: JSON.stringify(answer?.at ?? result.acceptedAt),
  });
}

/** Holds nothing of the database while it waits. */
async function waitFor(feed: Feed, wanted: Wanted & { readonly signal: AbortSignal }): Promise<Response> {
  const { watch } = feed.desk;
  const untilMs = performance.now() + wanted.waitMs;
  const seen = { pipelineId: feed.pipeline.definition.pipelineId, seen: wanted.after?.no ?? null };
  for (;;) {
    const waitMs = untilMs - performance.now();
    if (waitMs > 0) await watch.further(seen, { waitMs, signal: wanted.signal });
    const page = await readPage(feed, wanted.after, wanted.limit);
    if (typeof page === "string") return NO_PAGE[page]();
    const isOver = performance.now() >= untilMs || watch.isClosed || wanted.signal.aborted;
    if (page.lines.length > 0 || isOver) return answerOf(feed, page, wanted.limit);
  }
}

const TYPE = { "content-type": "application/x-ndjson", "cache-control": "no-store" };

function answerOf(feed: Feed, first: Page, limit: number): Response {
  if (first.lines.length === 0) return new Response("", { headers: TYPE });
  const encoder = new TextEncoder();
  const pieces = piecesOf(feed, first, limit);
  const body = new ReadableStream<Uint8Array>(
    {
      pull: async (controller) => {
        const { value, done } = await pieces.next();
        if (done === true) controller.close();
        else controller.enqueue(encoder.encode(value));
      },
      cancel: async () => {
        await pieces.return();
      },
    },
    { highWaterMark: 0 },
  );
  return new Response(body, { headers: TYPE });
}

/** @throws Error in the middle of a body, which cuts it: the caller asks again with the last cursor it has */
async function* piecesOf(feed: Feed, first: Page, limit: number): AsyncGenerator<string, void> {
  let page = first;
  for (let left = limit; page.last !== null;) {
    yield `${page.lines.join("\n")}\n`;
    left -= page.lines.length;
    if (left <= 0) return;
    page = await nextPage(feed, page.last, left);
  }
}

async function nextPage(feed: Feed, after: Position, left: number): Promise<Page> {
  for (let tries = 1; tries <= ROOM_TRIES_MAX; tries++) {
    const page = await readPage(feed, after, left);
    if (typeof page !== "string") return page;
    if (page !== "busy") break;
    await pause(ROOM_PAUSE_MS);
  }
  throw new Error("The next results could not be read.");
}
