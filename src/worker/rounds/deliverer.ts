/**
 * Delivers answers to targets elsewhere: takes the changes that are due, writes them to the target, and confirms them
 * in the ledger, in this order. A crash after the write delivers them once more with the same fences, which changes
 * nothing at a target that compares them. No transaction is open while the target is written to.
 */
import { createHash } from "node:crypto";
import type { Change, Written } from "../../model/connector.js";
import { foreignFences, outcomesOf, refusalsOf, type Told as ToldChange } from "../../model/delivery-outcomes.js";
import type { Alone, Halving } from "../../model/halving.js";
import type { Json } from "../../model/pipeline.js";
import type { Queryable } from "../../postgres/database.js";
import * as deliverers from "../../store/deliveries/deliverers.js";
import * as deliveries from "../../store/deliveries/deliveries.js";
import * as writeBacks from "../../store/deliveries/write-backs.js";
import * as pipelines from "../../store/pipelines/pipelines.js";
import { Stopped } from "../connector-call.js";
import type { Delivery, Pipeline, WorkerContext } from "../context.js";
import { guarded } from "../guard.js";
import { judge, NOTHING_THROWN, takeGroup, type End, type Told } from "./delivery-group.js";
import { noteTrouble, settleRestMs, settleTarget, SETTLE_LEASE_MS, type Settling } from "./settle-target.js";
import { asConnectorError, prepareTarget, within } from "./target-call.js";
import { askedWith, followWrites, readerBack, type AskedWith } from "./write-back.js";

/** Longer than both calls. */
const LEASE_MS = 180_000;
/** Writes in one round, before the worker looks again at what is due. */
const WRITES_MAX = 100;

/** `full`: the round ended although more may be due. */
export async function deliverDue(
  context: WorkerContext,
  pipeline: Pipeline,
  signal: AbortSignal,
): Promise<{ readonly full: boolean }> {
  const { delivery } = pipeline;
  if (delivery === null) return { full: false };
  for (let writes = 0; writes < WRITES_MAX; writes++) {
    if (signal.aborted) return { full: true };
    if ((await guarded(context, pipeline, () => deliverOnce(context, { pipeline, delivery }, signal))) !== "more")
      return { full: false };
  }
  return { full: true };
}

async function deliverOnce(
  context: WorkerContext,
  { pipeline, delivery }: Delivering,
  signal: AbortSignal,
): Promise<"more" | "done"> {
  const taken = await context.step("deliver.take", () =>
    context.database.transaction((tx) => take(tx, { context, pipeline, delivery })),
  );
  if (taken === null) return "done";
  if ("settleAt" in taken) {
    const { error } = await settleTarget(context, { pipeline, delivery, settling: taken }, signal);
    if (error !== null)
      context.log.warn({ pipeline: pipeline.config.name, err: error }, "a target could not finish; trying again later");
    return "done";
  }
  const told = await context.step("deliver.write", () => tell(context, { pipeline, delivery, taken }, signal));
  const { end, memory } = judge(told, taken, context.random());
  await context.step("deliver.confirm", () =>
    context.database.transaction((tx) => settle(tx, { context, pipeline, taken }, end)),
  );
  context.memory.throws.set(pipeline, memory);
  if (end.kind === "written" || end.kind === "refused") return "more";
  if (end.kind === "trouble")
    context.log.warn({ pipeline: pipeline.config.name, err: end.error }, "a delivery failed; trying again later");
  return "done";
}

interface Delivering {
  readonly pipeline: Pipeline;
  readonly delivery: Delivery;
}

interface Taken {
  readonly lease: deliverers.Lease;
  readonly lines: readonly deliveries.Line[];
  readonly changes: readonly Change[];
  /** What is known of the other lines without a word to the target. */
  readonly untold: Pick<Written, "changed" | "busy" | "failed">;
  /** Of which these lines are the first part. */
  readonly halving: Halving | null;
  readonly alone: Alone;
}

/** Null: nothing is due, or another worker does it. */
async function take(
  tx: Queryable,
  { context, pipeline, delivery }: Delivering & { readonly context: WorkerContext },
): Promise<Taken | Settling | null> {
  const lease = await deliverers.claim(tx, pipeline.id, {
    worker: context.workerId,
    targetHash: delivery.targetHash,
    leaseMs: LEASE_MS,
  });
  if (lease === null) return null;
  const { most } = delivery.connector;
  const before = context.memory.throws.get(pipeline) ?? NOTHING_THROWN;
  const { failures } = lease;
  const group = { failures, halving: before.halving, linesMax: most.changes };
  const { lines, halving } = await takeGroup(tx, pipeline.id, group);
  if (lines.length === 0) {
    const settling = await deliverers.claimSettling(tx, pipeline.id, { token: lease.token, leaseMs: SETTLE_LEASE_MS });
    if (settling !== null) return { lease, ...settling };
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
  return { lease, halving, alone: before.alone, ...fill(lines, { answers, rows, bytesMax: most.bytes }) };
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
  { pipeline, delivery, taken: { lines, changes, untold } }: Delivering & { readonly taken: Taken },
  signal: AbortSignal,
): Promise<Told> {
  const { memory } = context;
  const { connector } = delivery;
  if (changes.length === 0) return { kind: "written", written: { written: [], stale: [], ...untold } };
  let isReady = memory.preparedTargets.has(pipeline);
  const reader = delivery.writesBack ? readerBack(context, pipeline, { lines, changes }) : null;
  try {
    if (!isReady) await prepareTarget(context, { pipeline, delivery }, signal);
    isReady = true;
    memory.preparedTargets.add(pipeline);
    const options = { pipeline: pipeline.config.name, id: idOf(pipeline, changes) };
    const { written, stale, changed, busy, failed } = await within(
      (left) =>
        connector.write(changes, {
          ...options,
          signal: left,
          ...(reader === null ? {} : { readBack: reader.until(left) }),
        }),
      `${connector.name} did not answer`,
      { signal },
    );
    const all: Written = {
      written,
      stale,
      changed: [...changed, ...untold.changed],
      busy: [...busy, ...untold.busy],
      failed: [...failed, ...untold.failed],
    };
    return { kind: "written", written: all };
  } catch (error) {
    memory.preparedTargets.delete(pipeline);
    reader?.throwIfFailed();
    if (error instanceof Stopped) return { kind: "stopped" };
    return { kind: "thrown", error: asConnectorError(error), byWrite: isReady };
  }
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

async function settle(tx: Queryable, confirming: Confirming, end: End): Promise<void> {
  const { pipeline, taken, context } = confirming;
  const { token } = taken.lease;
  const outcomes = refusalsOf(end.refused, context.random());
  if (outcomes.length > 0) await deliveries.confirm(tx, pipeline.id, outcomes);
  if (end.kind === "written") await confirm(tx, confirming, end.written);
  else if (end.kind === "trouble") await noteTrouble(tx, { pipeline, lease: taken.lease }, end);
  else
    await deliverers.release(tx, pipeline.id, { token, condition: end.kind === "refused" ? { kind: "well" } : null });
}

async function confirm(tx: Queryable, { context, pipeline, taken }: Confirming, written: Written): Promise<void> {
  const { lines, lease } = taken;
  const writesBack = pipeline.delivery?.writesBack === true;
  const outcomes = outcomesOf(writesBack ? withRows(taken) : lines, written, context.random());
  if (writesBack) {
    // First, because it takes more locks.
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
  if (pipeline.delivery?.connector.settle !== undefined && written.written.length > 0)
    await deliverers.settleLater(tx, pipeline.id, settleRestMs(context, pipeline));
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
