/** One pushed row: what has happened to it, and its deletion. */
import type { Queryable } from "../postgres/database.js";
import * as overview from "../store/ledger/overview.js";
import * as replicaRows from "../store/replicas/replica-rows.js";
import * as replicas from "../store/replicas/replicas.js";
import { readAnswers } from "../targets/table/read-answers.js";
import { jsonObject, pushedPipeline, reading, WAIT_FOR_ROOM_MS } from "./pushed-pipeline.js";
import { responseTo, tooBusy, tooManyCalls, unknownPipeline, unknownRow } from "./refusals.js";
import type { Call, Desk } from "./routes.js";

/** A deletion waits for pushes of its row, or of all rows where they have versions; those that follow wait for it. */
const LOCK_MS_MAX = 2_000;

export async function giveRow(desk: Desk, call: Call): Promise<Response> {
  const name = call.req.param("name") ?? "";
  const given = call.req.param("key") ?? "";
  const row = await reading(desk, (tx) => rowOf(tx, name, given));
  return row === "busy" ? tooManyCalls() : row;
}

async function rowOf(tx: Queryable, name: string, given: string): Promise<Response> {
  const pipeline = await pushedPipeline(tx, name);
  if (pipeline === null) return unknownPipeline(name);
  const { replica, definition, answers } = pipeline;
  if (!replicaRows.isKeyOf(replica, given)) return unknownRow(given);
  const key = await replicaRows.spelledKey(tx, replica, given);
  const columns = [...new Set([...replica.key, ...definition.columns])];
  const [row, request] = await Promise.all([
    replicaRows.readRow(tx, replica, { key: given, columns }),
    overview.requestStory(tx, definition.pipelineId, key),
  ]);
  if (row === null && request === null) return unknownRow(given);
  const answer = (await readAnswers(tx, answers, [key])).get(key);
  const error = request?.errorCode ?? null;
  const text = jsonObject({
    key: JSON.stringify(key),
    state: JSON.stringify(request?.state ?? "new"),
    error: JSON.stringify(error === null ? null : { code: error, message: request?.error ?? null }),
    attempts: JSON.stringify(request?.attempt ?? 0),
    row: JSON.stringify(row && { cells: row.cells, pushedAt: row.pushedAt, complete: row.isComplete }),
    answer: answer?.json ?? "null",
    model: JSON.stringify(answer?.model ?? null),
    version: JSON.stringify(answer?.version ?? request?.answeredVersion ?? null),
    answeredAt: JSON.stringify(answer?.at ?? null),
  });
  return new Response(text, { headers: { "content-type": "application/json" } });
}

/** Removed for good. Its answer stays in the target, as that of any deleted row. */
export async function removeRow(desk: Desk, call: Call): Promise<Response> {
  const name = call.req.param("name") ?? "";
  const key = call.req.param("key") ?? "";
  const release = await desk.pushes.take(1, WAIT_FOR_ROOM_MS);
  if (release === null) return responseTo(tooBusy("Too many pushes are in progress. Send it again later."));
  try {
    return await desk.database.transaction(
      async (tx) => {
        const replica = await replicas.replicaOf(tx, name);
        // What is read from elsewhere would come back.
        if (replica?.synced !== false) return unknownPipeline(name);
        const isRemoved = replicaRows.isKeyOf(replica, key) && (await replicaRows.removeRow(tx, replica, key));
        return isRemoved ? new Response(null, { status: 204 }) : unknownRow(key);
      },
      { lockTimeoutMs: LOCK_MS_MAX },
    );
  } finally {
    release();
  }
}
