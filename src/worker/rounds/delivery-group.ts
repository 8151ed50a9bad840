/**
 * Decides which changes go to a target together, and what to do after the write. If a write keeps throwing, its changes
 * are halved until the rows that cause it are alone. A crash loses the state of this search, and the next worker begins
 * it again.
 */
import type { ConnectorError, Written } from "../../model/connector.js";
import { downMs, reasonText } from "../../model/delivery-outcomes.js";
import {
  afterThrown,
  afterWritten,
  aloneAfterWritten,
  startHalving,
  verdictOf,
  withAlone,
  type Alone,
  type Halving,
  type Suspect,
} from "../../model/halving.js";
import type { Queryable } from "../../postgres/database.js";
import * as deliveries from "../../store/deliveries/deliveries.js";

/** Throws in a row before its changes are halved: most of the time the target is down for a moment. */
const THROWS_MIN = 3;

export interface Group {
  readonly lines: readonly deliveries.Line[];
  readonly halving: Halving | null;
}

/** `failures`: writes in a row that failed as a whole. */
export async function takeGroup(
  tx: Queryable,
  pipelineId: number,
  { failures, halving, linesMax }: { failures: number; halving: Halving | null; linesMax: number },
): Promise<Group> {
  for (let left = halving; left !== null && left.parts.length > 0; left = afterWritten(left, { empty: true })) {
    const lines = await deliveries.dueAmong(tx, pipelineId, left.parts[0] ?? []);
    if (lines.length > 0) return { lines, halving: left };
  }
  const due = await deliveries.due(tx, pipelineId, linesMax);
  // Rows that were refused before do not keep back others.
  const alike = due.filter((line) => line.failures > 0 === (due[0]?.failures ?? 0) > 0);
  if (failures < THROWS_MIN) return { lines: alike, halving: null };
  // The target fails as a whole. One row shows when it works again: another one each time, because it may be the row.
  return { lines: due.slice(failures % due.length, (failures % due.length) + 1), halving: null };
}

export type Told =
  | { readonly kind: "written"; readonly written: Written }
  | { readonly kind: "thrown"; readonly error: ConnectorError; readonly byWrite: boolean }
  | { readonly kind: "stopped" };

export type End = {
  /** Rows that made a write throw, and are told apart from a target that fails. */
  readonly refused: readonly Suspect[];
} & (
  | { readonly kind: "written"; readonly written: Written }
  | {
      readonly kind: "trouble";
      readonly error: ConnectorError;
      readonly failures: number;
      readonly waitMs: number;
    }
  /** It was the rows, so the target is well. */
  | { readonly kind: "refused" }
  | { readonly kind: "stopped" }
);

/** What this process knows of a target that throws. */
export interface ThrowMemory {
  readonly halving: Halving | null;
  readonly alone: Alone;
}

export const NOTHING_THROWN: ThrowMemory = { halving: null, alone: new Map() };

interface Sent {
  readonly lines: readonly deliveries.Line[];
  readonly halving: Halving | null;
  readonly lease: { readonly failures: number };
}

interface Judged {
  readonly end: End;
  readonly memory: ThrowMemory;
}

export function judge(told: Told, sent: Sent & { readonly alone: Alone }, chance: number): Judged {
  const { halving } = sent;
  if (told.kind === "stopped") return { end: { ...told, refused: [] }, memory: { halving, alone: sent.alone } };
  if (told.kind === "thrown") return judgeThrown(told, sent, chance);
  const alone = aloneAfterWritten(sent.alone);
  const after = halving === null ? null : afterWritten(halving, { empty: false });
  const verdict = after === null ? null : verdictOf(after);
  const refused = verdict?.refused ?? [];
  return { end: { ...told, refused }, memory: { halving: verdict === null ? after : null, alone } };
}

function judgeThrown(
  { error, byWrite }: Extract<Told, { readonly kind: "thrown" }>,
  { lines, halving, lease, alone }: Sent & { readonly alone: Alone },
  chance: number,
): Judged {
  const failures = lease.failures + 1;
  const trouble = (counted: number, waits: number, refused: readonly Suspect[] = []): End => ({
    kind: "trouble",
    error,
    failures: counted,
    waitMs: downMs(waits, error.retryAfterMs, chance),
    refused,
  });
  // Otherwise it asks to wait, or needs your attention: no row causes that.
  const mayBeRows = byWrite && error.kind === "again" && error.retryAfterMs === null;
  const begins = failures >= THROWS_MIN || lines.every((line) => line.failures > 0);
  if (!mayBeRows || (halving === null && !begins))
    return { end: trouble(failures, failures), memory: { halving: null, alone } };
  const after = halvingAfter({ lines, halving, alone }, reasonText(error.message));
  const verdict = verdictOf(after);
  if (verdict === null) return { end: trouble(Math.min(failures, THROWS_MIN), 1), memory: { halving: after, alone } };
  const { by, refused } = verdict;
  const memory = { halving: null, alone: withAlone(alone, after.suspects) };
  if (by === "rows") return { end: { kind: "refused", refused }, memory };
  const counted = Math.max(failures, THROWS_MIN);
  return { end: trouble(counted, counted, refused), memory };
}

function halvingAfter(
  { lines, halving, alone }: Omit<Sent, "lease"> & { readonly alone: Alone },
  reason: string,
): Halving {
  const begun = halving ?? startHalving(lines.map(({ key }) => key));
  if (halving === null && lines.length > 1) return begun;
  const isKnown = (line: deliveries.Line) => {
    const before = alone.get(line.key);
    return (line.failures > 0 && line.reason === reason) || (before?.worked === true && before.reason === reason);
  };
  return afterThrown(
    begun,
    lines.map((line) => ({ key: line.key, fence: line.fence, failures: line.failures, known: isKnown(line) })),
    reason,
  );
}
