/** Is there work left that continues by itself? For `--until-idle`, tests and the demo. */
import { heldText, type HeldBatch } from "../../model/provider/account.js";
import { undeliveredText } from "../../model/words/undelivered-text.js";
import { pauseText } from "../../model/words/pause-text.js";
import * as arrivals from "../../store/requests/arrivals.js";
import * as batches from "../../store/batches/batches.js";
import * as deliverers from "../../store/deliveries/deliverers.js";
import * as requests from "../../store/requests/requests.js";
import * as stuckBatches from "../../store/batches/stuck-batches.js";
import * as createIntents from "../../store/batches/create-intents.js";
import type { WaitingCreates } from "../../store/batches/create-intents.js";
import * as counts from "../../store/requests/counts.js";
import type { Queryable } from "../../postgres/database.js";
import * as pipelines from "../../store/pipelines/pipelines.js";
import * as refusedKeys from "../../store/requests/refused-keys.js";
import * as syncs from "../../store/syncs/syncs.js";
import * as sweeps from "../../store/requests/sweeps.js";
import type { Pipeline, WorkerContext } from "../../worker/context.js";

export interface IdleState {
  /** Nothing moves until you or your source's writers do something. */
  readonly idle: boolean;
  /** Pipelines that wait for you, or for a target that is tried again, with the reason. */
  readonly blocked: readonly { readonly pipeline: string; readonly reason: string }[];
  /** Rows that failed for good, and rows whose key cannot name them. */
  readonly failed: number;
}

/** There is nothing elsewhere to read. */
const READ: syncs.Unread = { unread: false, trouble: null };

/**
 * In one transaction, which saves two round trips for each of a dozen questions. `ended`: no one continues, so a target
 * in trouble counts even if its next try is near. That counts all deliveries, which is too much for each look.
 */
export async function idleState(context: WorkerContext, { ended = false } = {}): Promise<IdleState> {
  return context.database.transaction((tx) => look(tx, context, ended), { readOnly: true });
}

async function look(
  client: Queryable,
  { pipelines: ours, workerId }: WorkerContext,
  ended: boolean,
): Promise<IdleState> {
  const blocked: { pipeline: string; reason: string }[] = [];
  let idle = true;
  for (const pipeline of ours.values()) {
    const state = await pipelineState(client, pipeline, workerId);
    const reason = state.blocked ?? (ended ? await undelivered(client, pipeline) : null);
    if (reason !== null) blocked.push({ pipeline: pipeline.config.name, reason });
    if (state.busy) idle = false;
  }
  return { idle, blocked, failed: await countFailed(client, ours) };
}

async function countFailed(client: Queryable, ours: WorkerContext["pipelines"]): Promise<number> {
  const failed = (await counts.countStates(client))
    .filter((row) => ours.has(row.pipelineId))
    .map((row) => row.counts.failed);
  const refused = (await refusedKeys.countUnnamed(client))
    .filter((row) => ours.has(row.pipelineId))
    .map((row) => row.rows);
  return [...failed, ...refused].reduce((sum, count) => sum + count, 0);
}

async function pipelineState(
  client: Queryable,
  pipeline: Pipeline,
  workerId: string,
): Promise<{ busy: boolean; blocked: string | null }> {
  const row = await pipelines.byId(client, pipeline.id);
  if (row === null) return { busy: false, blocked: "It is no longer registered." };
  // The planner skips both, so their rows would wait indefinitely.
  if (row.uninstalledAt !== null) return { busy: false, blocked: "It is uninstalled. To install it again: rowmill up" };
  if (row.definitionHash !== pipeline.definitionHash)
    return { busy: false, blocked: "Another rowmill up started with a changed config, so this one is out of date." };
  const { delivery } = pipeline;
  if (delivery !== null && (await deliverers.isBusy(client, pipeline.id, delivery.targetHash)))
    return { busy: true, blocked: null };
  const paused = pauseText(row);
  if (paused !== null) return { busy: false, blocked: paused };
  const unswept =
    (await sweeps.isSweepPending(client, pipeline.id)) ||
    !(await sweeps.isSwept(client, pipeline.id, row.definitionHash));
  const isSynced = pipeline.config.source.replica?.sync != null;
  const { unread, trouble } = isSynced ? await syncs.unread(client, pipeline.config.name, workerId) : READ;
  const unseen = unread || unswept || (await arrivals.countArrivals(client, pipeline.id)) > 0;
  const inFlight = await batches.countUnfinished(client, [pipeline.id]);
  const waiting = await waitingWithinLimit(client, pipeline);
  // Rowmill asks for approval after the sweep, and the first reading, which count the rows.
  if (waiting > 0 && !unswept && row.approvedHash !== row.definitionHash) {
    if (!isSynced || (await syncs.isRead(client, row.name)))
      return { busy: false, blocked: `It waits for approval: rowmill approve ${row.name}` };
    if (trouble !== null) return { busy: false, blocked: `Its source cannot be read: ${trouble}` };
  }
  const { requestsMin } = pipeline.provider.limits;
  if (!unseen && inFlight === 0 && waiting > 0 && waiting < requestsMin) {
    const isLimited = waiting < (await counts.countState(client, pipeline.id, "waiting"));
    const fix = isLimited ? `raise pipelines.${pipeline.config.name}.limit` : "add more rows";
    const reason = `${waiting} rows wait, but a batch there needs at least ${requestsMin} requests: ${fix}.`;
    return { busy: false, blocked: reason };
  }
  const held = await stuckBatches.held(client, {
    max: inFlight,
    of: { pipelineId: pipeline.id, account: pipeline.provider.account },
  });
  const behind = inFlight > 0 ? await createIntents.waitingForPerson(client, pipeline.id) : null;
  const busy = unseen || inFlight > held.length + (behind?.count ?? 0) || waiting > 0;
  if (busy) return { busy, blocked: null };
  const blocked = heldReason(held, pipeline) ?? behindReason(behind) ?? (await undelivered(client, pipeline));
  return { busy, blocked: blocked ?? (trouble === null ? null : `Its source cannot be read: ${trouble}`) };
}

async function undelivered(client: Queryable, { id, delivery }: Pipeline): Promise<string | null> {
  const standing = delivery === null ? null : await deliverers.standing(client, id);
  return standing === null ? null : undeliveredText(standing);
}

/** Waiting does not help: you bring their account back, or give them up. */
function heldReason([first, ...others]: readonly HeldBatch[], { provider }: Pipeline): string | null {
  if (first === undefined) return null;
  const { wrong, fixes } = heldText(first, { of: provider, present: provider });
  const more = others.length === 0 ? [] : [`${others.length} more wait too: rowmill status`];
  return [wrong, ...fixes, ...more].join(" ");
}

function behindReason(behind: WaitingCreates | null): string | null {
  if (behind === null) return null;
  const { batchId, pipeline } = behind;
  return (
    `It waits for batch ${batchId} of ${pipeline}, which needs your attention: until then, Rowmill creates no ` +
    "other batch in that account."
  );
}

/** Rows beyond `limit` wait indefinitely; they are no work. */
async function waitingWithinLimit(client: Queryable, pipeline: Pipeline): Promise<number> {
  const waiting = await counts.countState(client, pipeline.id, "waiting");
  if (pipeline.config.limit === null || waiting === 0) return waiting;
  const left = Math.max(0, pipeline.config.limit - (await requests.countAsked(client, pipeline.id)));
  return Math.min(waiting, left + (await pipelines.countWaitingAgain(client, pipeline.id)));
}
