/**
 * Answers that go into the source's own rows, in a system elsewhere. Each is written only where its row still is as it
 * was asked; what the write leaves in the row counts as answered, or a trigger there would have it asked without end.
 */
import {
  ConnectorError,
  type Change,
  type DeliveryOptions,
  type RowAfter,
  type SourceConnector,
  type TargetConnector,
} from "../../model/connector.js";
import type { RowCells } from "../../model/pipeline.js";
import { cellText } from "../../model/request/sync-row.js";
import type { Queryable } from "../../postgres/database.js";
import { contentsOf, type SourceRow } from "../../sources/source.js";
import * as replicas from "../../store/replicas/replicas.js";
import * as requests from "../../store/requests/requests.js";
import * as writeBacks from "../../store/deliveries/write-backs.js";
import type { AskedRow, Fenced } from "../../store/deliveries/write-backs.js";
import type { Line } from "../../store/deliveries/deliveries.js";
import { currentFingerprint, type Pipeline, type WorkerContext } from "../context.js";
import { followOwnWrite } from "../own-write.js";

/** `busy`: the ledger has not looked yet at what the row is now. `changed`: it has, or the row is gone. */
export type AskedWith = { readonly cells: RowCells } | "busy" | "changed";

/**
 * With what the answers of these lines were asked, which were read before. Left out: lines with a newer answer by now,
 * and those whose rows do not fit.
 */
export async function askedWith(
  tx: Queryable,
  { id, source }: Pipeline,
  { lines, bytesMax }: { readonly lines: readonly Fenced[]; readonly bytesMax: number },
): Promise<ReadonlyMap<string, AskedWith>> {
  const asked = new Map((await writeBacks.askedRows(tx, id, lines)).map((row) => [row.key, row]));
  const found = new Map<string, AskedWith>();
  const missing = new Set(asked.keys());
  let bytes = 0;
  for await (const rows of contentsOf(source, tx, [...asked.keys()])) {
    for (const row of rows) {
      found.set(row.key, judge(asked.get(row.key), row));
      missing.delete(row.key);
      bytes += Buffer.byteLength(JSON.stringify(row.cells));
    }
    // Whether the others are there is not known yet.
    if (bytes > bytesMax) return found;
  }
  for (const key of missing) found.set(key, judge(asked.get(key), null));
  return found;
}

function judge(asked: AskedRow | undefined, row: SourceRow | null): AskedWith {
  const { state = null, answeredHash = null, contentHash = null } = asked ?? {};
  if (row !== null && row.cells !== null && row.hash === answeredHash) return { cells: row.cells };
  return state === "succeeded" && contentHash === answeredHash ? "busy" : "changed";
}

/** Written to as if they were other rows, the source would be asked what its own answers changed. */
export async function refuseSame(source: SourceConnector, target: TargetConnector, signal: AbortSignal): Promise<void> {
  if (source.identity === undefined || target.identity === undefined) return;
  // A source that is down blocks nothing; `prepare` reports a target that is down.
  const known = [source.identity(signal), target.identity(signal)].map((one) => one.catch(() => null));
  const [from, to] = await Promise.all(known);
  if (from === null || from !== to) return;
  const text =
    source.name === "files"
      ? "Source and target are one file. Name another one for the answers."
      : "Source and target are one table under two addresses. Write the same url for both.";
  throw new ConnectorError("stop", text);
}

interface Told {
  readonly fence: string;
  readonly expect: RowCells;
  /** An earlier write of this change was noted. */
  readonly isReadBack: boolean;
}

/** Of a write, before it takes effect. None where every row is as it was asked, as without triggers. */
function notesOf(
  rows: readonly RowAfter[],
  told: ReadonlyMap<string, Told>,
): readonly (Fenced & { readonly row: RowCells | null })[] {
  return rows.flatMap(({ key, row }) => {
    const change = told.get(key);
    if (change === undefined) return [];
    const { fence, expect, isReadBack } = change;
    const after = Object.fromEntries(Object.keys(expect).map((name) => [name, cellText(row[name])]));
    const isSame = Object.entries(after).every(([name, text]) => text === expect[name]);
    return isSame && !isReadBack ? [] : [{ key, fence, row: isSame ? null : after }];
  });
}

function toldRows(lines: readonly Line[], changes: readonly Change[]): ReadonlyMap<string, Told> {
  const readBack = new Set(lines.filter(({ isReadBack }) => isReadBack).map(({ key }) => key));
  return new Map(
    changes.flatMap((change) => {
      if ("deleted" in change || change.expect === undefined) return [];
      const { key, fence, expect } = change;
      return [[key, { fence, expect, isReadBack: readBack.has(key) }] as const];
    }),
  );
}

interface ReaderBack {
  /** Refuses once the call is over: another worker may deliver by then. */
  until(left: AbortSignal): NonNullable<DeliveryOptions["readBack"]>;
  /** What failed in the ledger is no fault of the target. */
  throwIfFailed(): void;
}

export function readerBack(
  context: WorkerContext,
  { id }: Pipeline,
  { lines, changes }: { readonly lines: readonly Line[]; readonly changes: readonly Change[] },
): ReaderBack {
  const told = toldRows(lines, changes);
  let failure: { readonly error: unknown } | null = null;
  return {
    until: (left) => async (rows) => {
      left.throwIfAborted();
      const notes = notesOf(rows, told);
      if (notes.length === 0) return;
      try {
        await context.step("deliver.readBack", () => writeBacks.noteRows(context.database, id, notes));
      } catch (error) {
        failure = { error };
        throw error;
      }
    },
    throwIfFailed: () => {
      if (failure !== null) throw failure.error;
    },
  };
}

/** The copies of these rows, and what counts as answered, follow what the confirmed writes left in them. */
export async function followWrites(tx: Queryable, pipeline: Pipeline, lines: readonly Fenced[]): Promise<void> {
  const { id, config } = pipeline;
  if ((await writeBacks.notedRows(tx, id, lines)).size === 0) return;
  await replicas.lockAlone(tx, config.name);
  const keys = lines.map(({ key }) => key);
  const known = new Map((await requests.lockByKeys(tx, id, keys)).map((request) => [request.key, request]));
  const noted = await writeBacks.notedRows(tx, id, lines);
  const rows = new Map<string, RowCells>();
  /** They were asked by an earlier definition. */
  const again = new Set<string>();
  for await (const before of contentsOf(pipeline.source, tx, [...noted.keys()])) {
    for (const { key, hash, cells } of before) {
      const [row, request] = [noted.get(key), known.get(key)];
      // Otherwise a reading brought what came after it.
      if (row === undefined || request?.answeredHash !== hash) continue;
      rows.set(key, row);
      if (currentFingerprint(pipeline, cells) !== request.answeredFingerprint) again.add(key);
    }
  }
  if (rows.size === 0) return;
  await writeBacks.copyRows(tx, { pipeline: config.name, key: config.source.key }, rows);
  await followOwnWrite(tx, pipeline, { keys: [...rows.keys()], again, trial: { atTarget: false } });
}
