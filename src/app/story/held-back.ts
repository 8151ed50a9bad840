/** Why waiting rows are in no batch though the pipeline is not paused. */
import type { PipelineConfig } from "../../model/pipeline.js";
import { isEnough } from "../../model/batch/room.js";
import { budgetWords, formatUsd } from "../../model/provider/pricing.js";
import type { Queryable } from "../../postgres/database.js";
import { presentAccount } from "../open/providers.js";
import * as money from "../../store/batches/money.js";
import type { PipelineOverview } from "../../store/ledger/overview.js";
import * as pipelines from "../../store/pipelines/pipelines.js";
import * as requests from "../../store/requests/requests.js";

type Waiting = Pick<PipelineOverview, "id" | "name" | "waiting" | "batched">;

/** In words, without a full stop. Null: by limit and budget, all of them may go. */
export async function heldBackText(
  client: Queryable,
  pipeline: Waiting,
  project: Parameters<typeof presentAccount>[0],
): Promise<string | null> {
  const config = project.config.pipelines.find(({ name }) => name === pipeline.name);
  if (config === undefined || pipeline.waiting === 0) return null;
  const { limit, budget } = config;
  const byItsLimit = await byLimit(client, pipeline, limit);
  if (byItsLimit !== null || budget === null) return byItsLimit;
  return byBudget(client, pipeline, { ...budget, account: presentAccount(project, config.name) });
}

async function byLimit(client: Queryable, { id, name }: Waiting, limit: number | null): Promise<string | null> {
  if (limit === null || (await requests.countAsked(client, id)) < limit) return null;
  // A row that was asked before counts once.
  if ((await pipelines.countWaitingAgain(client, id)) > 0) return null;
  return (
    `its limit is reached (limit: ${limit}), so the other rows are not sent. To send more, raise ` +
    `pipelines.${name}.limit and restart rowmill up`
  );
}

/** A budget without a batch in flight pauses its pipeline instead. Only a worker knows what its own run has spent. */
async function byBudget(
  client: Queryable,
  { id, waiting, batched }: Waiting,
  budget: NonNullable<PipelineConfig["budget"]> & { readonly account: string },
): Promise<string | null> {
  if (budget.per === "run" || batched === 0) return null;
  const { spentNanoUsd, reservedNanoUsd } = await money.spending(client, id, { ...budget, runId: null });
  const left = Math.max(0, budget.usd * 1e9 - spentNanoUsd - reservedNanoUsd);
  if (isEnough({ left, each: reservedNanoUsd / batched }, waiting)) return null;
  return (
    `the budget of ${budgetWords(budget)} has no room for all waiting rows now: ` +
    `${formatUsd(spentNanoUsd)} spent, ${formatUsd(reservedNanoUsd)} reserved for batches in flight. ` +
    "They are sent when these batches release what they did not use"
  );
}
