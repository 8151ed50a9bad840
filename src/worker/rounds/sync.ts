/**
 * Reads rows from a source elsewhere into Rowmill's copy, page by page: one transaction a page, with its place. From
 * the copy on, everything works as for any table. A crash repeats at most one page.
 */
import { createHash } from "node:crypto";
import { ConnectorError, PAGE_MS_MAX, type Page } from "../../model/connector.js";
import { RowmillError } from "../../model/errors.js";
import { backoffMs } from "../../model/batch/schedule.js";
import type { PipelineConfig, SyncConfig } from "../../model/pipeline.js";
import { writesBack } from "../../model/write-back.js";
import { isRefused, rowText, type RefusedRow } from "../../model/request/sync-row.js";
import { thrownMessage } from "../../model/words/thrown-message.js";
import { DatabaseError, type Queryable } from "../../postgres/database.js";
import * as pipelines from "../../store/pipelines/pipelines.js";
import * as refusedPushes from "../../store/replicas/refused-pushes.js";
import * as arrivals from "../../store/requests/arrivals.js";
import * as syncs from "../../store/syncs/syncs.js";
import { callConnector } from "../connector-call.js";
import type { Pipeline, WorkerContext } from "../context.js";
import { mayRead, pause } from "../guard.js";

/** Rows that are written in one statement. */
const CHUNK_ROWS = 1_000;
const CHUNK_BYTES = 4 * 1024 * 1024;
const DELETE_ROWS = 5_000;
/** Of the end of a pass, which compares all rows of the copy. */
const END_MS_MAX = 900_000;
/** After a first failure, and at most. */
const FAILED_MS_BASE = 5_000;
const FAILED_MS_MAX = 600_000;
/** What a connector gets to clean up after itself, also at the end of the worker. */
const RETURN_MS_MAX = 3_000;

/** Makes the pass that is due, if any. Returns the milliseconds until there may be something to do. */
export async function syncPipeline(
  context: WorkerContext,
  pipeline: Pipeline,
  signal: AbortSignal,
  onRows: (rows: number) => void = () => undefined,
): Promise<number> {
  const { name, source } = pipeline.config;
  const config = source.replica?.sync ?? null;
  if (config === null) return Infinity;
  if (!(await mayRead(context.read, pipeline))) return Infinity;
  const turn = await context.step("sync.begin", () =>
    syncs.begin(context.database, name, { ...config, reads: whatIsRead(source, config), workerId: context.workerId }),
  );
  if ("waitMs" in turn) return turn.waitMs;
  try {
    const deletes = turn.phase === "deleting" || (await readPass({ context, pipeline, config, turn, onRows }, signal));
    if (deletes) await deleteGone(context, turn, signal);
  } catch (error) {
    // Of the ledger's own database; a connector throws its own errors.
    if (error instanceof DatabaseError) throw error;
    if (signal.aborted) return 0;
    await fail(context, pipeline, { turn, error });
    return 0;
  } finally {
    // Already so where it failed.
    await context.step("sync.end", () => syncs.release(context.database, turn));
  }
  return config.everyMs;
}

/** Columns too: a row of fewer lacks them. */
function whatIsRead({ key, columns }: PipelineConfig["source"], { connector }: SyncConfig): string {
  const read = [connector.name, connector.reads ?? null, key, columns.toSorted()];
  return createHash("sha256").update(JSON.stringify(read)).digest("hex").slice(0, 32);
}

interface Pass {
  readonly context: WorkerContext;
  readonly pipeline: Pipeline;
  readonly config: SyncConfig;
  readonly turn: syncs.Turn;
  /** Called with the number of each page's rows. */
  readonly onRows: (rows: number) => void;
}

