/**
 * The one place that decides what a row's present content means for its request. Intake and sweeper bring keys; what brought
 * them (an INSERT, a sweep, a second hint for the same row) does not matter.
 *
 * Order in the transaction: the pipeline's intake lock, the ledger's rows, then the source. A collector that settles one of
 * these requests meanwhile has read its source row before our lock or reads it after: either way the newer content is seen by
 * one of the two. A crash undoes the look together with the taking of the arrivals that caused it.
 */
import { compareRow, moveRequest } from "../../model/request/request-transitions.js";
import type { RowVersion } from "../../sources/source.js";
import { contentsOf, READ_KEYS_MAX } from "../../sources/source.js";
import * as arrivals from "../../store/requests/arrivals.js";
import { bisect } from "../../postgres/bisect.js";
import type { Queryable } from "../../postgres/database.js";
import * as refusedKeys from "../../store/requests/refused-keys.js";
import * as requests from "../../store/requests/requests.js";
import type { LedgerRow, NewRequest, RowMove } from "../../store/requests/requests.js";
import { currentFingerprint, type Pipeline } from "../context.js";

export interface LookCounts {
  added: number;
  moved: number;
  refused: number;
  /** Keys that there was no time for: they arrive again. Never all. */
  left: readonly string[];
}

/**
 * Compares these keys' rows with the ledger and writes what follows. Once the source has no time for some of them, no further ones are
 * looked at, so that the transaction stays short. The caller holds the intake lock in `tx`.
 * `since`: when the keys arrived; null: they did not.
 */
export async function lookAt(
  tx: Queryable,
  pipeline: Pipeline,
  { keys, since }: { keys: readonly string[]; since: string | null },
): Promise<LookCounts> {
  const counts = { added: 0, moved: 0, refused: 0 };
  const left: string[] = [];
  const sorted = [...new Set(keys)].sort();
  for (const key of sorted.filter((key) => !fits(key))) {
    const wrong =
      key === "" ? "A key may not be empty." : `A key may have at most ${arrivals.KEY_BYTES_MAX} bytes.`;
    const reason = `${wrong} Change it, name other columns in source.key, or leave such rows out with source.where.`;
    await refusedKeys.refuseKey(tx, pipeline.id, { key, reason });
    counts.refused++;
  }
  const usable = sorted.filter(fits);
  for (let start = 0; start < usable.length; start += READ_KEYS_MAX) {
    const chunk = usable.slice(start, start + READ_KEYS_MAX);
    await bisect(
      tx,
      chunk,
      async (part) => {
        if (left.length > 0) {
          left.push(...part);
          return;
        }
        const done = await lookAtChunk(tx, pipeline, part);
        counts.added += done.added;
        counts.moved += done.moved;
        left.push(...done.left);
      },
      async (key, error) => {
        await refusedKeys.refuseKey(tx, pipeline.id, { key, reason: error.message });
        counts.refused++;
      },
    );
  }
  await arrivals.putBack(tx, pipeline.id, { keys: left, since });
  return { ...counts, left };
}

function fits(key: string): boolean {
  return key.length > 0 && Buffer.byteLength(key) <= arrivals.KEY_BYTES_MAX;
}

async function lookAtChunk(
  tx: Queryable,
  pipeline: Pipeline,
  keys: readonly string[],
): Promise<Omit<LookCounts, "refused">> {
  const known = new Map((await requests.lockByKeys(tx, pipeline.id, keys)).map((row) => [row.key, row]));
  const { source } = pipeline;
  const mayBeRenamed = [...known.values()].some(({ state }) => state === "batched");
  const readsNew = source.looksAtNew || mayBeRenamed;
  const { versions, left } = await source.readVersions(tx, readsNew ? keys : [...known.keys()]);
  const rows = new Map(versions.map((row) => [row.key, row]));
  // Neither gone nor changed: nothing follows from them.
  for (const key of left) known.delete(key);
  const renamed = followRenamed({ keys, known, rows });
  await requests.renameMany(tx, renamed);
  const passed = new Set([...renamed.map(({ key }) => key), ...left]);
  const moves = [...known.values()].flatMap((request) => moveFor(request, rows.get(request.key)));
  const settled = await withoutLostAnswers(tx, pipeline, { moves, known });
  const unknown = keys.filter((key) => !known.has(key) && !passed.has(key));
  const added = await requests.insertMany(
    tx,
    pipeline.id,
    readsNew ? newRequests(unknown, rows) : await unreadRequests(tx, pipeline, unknown),
  );
  return { added, moved: await requests.moveMany(tx, pipeline.id, settled), left };
}

