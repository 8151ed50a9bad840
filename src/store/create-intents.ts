/** The intent of a create, committed before its call. */
import type { Json } from "../model/pipeline.js";
import { update, type Lease } from "./batches.js";
import { DatabaseError, sql, type Queryable } from "./database.js";

const UNIQUE_VIOLATION = "23505";

/**
 * A create may be on its way from now on. "taken": another one of the account is open, and `alone` means that only circumstance tells
 * them apart.
 */
export async function intend(
  client: Queryable,
  lease: Lease,
  { baseline, alone }: { baseline: Json | null; alone: boolean },
): Promise<"intended" | "taken" | "lost"> {
  const open = sql`select 1 as one from rowmill.batches b join rowmill.batches o on o.account = b.account and o.id <> b.id
    where b.id = ${lease.batchId} and o.one_create and o.create_intent_at is not null`;
  if (alone && (await client.first(open)) !== null) return "taken";
  try {
    const fields = { provider_data: { baseline }, one_create: alone, create_intent: true } as const;
    return (await update(client, lease, fields)) ? "intended" : "lost";
  } catch (error) {
    // Both looked, and saw none.
    if (alone && error instanceof DatabaseError && error.sqlState === UNIQUE_VIOLATION) return "taken";
    throw error;
  }
}
