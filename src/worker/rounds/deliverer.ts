/**
 * Delivers answers to targets elsewhere: takes the changes that are due, writes them to the target, and confirms them
 * in the ledger, in this order. A crash after the write delivers them once more with the same fences, which changes
 * nothing at a target that compares them. No transaction is open while the target is written to.
 */
import { createHash } from "node:crypto";
import {
  ConnectorError,
  type Change,
  type DeliveryOptions,
  type SourceConnector,
  type TargetConnector,
  type Written,
} from "../../model/connector.js";
import { downMs, foreignFences, outcomesOf, type Told as ToldChange } from "../../model/delivery-outcomes.js";
import type { Json } from "../../model/pipeline.js";
import type { Queryable } from "../../postgres/database.js";
import * as deliverers from "../../store/deliveries/deliverers.js";
import * as deliveries from "../../store/deliveries/deliveries.js";
import * as writeBacks from "../../store/deliveries/write-backs.js";
import * as pipelines from "../../store/pipelines/pipelines.js";
import type { Delivery, Pipeline, WorkerContext } from "../context.js";
import { guarded } from "../guard.js";
import { askedWith, followWrites, notesOf, type AskedWith, type Told } from "./write-back.js";

/** Of `prepare`, and of `write`. */
const CALL_MS_MAX = 60_000;
/** Longer than both calls. */
const LEASE_MS = 180_000;
/** Writes in one round, before the worker looks again at what is due. */
const WRITES_MAX = 100;
const TROUBLE_CHARACTERS = 500;

/** `full`: the round ended although more may be due. */
export async function deliverDue(
  context: WorkerContext,
  pipeline: Pipeline,
  signal?: AbortSignal,
): Promise<{ readonly full: boolean }> {
  const { delivery } = pipeline;
  if (delivery === null) return { full: false };
  for (let writes = 0; writes < WRITES_MAX; writes++) {
    if (signal?.aborted) return { full: true };
    if ((await guarded(context, pipeline, () => deliverOnce(context, pipeline, delivery))) !== "more")
      return { full: false };
  }
  return { full: true };
}

async function deliverOnce(context: WorkerContext, pipeline: Pipeline, delivery: Delivery): Promise<"more" | "done"> {
  const taken = await context.step("deliver.take", () =>
    context.database.transaction((tx) => take(tx, { worker: context.workerId, pipeline, delivery })),
  );
  if (taken === null) return "done";
  const answer = await context.step("deliver.write", () => tell(context, { pipeline, delivery }, taken));
  await context.step("deliver.confirm", () =>
    context.database.transaction((tx) =>
      answer instanceof ConnectorError
        ? noteTrouble(tx, { context, pipeline, taken }, answer)
        : confirm(tx, { context, pipeline, taken }, answer),
    ),
  );
  if (!(answer instanceof ConnectorError)) return "more";
  context.log.warn({ pipeline: pipeline.config.name, err: answer }, "a delivery failed; trying again later");
  return "done";
}

interface Taken {
  readonly lease: deliverers.Lease;
  readonly lines: readonly deliveries.Line[];
  readonly changes: readonly Change[];
  /** What is known of the other lines without a word to the target. */
  readonly untold: Pick<Written, "changed" | "busy" | "failed">;
}

/** Null: nothing is due, or another worker does it. */
async function take(
  tx: Queryable,
  { worker, pipeline, delivery }: { worker: string; pipeline: Pipeline; delivery: Delivery },
): Promise<Taken | null> {
  const lease = await deliverers.claim(tx, pipeline.id, { worker, leaseMs: LEASE_MS });
  if (lease === null) return null;
  const { most } = delivery.connector;
  const lines = await deliveries.due(tx, pipeline.id, most.changes);
  if (lines.length === 0) {
    await deliverers.release(tx, pipeline.id, { token: lease.token, condition: null });
    return null;
  }
  // After the lines: an answer is at least as new as its fence.
  const written = lines.filter(({ deleted }) => !deleted);
  const answers =
    written.length === 0
      ? new Map<string, never>()
      : await delivery.read(
          tx,
          written.map(({ key }) => key),
        );
  const rows = delivery.writesBack ? await askedWith(tx, pipeline, { lines: written, bytesMax: most.bytes }) : null;
  return { lease, ...fill(lines, { answers, rows, bytesMax: most.bytes }) };
}

type Answers = Awaited<ReturnType<Delivery["read"]>>;

interface Filling {
  readonly answers: Answers;
  /** Null: the rows do not matter. */
  readonly rows: ReadonlyMap<string, AskedWith> | null;
  readonly bytesMax: number;
}

