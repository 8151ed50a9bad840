/**
 * Gives a batch up: its rows wait again or are dropped, what it may have cost counts as spent, and its provider's
 * answers change nothing. One transaction under the batch's lease: a crash leaves the batch as it was. Asks no
 * provider, whose account may be gone.
 */
import { randomUUID } from "node:crypto";
import type { AccountWords } from "../../model/provider/account.js";
import { RowmillError } from "../../model/errors.js";
import type { PipelineConfig } from "../../model/pipeline.js";
import { sharedFrom } from "../../model/request/custom-id.js";
import { ProviderError } from "../../model/provider/provider.js";
import * as batches from "../../store/batches/batches.js";
import type { Batch, Lease } from "../../store/batches/batches.js";
import type { Database, Queryable } from "../../postgres/database.js";
import * as attempts from "../../store/requests/attempts.js";
import type { AttemptEnding } from "../../store/requests/attempts.js";
import * as inFlight from "../../store/batches/in-flight.js";
import type { BatchName, InFlight } from "../../store/batches/in-flight.js";
import * as money from "../../store/batches/money.js";
import * as pipelines from "../../store/pipelines/pipelines.js";
import type { Source } from "../../sources/source.js";
import { createTableSource } from "../../sources/table/table-source.js";
import { dropQueuedRow } from "../../worker/turn/canceller.js";
import { examineSource } from "../open/bind-pipeline.js";
import { batchInUse, claimBatch, isEnded, isUnsent } from "./claim-batch.js";
import { choiceOf, makeProvider, presentAccount, type Configured } from "../open/providers.js";

const REASON = "given up with rowmill cancel";

export interface Abandoned {
  readonly rows: number;
  /** Of them: not sent again. All others wait. */
  readonly dropped: number;
  readonly lostNanoUsd: number;
}

export interface AbandonWish {
  /** Rows are not sent again. */
  readonly drops: boolean;
  /** For rows that were only planned, whose contents were not read yet. Undefined: those wait. */
  readonly config: PipelineConfig | undefined;
}

/** Null: it ended in the meantime. @throws RowmillError `refused` when a worker keeps its lease. */
export async function abandonBatch(
  database: Database,
  { id: batchId, no, pipelineId }: BatchName,
  { drops, config }: AbandonWish,
): Promise<Abandoned | null> {
  const { queued } = await inFlight.countOpen(database, no);
  const isRead = drops && queued > 0 && config !== undefined;
  const source = isRead ? await sourceOf(database, config, pipelineId) : null;
  const lease: Lease = { batchId, token: randomUUID() };
  const isWanted = (batch: Batch) => !isEnded(batch);
  const batch = await claimBatch(database, lease, { holder: "rowmill cancel", isWanted });
  if (batch === null) return null;
  return database.transaction((tx) => abandon(tx, { lease, batch, drops, source }));
}

interface Abandoning {
  readonly lease: Lease;
  readonly batch: Batch;
  readonly drops: boolean;
  readonly source: Source | null;
}

async function sourceOf(database: Database, config: PipelineConfig, pipelineId: number): Promise<Source> {
  const { table } = await examineSource(database, config);
  return createTableSource(table, { pipelineId, where: config.source.where, skipBefore: null });
}

async function abandon(tx: Queryable, { lease, batch, drops, source }: Abandoning): Promise<Abandoned> {
  // Before the batch and its requests, as everywhere.
  await pipelines.lock(tx, batch.pipelineId);
  const to = drops ? "cancelled" : "waiting";
  let rows = (await inFlight.countOpen(tx, batch.no)).queued;
  let dropped = source === null ? 0 : await dropQueued(tx, batch, source);
  for (let part = 0, more = true; more; part++) {
    if (!(await batches.holds(tx, lease))) throw batchInUse(batch.id);
    const chunk = await inFlight.lockPart(tx, batch.no, part);
    await attempts.endMany(
      tx,
      batch,
      chunk.requests.map((request) => endingOf(request, to)),
    );
    rows += chunk.requests.length;
    if (drops) dropped += chunk.requests.length;
    more = !chunk.isLast;
  }
  const lostNanoUsd = isUnsent(batch) ? 0 : Math.ceil(await money.moneyAtRisk(tx, batch.id));
  const given = { batch, event: "abandoned", reason: REASON, fields: { lostNanoUsd } } as const;
  if (!(await batches.move(tx, lease, { ...given, detail: { rows, dropped, lostNanoUsd } })))
    throw batchInUse(batch.id);
  return { rows, dropped, lostNanoUsd };
}

async function dropQueued(tx: Queryable, { pipelineId, no }: Batch, source: Source): Promise<number> {
  let dropped = 0;
  for (;;) {
    const part = await dropQueuedRow(tx, { source, pipelineId, batch: no });
    if (part === null) return dropped;
    dropped += part;
  }
}

function endingOf(request: InFlight, to: AttemptEnding["to"]): AttemptEnding {
  const { requestId, attempt, tries, returns, room, isForgotten } = request;
  return {
    id: requestId,
    attempt,
    ending: "returned",
    outcome: "abandoned",
    detail: "Its batch was given up; Rowmill does not know whether it was answered.",
    answer: null,
    model: null,
    input: 0,
    cached: 0,
    output: 0,
    cost: 0,
    room,
    nextRoom: null,
    sharedFrom: sharedFrom(request),
    sharingSaved: 0,
    demo: false,
    rowGone: false,
    to: isForgotten ? "gone" : to,
    hash: null,
    fingerprint: null,
    tries,
    returns,
    delayMs: 0,
  };
}

/** @throws RowmillError `refused` for a batch of the present account, unless the provider does not have it */
export async function refuseCollectable(project: Configured, batch: Batch): Promise<void> {
  const account = presentAccount(project, batch.pipeline);
  const { dialect } = choiceOf(project, batch.pipeline);
  if (batch.account !== account) return;
  const here = `Batch ${batch.id} belongs to the account that is set up here, ${dialect.accountText(account)}`;
  if (batch.state !== "running" && batch.state !== "collecting")
    throw refused(
      isUnsent(batch)
        ? `${here}, and is not sent yet, so there is no reason to give it up.`
        : `${here}, and may be at the provider, where a worker searches for it.`,
      ["To continue with it: rowmill up", `To send nothing more: rowmill pause ${batch.pipeline}`],
    );
  try {
    const { statusText } = await (await makeProvider(project, batch.pipeline)).status(batch.providerBatchId);
    throw batch.presumed
      ? refused(
          `${here}, and by its time and number of requests is probably ${batch.providerBatchId} (${statusText}).`,
          ["Let a worker check its results: rowmill up"],
        )
      : refused(`${here}, and the provider has it (${statusText}): you pay for its answers.`, [
          "To collect them: rowmill up",
        ]);
  } catch (error) {
    if (!(error instanceof ProviderError)) throw error;
    if (error.kind === "notFound" || error.kind === "account") return;
    throw refused(`${here}, and Rowmill could not check whether it can be collected: ${error.message}`, [
      `Try again when the provider answers. If the account is gone permanently, ${nameAnother(dialect, account)}`,
    ]);
  }
}

function nameAnother(words: AccountWords, account: string): string {
  const [variable = ""] =
    words
      .accountVariables(account, "")
      .find((each) => each.includes("="))
      ?.split("=") ?? [];
  return variable === ""
    ? "name the one in the config that you use from now on."
    : `set ${variable} to the one that you use from now on.`;
}

function refused(message: string, hints: readonly string[]): RowmillError {
  return new RowmillError("refused", message, { hints: [...hints, "Nothing was given up."] });
}