function newRequests(keys: readonly string[], rows: ReadonlyMap<string, RowVersion>): NewRequest[] {
  return keys.flatMap((key): NewRequest[] => {
    const row = rows.get(key);
    return row ? [{ key, hash: row.hash, state: row.existedBefore ? "cancelled" : "waiting" }] : [];
  });
}

/** That there is a row is enough: its content is read when it is rendered. */
async function unreadRequests(
  tx: Queryable,
  { source }: Pipeline,
  keys: readonly string[],
): Promise<NewRequest[]> {
  if (keys.length === 0) return [];
  const missing = new Set(await source.missingKeys(tx, keys));
  return keys.filter((key) => !missing.has(key)).map((key) => ({ key, hash: null, state: "waiting" }));
}

/**
 * A row that got another key while it is being answered: its request follows it, so that its content is not asked twice. Both keys
 * come in one arrival, hence mostly in one chunk; where they do not, the row under its new key is asked anew.
 */
function followRenamed(look: {
  readonly keys: readonly string[];
  readonly known: ReadonlyMap<string, LedgerRow>;
  readonly rows: ReadonlyMap<string, RowVersion>;
}): readonly { readonly id: string; readonly key: string }[] {
  const left = [...look.known.values()].filter(
    (request) => request.state === "batched" && !look.rows.has(request.key),
  );
  const fresh = look.keys.flatMap((key) => (look.known.has(key) ? [] : (look.rows.get(key) ?? [])));
  // What was asked.
  const byHash = new Map(left.map((request) => [request.contentHash, request.id]));
  return fresh.flatMap((row) => {
    const id = byHash.get(row.hash);
    byHash.delete(row.hash);
    return id === undefined ? [] : [{ id, key: row.key }];
  });
}

function moveFor(request: LedgerRow, row: RowVersion | undefined): RowMove[] {
  const event = compareRow(request, row?.hash ?? null);
  const to = moveRequest(request, event);
  if (to === null) return [];
  return [
    {
      id: request.id,
      from: request.state,
      to,
      hash: row?.hash ?? null,
      fresh: event === "rowDiffers",
      forget: false,
    },
  ];
}

/**
 * A row that comes back as it was answered needs no new answer, provided that the old one still stands in the target and is what
 * the present definition would ask for. Otherwise it waits.
 */
async function withoutLostAnswers(
  tx: Queryable,
  pipeline: Pipeline,
  look: { moves: readonly RowMove[]; known: ReadonlyMap<string, LedgerRow> },
): Promise<RowMove[]> {
  if (!look.moves.some((move) => move.to === "succeeded")) return [...look.moves];
  const byId = new Map([...look.known.values()].map((request) => [request.id, request]));
  const restored = look.moves.flatMap((move) =>
    move.to === "succeeded" ? (byId.get(move.id)?.key ?? []) : [],
  );
  const present = await pipeline.target.present(tx, restored);
  const now = new Map<string, { hash: string; fingerprint: string | null }>();
  for await (const rows of contentsOf(pipeline.source, tx, [...present])) {
    for (const { key, hash, cells } of rows)
      now.set(key, { hash, fingerprint: currentFingerprint(pipeline, cells) });
  }
  return look.moves.map((move) => {
    const request = byId.get(move.id);
    if (move.to !== "succeeded" || !request) return move;
    const row = now.get(request.key);
    const stands = row?.hash === move.hash && row.fingerprint === request.answeredFingerprint;
    return stands ? move : { ...move, to: "waiting" as const, fresh: true, forget: true };
  });
}
