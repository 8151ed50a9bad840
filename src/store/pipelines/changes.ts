/**
 * What a changed definition does to rows that were answered under the previous one: your decision, or none yet. It
 * belongs to the pipeline's present definition, and starts again with the next.
 */
import { sql, type Queryable, type Reader } from "../../postgres/database.js";
import { sweepAgain } from "../requests/sweeps.js";
import { addEvent, approve } from "./pipelines.js";

/** `undecided` acts as `newOnly` until you decide. */
const CHANGE_DECISIONS = ["reask", "newOnly", "keep"] as const;
export type ChangeDecision = (typeof CHANGE_DECISIONS)[number];

export interface DefinitionChange {
  readonly definitionHash: string;
  readonly previousHash: string | null;
  /** Null: there was no other definition, so nothing to decide. */
  readonly decision: ChangeDecision | "undecided" | null;
  /** Answered rows that the present definition would ask something else, as the last sweep counted; null: not yet. */
  readonly rows: number | null;
}

/** Null: there is no such pipeline. */
export async function changeOf(client: Reader, pipelineId: number): Promise<DefinitionChange | null> {
  return client.first<DefinitionChange>(sql`
    select definition_hash as "definitionHash", change_previous_hash as "previousHash", change_decision as decision,
      change_rows::float8 as rows
    from rowmill.pipelines
    where id = ${pipelineId}`);
}

/** Whether answered rows that the present definition would ask something else are sent again. */
export async function reopens(client: Reader, pipelineId: number): Promise<boolean> {
  const decision = (await changeOf(client, pipelineId))?.decision ?? null;
  return decision === null || decision === "reask";
}

/** Adds what a chunk of the sweep counted; the first one starts from 0. */
export async function countRows(
  tx: Queryable,
  pipelineId: number,
  { rows, isFirst }: { readonly rows: number; readonly isFirst: boolean },
): Promise<void> {
  if (rows === 0 && !isFirst) return;
  await tx.run(sql`
    update rowmill.pipelines
    set change_rows = case when ${isFirst}::boolean then 0 else coalesce(change_rows, 0) end + ${rows}
    where id = ${pipelineId}`);
}

/** Keys of answered rows, for an estimate of sending them again. */
export async function answeredSample(client: Reader, pipelineId: number, max: number): Promise<string[]> {
  return client.column<string>(sql`
    select key
    from rowmill.requests
    where pipeline_id = ${pipelineId} and state = 'succeeded'
    limit ${max}`);
}

export interface Decided {
  readonly definitionHash: string;
  readonly decision: ChangeDecision;
  /** For display: who said so. */
  readonly by: string;
  readonly account: string;
}

/**
 * Decides for this definition, and lets the next sweep act on it. Sending again is also your yes to what that costs.
 * False: the pipeline has another definition by now, or nothing to decide.
 */
export async function decide(
  tx: Queryable,
  pipelineId: number,
  { definitionHash, decision, by, account }: Decided,
): Promise<boolean> {
  // Waits for parts of answers that are being written by the previous decision: the sweep meets their rows.
  await tx.run(sql`select 1 from rowmill.pipelines where id = ${pipelineId} for update`);
  const decided = await tx.run(sql`
    update rowmill.pipelines
    set change_decision = ${decision}
    where id = ${pipelineId}
      and definition_hash = ${definitionHash}
      and change_decision is not null
      and change_decision <> ${decision}`);
  if (decided === 0) return false;
  await sweepAgain(tx, pipelineId);
  await addEvent(tx, pipelineId, { event: "decided", reason: `${by}: ${decision}` });
  if (decision === "reask") await approve(tx, pipelineId, { definitionHash, by, account });
  return true;
}