/** True: rows that are gone there are to be deleted here. */
async function readPass(pass: Pass, signal: AbortSignal): Promise<boolean> {
  const { context, pipeline, config, turn } = pass;
  if (!(await readPages(pass, signal))) return false;
  const { name } = pipeline.config;
  const end = await context.step("sync.end", () =>
    context.database.transaction(
      async (tx) => {
        const wasFailing = await syncs.isFailing(tx, name);
        const ended = await syncs.endPass(tx, turn, config);
        if (ended?.held === true)
          await pipelines.pause(tx, pipeline.id, { kind: "deletions", reason: heldText(name, ended) });
        // What vanished came back.
        else if (ended !== null && turn.isFull) await pipelines.resume(tx, pipeline.id, "deletions");
        // Only now: a source of which some pages can be read would pause and resume all the time.
        if (ended !== null && wasFailing) await pipelines.resume(tx, pipeline.id, "source");
        return ended;
      },
      { statementTimeoutMs: END_MS_MAX },
    ),
  );
  if (end === null) return false;
  context.log.info({ pipeline: name, full: turn.isFull, rows: end.rows, gone: end.gone }, "rows were read");
  return !end.held && end.gone > 0;
}

function heldText(pipeline: string, { gone }: syncs.PassEnd): string {
  return (
    `${gone.toLocaleString("en-US")} rows vanished from its source, more than a tenth within a day. If that is ` +
    `right, delete them here too: rowmill sync ${pipeline} --accept-deletions`
  );
}

/** False: the lease is lost, or a pass over changes gives way to one over all rows, which is due. */
async function readPages(pass: Pass, signal: AbortSignal): Promise<boolean> {
  const { context, config, turn } = pass;
  const stop = new AbortController();
  const either = AbortSignal.any([signal, stop.signal]);
  const { connector } = config;
  const beganAtMs = performance.now();
  const since = turn.isFull ? null : turn.mark;
  const pages = connector.rows({ since, place: turn.place, signal: either })[Symbol.asyncIterator]();
  const mayBeOld = writesBack(pass.pipeline.config);
  let keepsMark = false;
  try {
    for (;;) {
      signal.throwIfAborted();
      const readAt = mayBeOld ? (await arrivals.presentMoment(context.read)).at : null;
      const next = await context.step("sync.read", () => nextPage(pages, signal));
      if (next.done === true) return true;
      const written = await writePage(pass, next.value, { readAt, keepsMark });
      if (written === null) return false;
      keepsMark ||= written.heldBack;
      if (performance.now() - beganAtMs >= turn.readMsMax) return false;
    }
  } finally {
    stop.abort();
    // What it throws while it ends says nothing about the rows; a connector that does not end is left alone.
    await Promise.race([Promise.resolve(pages.return?.()).catch(() => undefined), after(RETURN_MS_MAX)]);
  }
}

function nextPage(pages: AsyncIterator<Page>, signal: AbortSignal): Promise<IteratorResult<Page>> {
  const text = `The source gave no rows for ${PAGE_MS_MAX / 1_000} seconds, so the reading was ended.`;
  const late = () => new ConnectorError("again", text);
  return callConnector(() => pages.next(), { msMax: PAGE_MS_MAX, late, signal, graceMs: 0 });
}

function after(ms: number): Promise<void> {
  return new Promise((resolve) => void setTimeout(resolve, ms).unref());
}

interface Writing {
  /** When the page's reading began, where answers are written into the rows in the meantime. Null: they are not. */
  readonly readAt: string | null;
  /** The next reading of changes begins where this one did. */
  readonly keepsMark: boolean;
}

/**
 * Only its last rows carry the place, so that a crash before them reads the page again. `heldBack`: some rows were not
 * copied, and are to be read again. Null: the lease is lost.
 */
