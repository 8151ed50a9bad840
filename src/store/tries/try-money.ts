/**
 * What tries spent, and the lock under which one reserves. It counts as spent until an answer is accepted: then its
 * batch has the cost. Where a call's ending is unknown, its reservation counts.
 */
import type { BudgetPeriod } from "../../model/pipeline.js";
import { sql, type Queryable, type Sql } from "../../postgres/database.js";
import { spending, type Spending } from "../batches/money.js";
import * as pipelines from "../pipelines/pipelines.js";
import { TRIED_NANO_USD, triedNanoUsd } from "./tried-cost.js";

/**
 * Nothing else spends the pipeline's money until the transaction ends. Null: it is not registered, and will not be
 * before that either.
 */
export async function lockForSpending(tx: Queryable, name: string): Promise<pipelines.PipelineRow | null> {
  const known = await pipelines.byName(tx, name);
  if (known !== null) return pipelines.lock(tx, known.id);
  // Keeps out registrations and other tries; planners and readers pass.
  await tx.run(sql`lock table rowmill.pipelines in share row exclusive mode`);
  const since = await pipelines.byName(tx, name);
  return since === null ? null : pipelines.lock(tx, since.id);
}

/** Spent and reserved in the period, by batches and tries; `run`: by this try alone. The caller holds the lock. */
export async function spentOrReserved(
  tx: Queryable,
  of: { readonly name: string; readonly row: pipelines.PipelineRow | null; readonly try: number | null },
  { per, account }: { readonly per: BudgetPeriod; readonly account: string },
): Promise<number> {
  if (per === "run") return of.try === null ? 0 : sumOf(tx, ofTry(of.try));
  if (of.row === null) return (await spentByTries(tx, of.name, per)).spentNanoUsd;
  const spent = await spending(tx, of.row.id, { per, account, runId: null });
  return spent.spentNanoUsd + spent.reservedNanoUsd;
}

/** Of a pipeline that is not registered yet: only tries can have spent its money. */
export async function spentByTries(tx: Queryable, name: string, per: BudgetPeriod): Promise<Spending> {
  return { spentNanoUsd: await sumOf(tx, triedNanoUsd(sql`${name}`, per)), reservedNanoUsd: 0, batchesInFlight: 0 };
}

function ofTry(no: number): Sql {
  return sql`(select ${TRIED_NANO_USD} from rowmill.try_answers a where a.try = ${no} and a.accepted_at is null)`;
}

async function sumOf(tx: Queryable, sum: Sql): Promise<number> {
  const row = await tx.first<{ nanoUsd: number }>(sql`select coalesce(${sum}, 0)::float8 as "nanoUsd"`);
  return row?.nanoUsd ?? 0;
}
