/**
 * Keys that cannot name a row in the ledger. Nothing tells when such a row goes, because triggers report no key of its kind. But
 * every sweep meets those that are still there: one that the last whole sweep did not meet has no row any more.
 */
import { sql, type Queryable } from "./database.js";

const former = sql`exists (select 1 from rowmill.sweeps s
  where s.pipeline_id = k.pipeline_id and s.phase = 'idle' and k.seen_at < s.started_at)`;

/** What follows `from`: the refused keys `k` that still have a row, as far as is known. */
export const standingRefusals = sql`rowmill.refused_keys k where not ${former}`;

/** Repeatable; returns how many. */
export async function forgetFormerRefusals(client: Queryable): Promise<number> {
  return client.run(sql`delete from rowmill.refused_keys k where ${former}`);
}
