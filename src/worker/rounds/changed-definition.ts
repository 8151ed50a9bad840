/**
 * Compares what was asked about each row with what a changed definition would ask. Failed rows whose question changed
 * are sent again; your decision (`onChange`) says what happens to answered ones.
 */
import { RowmillError } from "../../model/errors.js";
import type { Queryable } from "../../postgres/database.js";
import type { AskedRow, Source, SourceRow } from "../../sources/source.js";
import * as changes from "../../store/pipelines/changes.js";
import type { DefinitionChange } from "../../store/pipelines/changes.js";
import * as definitions from "../../store/pipelines/definitions.js";
import * as pipelines from "../../store/pipelines/pipelines.js";
import * as requests from "../../store/requests/requests.js";
import { currentFingerprint, type Pipeline } from "../context.js";

/** Rows whose fingerprints are compared at once; fewer where rows are large. */
const ROWS_MAX = 1_000;

/** The next rows in key order. `moved`: those that wait now, or no longer have to. */
export async function compareWithDefinition(
  tx: Queryable,
  pipeline: Pipeline,
  from: readonly string[] | null,
): Promise<{ readonly cursor: readonly string[] | null; readonly moved: number }> {
  await pipelines.lockIntake(tx, pipeline.id);
  const change = await changes.changeOf(tx, pipeline.id);
  const chunk = await pipeline.source.askedChunk(tx, from, ROWS_MAX);
  const keys = chunk.rows.map(({ key }) => key);
  const { rows, left } = await pipeline.source.readRows(tx, keys);
  const present = new Map(rows.map((row) => [row.key, row]));
  const previous = await previousHashes(tx, pipeline, { change, keys });
  const moves = chunk.rows.map((asked) => ({
    asked,
    ...judgeAsked(pipeline, {
      asked,
      row: present.get(asked.key),
      previousHash: previous?.get(asked.key) ?? null,
      decision: change?.decision ?? null,
    }),
  }));
  const ids = (move: Move) => moves.filter((each) => each.move === move).map(({ asked }) => asked.requestId);
  const again = await requests.cutShort(tx, ids("retryIfShort"), pipeline.config.request.maxOutputTokens);
  await requests.followContent(
    tx,
    pipeline.id,
    moves.flatMap(({ asked: { key }, follow }) => (follow === null ? [] : [{ key, ...follow }])),
  );
  await changes.countRows(tx, pipeline.id, { rows: ids("count").length, isFirst: from === null });
  const moved =
    (await requests.reopenMany(tx, pipeline.id, [...ids("reopen"), ...again])) +
    (await requests.reaffirmMany(tx, pipeline.id, ids("reaffirm")));
  const lastRead = chunk.rows[chunk.rows.length - left.length - 1];
  return { cursor: left.length > 0 && lastRead ? lastRead.cursor : chunk.cursor, moved };
}

/** `count`: it would be sent again if you decided so. `retryIfShort`: failed; again if it was cut short before. */
type Move = "reopen" | "reaffirm" | "retryIfShort" | "count" | "none";

interface Judged {
  readonly move: Move;
  /** The content, and the question if it is to count as asked, that the ledger takes over; null: as it is. */
  readonly follow: { readonly hash: string; readonly fingerprint: string | null } | null;
}

const NOTHING: Judged = { move: "none", follow: null };

export interface AskedCase {
  readonly asked: AskedRow;
  readonly row: SourceRow | undefined;
  /** The row's version by the columns of the previous definition, where those differ; null: not known. */
  readonly previousHash: string | null;
  readonly decision: DefinitionChange["decision"];
}

/** What happens to one request under the present definition. Pure as far as the user's functions are. */
function judgeAsked(
  pipeline: Pick<Pipeline, "config" | "render" | "encode">,
  { asked, row, previousHash, decision }: AskedCase,
): Judged {
  if (row === undefined || row.cells === null) return NOTHING;
  const isFollowed = previousHash !== null && previousHash === asked.contentHash && row.hash !== previousHash;
  // A row that changed is found when the source is compared.
  if (row.hash !== asked.contentHash && !isFollowed) return NOTHING;
  const fingerprint = currentFingerprint(pipeline, row.cells);
  const isSame = fingerprint === asked.fingerprint;
  switch (asked.state) {
    case "waiting":
      return { ...NOTHING, move: fingerprint === asked.answeredFingerprint ? "reaffirm" : "none" };
    case "failed":
      return { ...NOTHING, move: isSame ? "retryIfShort" : "reopen" };
    case "succeeded": {
      if (!isSame && (decision === null || decision === "reask")) return { ...NOTHING, move: "reopen" };
      if (!isSame && decision === "keep") return { move: "none", follow: { hash: row.hash, fingerprint } };
      const follow = isFollowed ? { hash: row.hash, fingerprint: null } : null;
      return { move: isSame ? "none" : "count", follow };
    }
  }
}

/** Versions by the previous definition's columns. Null: they are the same, or rows are sent again in any case. */
async function previousHashes(
  tx: Queryable,
  pipeline: Pipeline,
  { change, keys }: { readonly change: DefinitionChange | null; readonly keys: readonly string[] },
): Promise<ReadonlyMap<string, string> | null> {
  const { previousHash = null, decision = null } = change ?? {};
  if (previousHash === null || decision === null || decision === "reask") return null;
  const source = await previousSource(tx, pipeline, previousHash);
  if (source === null) return null;
  const hashes = new Map<string, string>();
  // Each read leaves fewer keys than it was given.
  for (let left = keys; left.length > 0;) {
    const read = await source.readVersions(tx, left);
    for (const { key, hash } of read.versions) hashes.set(key, hash);
    ({ left } = read);
  }
  return hashes;
}

/** Null: the same columns, or they are gone, or it is another table. */
async function previousSource(tx: Queryable, pipeline: Pipeline, hash: string): Promise<Source | null> {
  const content = (await definitions.definitionOf(tx, pipeline.id, hash))?.content ?? null;
  if (content === null || content.join() === pipeline.config.source.columns.join()) return null;
  try {
    return await pipeline.sourceFor(tx, content);
  } catch (error) {
    if (!(error instanceof RowmillError) || error.code !== "source_unsupported") throw error;
    return null;
  }
}
