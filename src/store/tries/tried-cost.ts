/** What answers of tries cost that are in no batch, as SQL for the sums of a pipeline's money. */
import type { BudgetPeriod } from "../../model/pipeline.js";
import { sql, type Sql } from "../../postgres/database.js";

/** Of `rowmill.try_answers a`. */
export const TRIED_NANO_USD = sql`sum(coalesce(a.cost_nano_usd, 0) + a.reserved_nano_usd)`;

/** In the period, by the day on which they were asked (UTC). A try is no part of an `up`'s run. Null: nothing. */
export function triedNanoUsd(pipeline: Sql, per: BudgetPeriod): Sql {
  return sql`(
    select ${TRIED_NANO_USD}
    from rowmill.tries t
    join rowmill.try_answers a on a.try = t.no
    where t.pipeline = ${pipeline}
      and a.accepted_at is null
      and ${triedIn(per)})`;
}

function triedIn(per: BudgetPeriod): Sql {
  const at = sql`t.asked_at at time zone 'UTC'`;
  switch (per) {
    case "total":
      return sql`true`;
    case "run":
      return sql`false`;
    case "day":
      return sql`date_trunc('day', ${at}) = date_trunc('day', now() at time zone 'UTC')`;
    case "month":
      return sql`date_trunc('month', ${at}) = date_trunc('month', now() at time zone 'UTC')`;
  }
}
