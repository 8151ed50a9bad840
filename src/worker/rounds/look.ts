/**
 * Decides what a row's present content means for its request, whatever brought its key (an arrival, a sweep).
 *
 * The transaction locks the pipeline's intake, then the ledger's rows, then reads the source. A collector that settles
 * one of these requests in the meantime reads its row before our lock or after it: one of the two sees the newer
 * content. A crash undoes the look together with the taking of its arrivals.
 */
import { compareRow, moveRequest } from "../../model/request/request-transitions.js";
import { contentsOf, READ_KEYS_MAX, type RowVersion } from "../../sources/source.js";
import * as arrivals from "../../store/requests/arrivals.js";
import { bisect } from "../../postgres/bisect.js";
import type { Queryable } from "../../postgres/database.js";
import * as deliveries from "../../store/deliveries/deliveries.js";
import * as refusedKeys from "../../store/requests/refused-keys.js";
import * as requests from "../../store/requests/requests.js";
import type { LedgerRow, NewRequest, RowMove } from "../../store/requests/requests.js";
import { currentFingerprint, type Pipeline } from "../context.js";

/**
 * Compares these keys' rows with the ledger and writes what follows; returns how many requests were added. Keys that
 * the source had no time for arrive again, so that the transaction stays short. The caller holds the intake lock in
 * `tx`. `since`: when the keys arrived; null: they did not.
 */
export async function lookAt(
  tx: Queryable,
  pipeline: Pipeline,
  { keys, since }: { keys: readonly string[]; since: string | null },
): Promise<number> {
  let added = 0;
  const left: string[] = [];
  const sorted = [...new Set(keys)].sort();
  for (const key of sorted.filter((key) => !fits(key)))
    await refusedKeys.refuseKey(tx, pipeline.id, { key, reason: unfitText(key) });
  const usable = sorted.filter(fits);
  for (let start = 0; start < usable.length; start += READ_KEYS_MAX) {
    await bisect(
      tx,
      usable.slice(start, start + READ_KEYS_MAX),
      async (part) => {
        if (left.length > 0) {
          left.push(...part);
          return;
        }
        const done = await lookAtChunk(tx, pipeline, part);
        added += done.added;
        left.push(...done.left);
      },
      (key, error) => refusedKeys.refuseKey(tx, pipeline.id, { key, reason: error.message }),
    );
  }
  await arrivals.putBack(tx, pipeline.id, { keys: left, since });
  return added;
}

function fits(key: string): boolean {
  return key.length > 0 && Buffer.byteLength(key) <= arrivals.KEY_BYTES_MAX;
}

function unfitText(key: string): string {
  const wrong = key === "" ? "A key may not be empty." : `A key may have at most ${arrivals.KEY_BYTES_MAX} bytes.`;
  return `${wrong} Change it, name other columns in source.key, or leave such rows out with source.where.`;
}

/** Reads, decides, writes. `left`: keys that the source had no time for, never all of them. */
async function lookAtChunk(
  tx: Queryable,
  pipeline: Pipeline,
  keys: readonly string[],
): Promise<{ readonly added: number; readonly left: readonly string[] }> {
  const known = await requests.lockByKeys(tx, pipeline.id, keys);
  const { source } = pipeline;
  const readsNew = source.looksAtNew || known.some(({ state }) => state === "batched");
  const { versions, left } = await source.readVersions(tx, readsNew ? keys : known.map(({ key }) => key));
  const look = decideLook({ keys, known, versions, left });
  const confirmed = await confirmRestored(tx, pipeline, look.restored);
  await requests.renameMany(tx, look.renamed);
  const added = await requests.insertMany(
    tx,
    pipeline.id,
    readsNew ? look.added : await unreadRequests(tx, pipeline, look.unknown),
  );
  await requests.moveMany(tx, pipeline.id, [...look.moves, ...confirmed]);
  await writeBackAgain(tx, pipeline, { known, moves: confirmed });
  const there = new Set(versions.map((row) => row.key));
  const back = known.filter(({ rowGone, key }) => rowGone && there.has(key));
  await requests.noteReturned(
    tx,
    back.map(({ id }) => id),
  );
  return { added, left };
}

/** What one chunk of keys looks like. */
export interface LookFacts {
  readonly keys: readonly string[];
  /** The requests of these keys, locked. */
  readonly known: readonly LedgerRow[];
  /** The rows that were read: those of `known`, and of other keys where new rows are read too. */
  readonly versions: readonly RowVersion[];
  /** Keys whose rows there was no time to read: neither gone nor changed, nothing follows. */
  readonly left: readonly string[];
}

