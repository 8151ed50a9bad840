/**
 * What was spent, by batch and summed up. A batch counts whole on the day of its submission (UTC), as in budgets, with
 * duplicates and what you gave up at their reserve. All sums are exact: numeric of 1e-9 dollars, in SQL.
 */
import { VERSION_OF_BATCH } from "../pipelines/definitions.js";
import { join, raw, sql, type Reader, type Sql } from "../../postgres/database.js";

export const COST_GROUPS = ["pipeline", "version", "model", "day", "batch"] as const;
export type CostGroup = (typeof COST_GROUPS)[number];

export interface CostsWanted {
  readonly by: readonly CostGroup[];
  /** Null: of all. */
  readonly pipelineIds: readonly number[] | null;
  /** Submitted within this time; null: ever. */
  readonly sinceMs: number | null;
  readonly max: number;
}

export interface CostSums {
  readonly batches: number;
  readonly requests: number;
  readonly succeeded: number;
  readonly failed: number;
  readonly inputTokens: number;
  readonly outputTokens: number;
  /** Of the batches that have an estimate; null: none has. */
  readonly likelyNanoUsd: number | null;
  /** What those batches cost, to compare with it. */
  readonly estimatedSpentNanoUsd: number;
  readonly reservedNanoUsd: number;
  readonly spentNanoUsd: number;
  /** What the same would have cost as live requests, less what was spent. */
  readonly savedNanoUsd: number;
  /** Requests that share the line of an equal one, */
  readonly sharing: number;
  /** and what lines of their own would have cost, at the price of their batches. */
  readonly sharingSavedNanoUsd: number;
  /** Paid attempts without a known price, which the sums lack. */
  readonly unpriced: number;
}

export interface CostLine extends CostSums {
  /** By what it is grouped: of those asked for. */
  readonly pipeline?: string;
  readonly version?: number | null;
  readonly model?: string;
  /** `2026-11-27` */
  readonly day?: string;
  readonly batch?: string;
}

const KEYS: Readonly<Record<CostGroup, Sql>> = {
  pipeline: sql`p.name`,
  version: VERSION_OF_BATCH,
  model: sql`b.model`,
  day: sql`to_char(f.at, 'YYYY-MM-DD')`,
  batch: sql`b.id::text`,
};

/** One row for each batch, as `f`. */
const FACTS = sql`(
  select b.no, coalesce(b.submitted_at, b.planned_at) at time zone 'UTC' as at,
    b.requests, b.succeeded + coalesce(u.succeeded, 0) as succeeded,
    b.failed + coalesce(u.failed, 0) as failed,
    b.input_tokens + coalesce(u.input, 0) as input, b.output_tokens + coalesce(u.output, 0) as output,
    b.reserved_nano_usd as reserved, b.unpriced + coalesce(u.unpriced, 0) as unpriced, b.sharing,
    b.sharing_saved_nano_usd + coalesce(u.sharing_saved, 0) as sharing_saved,
    b.cost_nano_usd + coalesce(u.cost, 0) + b.lost_nano_usd + coalesce(d.cost, 0) as spent
  from rowmill.batches b
  left join lateral (
    select sum(u.succeeded) as succeeded, sum(u.failed) as failed, sum(u.input_tokens) as input,
      sum(u.output_tokens) as output, sum(u.cost_nano_usd) as cost, sum(u.unpriced) as unpriced,
      sum(u.sharing_saved_nano_usd) as sharing_saved
    from rowmill.usage u
    where u.batch = b.no
      and b.settled_at is null) u on true
  left join lateral (
    select sum(d.reserved_nano_usd) as cost
    from rowmill.duplicate_batches d
    where d.batch_id = b.id) d on true) f`;

const SUMS = sql`count(*)::int as batches, coalesce(sum(f.requests), 0)::float8 as requests,
  coalesce(sum(f.succeeded), 0)::float8 as succeeded,
  coalesce(sum(f.failed), 0)::float8 as failed, coalesce(sum(f.input), 0)::float8 as "inputTokens",
  coalesce(sum(f.output), 0)::float8 as "outputTokens", sum(b.likely_nano_usd)::float8 as "likelyNanoUsd",
  coalesce(sum(f.spent) filter (where b.likely_nano_usd is not null), 0)::float8 as "estimatedSpentNanoUsd",
  coalesce(sum(f.reserved), 0)::float8 as "reservedNanoUsd", coalesce(sum(f.spent), 0)::float8 as "spentNanoUsd",
  coalesce(sum(round(f.spent / b.batch_factor) - f.spent), 0)::float8 as "savedNanoUsd",
  coalesce(sum(f.sharing), 0)::float8 as sharing,
  coalesce(sum(f.sharing_saved), 0)::float8 as "sharingSavedNanoUsd",
  coalesce(sum(f.unpriced), 0)::int as unpriced`;

function from({ pipelineIds, sinceMs }: CostsWanted): Sql {
  return sql`from ${FACTS}
    join rowmill.batches b on b.no = f.no
    join rowmill.pipelines p on p.id = b.pipeline_id
    where (${pipelineIds}::int[] is null or b.pipeline_id = any(${pipelineIds}::int[]))
      and (${sinceMs}::float8 is null
        or f.at >= (now() - make_interval(secs => ${sinceMs}::float8 / 1000)) at time zone 'UTC')`;
}

/** The groups that cost most first, by days the newest first; `more`: how many the bound leaves out. */
export async function costs(
  client: Reader,
  wanted: CostsWanted,
): Promise<{ lines: CostLine[]; total: CostSums; more: number }> {
  const keys = wanted.by.map((group) => sql`${KEYS[group]} as ${raw(`"${group}"`)}`);
  const order = wanted.by.includes("day") ? sql`day desc, "spentNanoUsd" desc` : sql`"spentNanoUsd" desc`;
  const lines = await client.rows<CostLine & { all: number }>(sql`
    select *, count(*) over ()::int as all
    from (
      select ${join(keys)}, ${SUMS}
      ${from(wanted)}
      group by ${join(wanted.by.map((_, index) => raw(String(index + 1))))}) grouped
    order by ${order}, ${join(wanted.by.map((_, index) => raw(String(index + 1))))}
    limit ${wanted.max}`);
  const total = await client.first<CostSums>(sql`select ${SUMS} ${from(wanted)}`);
  if (total === null) throw new Error("The database did not return the sum of the costs.");
  const shown = lines.map(({ all: _all, ...line }) => line);
  return { lines: shown, total, more: (lines[0]?.all ?? 0) - shown.length };
}
