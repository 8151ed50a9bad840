/**
 * What a definition would send again: the requests of answered and failed rows, rendered and compared with what was
 * asked, as its sweep will do. Bounded in rows, bytes and time; writes nothing.
 */
import type { Database, Queryable } from "../../postgres/database.js";
import * as planned from "../../store/requests/planned-rows.js";
import type { AskedRequest } from "../../store/requests/planned-rows.js";
import * as requests from "../../store/requests/requests.js";
import { currentFingerprint, type Asking } from "../../worker/context.js";
import type { Sampled } from "./pipeline-plan.js";
import { reading } from "./reading.js";

/** Rows that are compared; of more, as many by chance. */
const COMPARED_MAX = 5_000;
/** After this no further page is read, so that someone who waits gets an answer from fewer rows. */
const COMPARE_MS_MAX = 4_000;
const PAGE_ROWS = 500;

export interface Compared {
  readonly sampled: Sampled;
  /** Answered, and sent again. */
  readonly answered: number;
  readonly failed: number;
  /** Wait only because the registered definition asked something else: this one does not ask them. */
  readonly reaffirmed: number;
  /** Their content changed since, whether or not anyone noticed: of the answered and of the failed. */
  readonly changedAnswered: number;
  readonly changedFailed: number;
  /** Of some of the answered and of the failed that are sent again. */
  readonly answeredKeys: readonly string[];
  readonly failedKeys: readonly string[];
}

interface Tally {
  read: number;
  answered: number;
  failed: number;
  reaffirmed: number;
  changedAnswered: number;
  changedFailed: number;
  /** Failed ones that ask the same; some were cut short. */
  readonly same: string[];
  readonly answeredKeys: string[];
  readonly failedKeys: string[];
}

/** `asked`: how many there are. Counts are scaled to all of them. */
export async function compareDefinition(database: Database, pipeline: Asking, asked: number): Promise<Compared> {
  const chosen = await reading(database, (tx) => planned.askedRequests(tx, pipeline.id, { asked, max: COMPARED_MAX }));
  const tally: Tally = {
    read: 0,
    answered: 0,
    failed: 0,
    reaffirmed: 0,
    changedAnswered: 0,
    changedFailed: 0,
    same: [],
    answeredKeys: [],
    failedKeys: [],
  };
  const startedAt = performance.now();
  const isLate = () => tally.read > 0 && performance.now() - startedAt > COMPARE_MS_MAX;
  for (let start = 0; start < chosen.length && !isLate(); start += PAGE_ROWS) {
    const page = chosen.slice(start, start + PAGE_ROWS);
    await reading(database, (tx) => comparePage(tx, { pipeline, page, tally, isLate }));
  }
  const room = pipeline.config.request.maxOutputTokens;
  const cut = await reading(database, (tx) => requests.cutShort(tx, tally.same, room));
  return scaled({ ...tally, failed: tally.failed + cut.length }, asked, chosen.length);
}

interface Page {
  readonly pipeline: Asking;
  readonly page: readonly AskedRequest[];
  readonly tally: Tally;
  readonly isLate: () => boolean;
}

async function comparePage(tx: Queryable, { pipeline, page, tally, isLate }: Page): Promise<void> {
  const byKey = new Map(page.map((request) => [request.key, request]));
  let left: readonly string[] = [...byKey.keys()];
  while (left.length > 0) {
    const read = await pipeline.source.readRows(tx, left);
    const found = new Map(read.rows.map((row) => [row.key, row]));
    for (const key of left.slice(0, left.length - read.left.length)) {
      if (isLate()) return;
      const request = byKey.get(key);
      const row = found.get(key);
      tally.read++;
      // A row that is gone, or too large, is asked nothing.
      if (request === undefined || row === undefined || row.cells === null) continue;
      if (row.hash !== request.contentHash) countChange(tally, request);
      else judge(tally, request, currentFingerprint(pipeline, row.cells));
    }
    left = read.left;
  }
}

function countChange(tally: Tally, { state }: AskedRequest): void {
  if (state === "succeeded") tally.changedAnswered++;
  if (state === "failed") tally.changedFailed++;
}

function judge(tally: Tally, request: AskedRequest, fingerprint: string | null): void {
  const { state, requestId, key } = request;
  if (state === "waiting") {
    if (fingerprint === request.answeredFingerprint) tally.reaffirmed++;
  } else if (fingerprint !== request.fingerprint) {
    const kind = state === "succeeded" ? "answered" : "failed";
    tally[kind]++;
    tally[`${kind}Keys`].push(key);
  } else if (state === "failed") tally.same.push(requestId);
}

function scaled(tally: Tally, asked: number, chosen: number): Compared {
  // Fewer than counted: some moved in the meantime. All of them were read.
  const isWhole = chosen < COMPARED_MAX && asked <= COMPARED_MAX && tally.read === chosen;
  const times = isWhole || tally.read === 0 ? 1 : asked / tally.read;
  const all = (count: number) => Math.round(count * times);
  return {
    sampled: { read: tally.read, of: isWhole ? tally.read : asked },
    answered: all(tally.answered),
    failed: all(tally.failed),
    reaffirmed: all(tally.reaffirmed),
    changedAnswered: all(tally.changedAnswered),
    changedFailed: all(tally.changedFailed),
    answeredKeys: tally.answeredKeys,
    failedKeys: tally.failedKeys,
  };
}