/** As many lines as one write takes. */
function fill(
  lines: readonly deliveries.Line[],
  { answers, rows, bytesMax }: Filling,
): Pick<Taken, "lines" | "changes" | "untold"> {
  const taken: deliveries.Line[] = [];
  const changes: Change[] = [];
  const untold = { changed: [] as string[], busy: [] as string[], failed: [] as Written["failed"][number][] };
  let bytes = 0;
  for (const line of lines) {
    const { key, deleted } = line;
    const row = deleted ? undefined : rows?.get(key);
    if (rows !== null && !deleted && row === undefined) continue;
    if (row === "changed" || row === "busy") untold[row].push(key);
    else {
      const change = changeOf(line, answers.get(key), row);
      bytes += change === null ? 0 : Buffer.byteLength(JSON.stringify(change));
      if (bytes > bytesMax && changes.length > 0) break;
      if (change === null) untold.failed.push({ key, reason: NO_ANSWER });
      else changes.push(change);
    }
    taken.push(line);
  }
  return { lines: taken, changes, untold };
}

const NO_ANSWER = "Its answer is no longer in Rowmill's table of answers.";

/** Null: its answer is not there. */
function changeOf(
  { key, fence, deleted }: deliveries.Line,
  answer: { readonly json: string; readonly model: string | null } | undefined,
  row: Exclude<AskedWith, string> | undefined,
): Change | null {
  if (deleted) return { key, fence, deleted };
  if (answer === undefined) return null;
  const cells = JSON.parse(answer.json) as Readonly<Record<string, Json>>;
  const change = { key, fence, cells, model: answer.model ?? "" };
  return row === undefined ? change : { ...change, expect: row.cells };
}

/** An error of the target is a value: everything else that fails here is not its fault. */
async function tell(
  context: WorkerContext,
  { pipeline, delivery }: { pipeline: Pipeline; delivery: Delivery },
  { lines, changes, untold }: Taken,
): Promise<Written | ConnectorError> {
  const { memory } = context;
  const { connector } = delivery;
  if (changes.length === 0) return { written: [], stale: [], ...untold };
  const ledger = { failure: null as { readonly error: unknown } | null };
  try {
    if (!memory.preparedTargets.has(pipeline)) await prepare(delivery, pipeline);
    memory.preparedTargets.add(pipeline);
    const options = { pipeline: pipeline.config.name, id: idOf(pipeline, changes) };
    const told = delivery.writesBack ? toldRows(lines, changes) : null;
    const { written, stale, changed, busy, failed } = await within(
      (signal) =>
        connector.write(changes, {
          ...options,
          signal,
          ...(told === null ? {} : { readBack: readerBack(context, { pipeline, told, signal, ledger }) }),
        }),
      `${connector.name} did not answer`,
    );
    return {
      written,
      stale,
      changed: [...changed, ...untold.changed],
      busy: [...busy, ...untold.busy],
      failed: [...failed, ...untold.failed],
    };
  } catch (error) {
    memory.preparedTargets.delete(pipeline);
    if (ledger.failure !== null) throw ledger.failure.error;
    return asConnectorError(error);
  }
}

async function prepare({ connector, writesBack }: Delivery, { config, answer }: Pipeline): Promise<void> {
  const { key, columns, replica } = config.source;
  const source = replica?.sync?.connector;
  if (!writesBack && source !== undefined)
    await within((signal) => refuseSame(source, connector, signal), `${connector.name} did not get ready`);
  const of = { pipeline: config.name, fields: answer.columns, ...(writesBack ? { source: { key, columns } } : {}) };
  await within((signal) => connector.prepare({ ...of, signal }), `${connector.name} did not get ready`);
}

/** Written to as if they were other rows, the source would be asked what its own answers changed. */
async function refuseSame(source: SourceConnector, target: TargetConnector, signal: AbortSignal): Promise<void> {
  if (source.identity === undefined || target.identity === undefined) return;
  // A source that is down is in nobody's way; of a target that is, `prepare` tells.
  const known = [source.identity(signal), target.identity(signal)].map((one) => one.catch(() => null));
  const [from, to] = await Promise.all(known);
  if (from === null || from !== to) return;
  throw new ConnectorError("stop", "Source and target are one table under two addresses. Write the same url for both.");
}

function toldRows(lines: readonly deliveries.Line[], changes: readonly Change[]): ReadonlyMap<string, Told> {
  const readBack = new Set(lines.filter(({ isReadBack }) => isReadBack).map(({ key }) => key));
  return new Map(
    changes.flatMap((change) => {
      if ("deleted" in change || change.expect === undefined) return [];
      const { key, fence, expect } = change;
      return [[key, { fence, expect, isReadBack: readBack.has(key) }] as const];
    }),
  );
}

interface ReadingBack {
  readonly pipeline: Pipeline;
  readonly told: ReadonlyMap<string, Told>;
  readonly signal: AbortSignal;
  /** What fails here is no fault of the target. */
  readonly ledger: { failure: { readonly error: unknown } | null };
}

