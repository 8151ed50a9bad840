/** Writes changes into a table of DynamoDB, some at once, and says of each what became of it. */
import {
  type Change,
  type DeliveryOptions,
  type PrepareOptions,
  type RowAfter,
  type TargetConnector,
  type Written,
} from "../../model/connector.js";
import { RowmillError } from "../../model/errors.js";
import { explainCall, openTable, type DynamoTable } from "./client.js";
import { throttled } from "./failure.js";
import type { TablePlace } from "./place.js";
import { prepareTable, type Plan, type Wanted } from "./plan.js";
import { writeItem, type Outcome } from "./write-item.js";

const AT_ONCE_MAX = 16;
/** Later no item is begun: those under way may take as long again, and a write has 60 seconds. */
const BEGIN_MS_MAX = 25_000;
/** Of one write; then the rest waits for the next one. */
const THROTTLED_MAX = AT_ONCE_MAX;

/** @throws ConnectorError */
export async function openWriter(
  place: TablePlace,
  wanted: Wanted,
): Promise<Pick<TargetConnector, "prepare" | "write">> {
  const table = await openTable(place);
  const prepared = new Map<string, { readonly plan: Plan; readonly of: PrepareOptions }>();
  const prepare = async (of: PrepareOptions) => {
    const plan = await explained(table, of.signal, () => prepareTable(table, wanted, of));
    prepared.set(of.pipeline, { plan, of });
  };
  return {
    prepare,
    write: async (changes, options) => {
      const { plan, of } = prepared.get(options.pipeline) ?? {};
      if (plan === undefined || of === undefined)
        throw new RowmillError("internal", `The target was not prepared for "${options.pipeline}".`);
      const written = await explained(table, options.signal, () => writeAll(table, { plan, changes, options }));
      // Perhaps it is no item's fault: the table may be another one now.
      if (written.failed.length === changes.length && changes.length > 0)
        await prepare({ ...of, signal: options.signal });
      return written;
    },
  };
}

async function explained<T>(table: DynamoTable, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw error instanceof RowmillError ? error : explainCall(error, table.shown, signal);
  }
}

interface Writing {
  readonly plan: Plan;
  readonly changes: readonly Change[];
  readonly options: DeliveryOptions;
}

async function writeAll(table: DynamoTable, { plan, changes, options }: Writing): Promise<Written> {
  options.signal.throwIfAborted();
  const outcomes = new Map<string, Outcome>();
  const left = new AbortController();
  const signal = AbortSignal.any([options.signal, left.signal]);
  const endsAt = performance.now() + BEGIN_MS_MAX;
  let throttles = 0;
  try {
    await eachAtOnce(changes, left, async (change) => {
      if (throttles >= THROTTLED_MAX || performance.now() > endsAt) return;
      const outcome = await writeItem({ table, plan, signal }, change);
      outcomes.set(change.key, outcome);
      if (outcome.kind === "throttled") throttles += 1;
    });
  } finally {
    // Also of a write that ends in an error: these items are written.
    const rows = rowsOf(outcomes);
    if (rows.length > 0) await options.readBack?.(rows);
  }
  const written = sorted(changes, outcomes);
  if (changes.length > 0 && written.busy.length === changes.length && throttles > 0) throw throttled(table.shown);
  return written;
}

/** After an error nothing more is begun, and what is under way is cut off. */
async function eachAtOnce<T>(
  items: readonly T[],
  left: AbortController,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const queue = items.values();
  const runners = Array.from({ length: AT_ONCE_MAX }, async () => {
    for (const item of queue) {
      if (left.signal.aborted) return;
      await work(item);
    }
  });
  try {
    await Promise.all(runners);
  } catch (error) {
    left.abort();
    await Promise.allSettled(runners);
    throw error;
  }
}

function rowsOf(outcomes: ReadonlyMap<string, Outcome>): RowAfter[] {
  return [...outcomes].flatMap(([key, outcome]) =>
    outcome.kind === "written" && outcome.row !== undefined ? [{ key, row: outcome.row }] : [],
  );
}

/** What was throttled or not begun is busy: it is written soon, and did not fail. */
function sorted(changes: readonly Change[], outcomes: ReadonlyMap<string, Outcome>): Written {
  const found = {
    written: [] as string[],
    stale: [] as { key: string; fence: string }[],
    changed: [] as string[],
    busy: [] as string[],
    failed: [] as { key: string; reason: string }[],
  };
  for (const { key } of changes) {
    const outcome = outcomes.get(key) ?? { kind: "busy" };
    if (outcome.kind === "stale") found.stale.push({ key, fence: outcome.fence });
    else if (outcome.kind === "failed") found.failed.push({ key, reason: outcome.reason });
    else found[outcome.kind === "throttled" ? "busy" : outcome.kind].push(key);
  }
  return found;
}