export interface LookDecision {
  /** Requests in flight whose row got another key. */
  readonly renamed: readonly { readonly id: string; readonly key: string }[];
  readonly moves: readonly RowMove[];
  /** Moves back to `succeeded`, which hold only while the old answer stands. */
  readonly restored: readonly { readonly move: RowMove; readonly request: LedgerRow }[];
  /** Keys without a request, */
  readonly unknown: readonly string[];
  /** and the requests for those of them whose rows were read. */
  readonly added: readonly NewRequest[];
}

/** Pure. */
export function decideLook({ keys, known, versions, left }: LookFacts): LookDecision {
  const skipped = new Set(left);
  const rows = new Map(versions.map((row) => [row.key, row]));
  const read = known.filter(({ key }) => !skipped.has(key));
  const ours = new Set(read.map(({ key }) => key));
  const fresh = keys.filter((key) => !ours.has(key) && !skipped.has(key));
  const renamed = followRenamed(read, fresh, rows);
  const taken = new Set(renamed.map(({ key }) => key));
  const unknown = fresh.filter((key) => !taken.has(key));
  const moves: RowMove[] = [];
  const restored: { move: RowMove; request: LedgerRow }[] = [];
  for (const request of read) {
    const move = moveFor(request, rows.get(request.key));
    if (move?.to === "succeeded") restored.push({ move, request });
    else if (move !== null) moves.push(move);
  }
  const added = unknown.flatMap((key): NewRequest[] => {
    const row = rows.get(key);
    return row ? [{ key, hash: row.hash, state: row.existedBefore ? "cancelled" : "waiting" }] : [];
  });
  return { renamed, moves, restored, unknown, added };
}

/**
 * A row that gets another key while it is being answered keeps its request, so that its content is not asked twice.
 * Both keys come in one arrival, so mostly in one chunk; otherwise the row is sent again under its new key.
 */
function followRenamed(
  read: readonly LedgerRow[],
  fresh: readonly string[],
  rows: ReadonlyMap<string, RowVersion>,
): LookDecision["renamed"] {
  const gone = read.filter(({ state, key }) => state === "batched" && !rows.has(key));
  const byHash = new Map(gone.map(({ contentHash, id }) => [contentHash, id]));
  return fresh.flatMap((key) => {
    const hash = rows.get(key)?.hash;
    const id = hash === undefined ? undefined : byHash.get(hash);
    if (hash === undefined || id === undefined) return [];
    byHash.delete(hash);
    return [{ id, key }];
  });
}

function moveFor(request: LedgerRow, row: RowVersion | undefined): RowMove | null {
  const event = compareRow(request, row?.hash ?? null);
  const to = moveRequest(request, event);
  if (to === null) return null;
  const { id, state: from } = request;
  return { id, from, to, hash: row?.hash ?? null, fresh: event === "rowDiffers", forget: false };
}

/** A row that comes back as it was answered waits, unless the old answer is in the target and still up to date. */
async function confirmRestored(
  tx: Queryable,
  pipeline: Pipeline,
  restored: LookDecision["restored"],
): Promise<RowMove[]> {
  if (restored.length === 0) return [];
  const present = await pipeline.target.present(
    tx,
    restored.map(({ request }) => request.key),
  );
  const now = new Map<string, { hash: string; fingerprint: string | null }>();
  for await (const rows of contentsOf(pipeline.source, tx, [...present])) {
    for (const { key, hash, cells } of rows) now.set(key, { hash, fingerprint: currentFingerprint(pipeline, cells) });
  }
  return restored.map(({ move, request }) => {
    const row = now.get(request.key);
    const stands = row?.hash === move.hash && row.fingerprint === request.answeredFingerprint;
    return stands ? move : { ...move, to: "waiting", fresh: true, forget: true };
  });
}

/** A row that comes back may have been deleted with the answer that was in it. */
async function writeBackAgain(
  tx: Queryable,
  { id, delivery }: Pipeline,
  { known, moves }: { readonly known: readonly LedgerRow[]; readonly moves: readonly RowMove[] },
): Promise<void> {
  if (delivery?.writesBack !== true) return;
  const back = new Set(moves.filter(({ to }) => to === "succeeded").map((move) => move.id));
  const keys = known.filter((request) => back.has(request.id)).map(({ key }) => key);
  if (keys.length > 0) await deliveries.noteWritten(tx, id, keys);
}

/** That the row exists is enough: its content is read when it is rendered. */
async function unreadRequests(tx: Queryable, { source }: Pipeline, keys: readonly string[]): Promise<NewRequest[]> {
  if (keys.length === 0) return [];
  const missing = new Set(await source.missingKeys(tx, keys));
  return keys.filter((key) => !missing.has(key)).map((key) => ({ key, hash: null, state: "waiting" }));
}