/** Refuses once the call is over: another worker may deliver by then. */
function readerBack(
  context: WorkerContext,
  { pipeline, told, signal, ledger }: ReadingBack,
): NonNullable<DeliveryOptions["readBack"]> {
  return async (rows) => {
    signal.throwIfAborted();
    const notes = notesOf(rows, told);
    if (notes.length === 0) return;
    try {
      await context.step("deliver.readBack", () => writeBacks.noteRows(context.database, pipeline.id, notes));
    } catch (error) {
      ledger.failure = { error };
      throw error;
    }
  };
}

/** Also where the call does not heed its signal. What it does later loses by its fences. */
async function within<T>(call: (signal: AbortSignal) => Promise<T>, late: string): Promise<T> {
  const timeOut = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  const tooLate = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(new ConnectorError("again", `The target ${late} within ${CALL_MS_MAX / 1000} seconds.`));
      timeOut.abort();
    }, CALL_MS_MAX);
  });
  try {
    return await Promise.race([call(timeOut.signal), tooLate]);
  } finally {
    clearTimeout(timer);
  }
}

function asConnectorError(error: unknown): ConnectorError {
  if (error instanceof ConnectorError) return error;
  // A config may load another copy of this class.
  const { kind, message, retryAfterMs } = (typeof error === "object" && error !== null ? error : {}) as {
    kind?: unknown;
    message?: unknown;
    retryAfterMs?: unknown;
  };
  const text = (typeof message === "string" ? message : String(error)).slice(0, TROUBLE_CHARACTERS);
  return new ConnectorError(kind === "stop" ? "stop" : "again", text, {
    cause: error,
    retryAfterMs: typeof retryAfterMs === "number" && retryAfterMs > 0 ? retryAfterMs : null,
  });
}

/** The same for the same changes, whichever worker delivers them. */
function idOf({ config }: Pipeline, changes: readonly Change[]): string {
  const text = JSON.stringify([config.name, changes.map(({ key, fence }) => [key, fence])]);
  return createHash("sha256").update(text).digest("hex").slice(0, 32);
}

interface Confirming {
  readonly context: WorkerContext;
  readonly pipeline: Pipeline;
  readonly taken: Taken;
}

async function confirm(tx: Queryable, { context, pipeline, taken }: Confirming, written: Written): Promise<void> {
  const { lines, lease } = taken;
  const writesBack = pipeline.delivery?.writesBack === true;
  const outcomes = outcomesOf(writesBack ? withRows(taken) : lines, written, context.random());
  if (writesBack) {
    // First, since it takes more locks.
    const delivered = lines.filter(({ deleted }, index) => !deleted && outcomes[index]?.state === "delivered");
    await followWrites(tx, pipeline, delivered);
    await writeBacks.forgetNotes(tx, pipeline.id, written.changed);
  }
  const newest = await deliveries.newestFences(
    tx,
    pipeline.id,
    written.stale.map(({ key }) => key),
  );
  const [foreign, ...others] = foreignFences(written, newest);
  await deliveries.confirm(
    tx,
    pipeline.id,
    outcomes.map((outcome, place) => ({ ...outcome, key: lines[place]?.key ?? "", fence: lines[place]?.fence ?? "0" })),
  );
  await deliverers.release(tx, pipeline.id, { token: lease.token, condition: { kind: "well" } });
  if (foreign === undefined) return;
  const { name } = pipeline.config;
  const more = others.length === 0 ? "" : ` (and of ${others.length} more rows)`;
  await pipelines.pause(tx, pipeline.id, {
    kind: "target",
    reason:
      `The target holds an answer for the row ${foreign.key.slice(0, 100)}${more} that this ledger never gave: its ` +
      `fence ${foreign.fence} is newer. Another Rowmill delivers to the same target, or this database is older than ` +
      `the target. If this one should win: rowmill deliver ${name} --replay. Then: rowmill resume ${name}`,
  });
}

function withRows({ lines, untold }: Taken): readonly (deliveries.Line & Pick<ToldChange, "row">)[] {
  const [changed, unseen] = [new Set(untold.changed), new Set(untold.busy)];
  return lines.map((line) => {
    const { key } = line;
    return { ...line, row: changed.has(key) ? "changed" : unseen.has(key) ? "unseen" : "asAsked" };
  });
}

async function noteTrouble(
  tx: Queryable,
  { context, pipeline, taken }: Confirming,
  error: ConnectorError,
): Promise<void> {
  const { token, failures } = taken.lease;
  const text = error.message.replaceAll("\n", " ");
  const waitMs = downMs(failures + 1, error.retryAfterMs, context.random());
  const isOurs = await deliverers.release(tx, pipeline.id, { token, condition: { kind: "trouble", text, waitMs } });
  // Where the lease is lost, another worker delivers by now, and says for itself how that goes.
  if (error.kind === "again" || !isOurs) return;
  const reason = [text, ...error.hints, `Then: rowmill resume ${pipeline.config.name}`].join(" ");
  await pipelines.pause(tx, pipeline.id, { kind: "target", reason });
}