async function writePage(
  { context, pipeline, turn, onRows }: Pass,
  page: Page,
  { readAt, keepsMark }: Writing,
): Promise<{ readonly heldBack: boolean } | null> {
  const { rows, refused = [], place = null, mark } = page;
  const { name, source } = pipeline.config;
  const { key } = source;
  const columns = [...new Set([...key, ...source.columns])];
  let at = 0;
  let heldBack = false;
  do {
    const chunk = takeChunk(rows, { from: at, key, columns });
    at = chunk.end;
    const isLast = at >= rows.length;
    const written = await context.step("sync.write", () =>
      context.database.transaction(async (tx) => {
        const done = await syncs.writeRows(tx, turn, { ...chunk, readAt });
        if (done === null) return null;
        const unread = isLast ? refused.map(({ reason, example }) => ({ reason, key: example })) : [];
        await noteRefused(tx, name, [...chunk.refused, ...done.refused, ...unread]);
        const isKept = keepsMark || heldBack || done.heldBack > 0;
        if (isLast) await syncs.setPlace(tx, turn, { place, mark: isKept ? "keep" : { next: mark } });
        return done;
      }),
    );
    if (written === null) return null;
    heldBack ||= written.heldBack > 0;
  } while (at < rows.length);
  onRows(rows.length);
  return { heldBack };
}

interface Chunk {
  readonly rows: readonly string[];
  readonly refused: readonly Pick<RefusedRow, "key" | "reason">[];
  /** Of the refused ones. */
  readonly keys: readonly string[];
  readonly end: number;
}

function takeChunk(
  rows: Page["rows"],
  { from, ...shape }: { from: number; key: readonly string[]; columns: readonly string[] },
): Chunk {
  const good: string[] = [];
  const refused: RefusedRow[] = [];
  let [at, length] = [from, 0];
  for (; at < rows.length && at - from < CHUNK_ROWS && length < CHUNK_BYTES; at++) {
    const text = rowText(rows[at] ?? {}, shape);
    if (isRefused(text)) refused.push(text);
    else {
      good.push(text);
      length += text.length;
    }
  }
  return { rows: good, refused, keys: refused.flatMap(({ keyText }) => keyText ?? []), end: at };
}

async function noteRefused(tx: Queryable, pipeline: string, refused: Chunk["refused"]): Promise<void> {
  if (refused.length === 0) return;
  const byReason = new Map<string, { rows: number; example: string | null }>();
  for (const { key, reason } of refused) {
    const known = byReason.get(reason);
    byReason.set(reason, { rows: (known?.rows ?? 0) + 1, example: known?.example ?? key });
  }
  await refusedPushes.record(
    tx,
    [...byReason].map(([reason, { rows, example }]) => ({ pipeline, reason, pushes: 1, rows, example })),
  );
}

async function deleteGone(context: WorkerContext, turn: syncs.Turn, signal: AbortSignal): Promise<void> {
  for (;;) {
    signal.throwIfAborted();
    const more = await context.step("sync.delete", () =>
      context.database.transaction((tx) => syncs.deleteGone(tx, turn, DELETE_ROWS)),
    );
    if (more !== true) return;
  }
}

/** Waits longer after each failure; a connector that says that waiting cannot help pauses the pipeline. */
async function fail(
  context: WorkerContext,
  pipeline: Pipeline,
  { turn, error }: { readonly turn: syncs.Turn; readonly error: unknown },
): Promise<void> {
  const { name } = pipeline.config;
  const trouble = error instanceof RowmillError ? error.message.replaceAll("\n  ", " ") : thrownMessage(error);
  const failures = await syncs.failuresOf(context.read, name);
  const asked = error instanceof ConnectorError ? (error.retryAfterMs ?? 0) : 0;
  const waitMs = Math.min(FAILED_MS_MAX, Math.max(asked, backoffMs(failures, FAILED_MS_BASE, context.random())));
  const isOurs = await context.step("sync.fail", () => syncs.fail(context.database, turn, { trouble, waitMs }));
  // Another worker reads it, and says for itself how that goes.
  if (!isOurs) return;
  context.log.warn({ pipeline: name, err: error, waitMs }, "its source could not be read; trying again");
  if (error instanceof ConnectorError && error.kind === "stop")
    await pause({ context, pipeline }, { kind: "source", reason: [trouble, ...error.hints].join(" ") });
}
