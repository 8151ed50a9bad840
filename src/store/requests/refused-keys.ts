/**
 * Rows whose key is empty, too long or has a null. Triggers report only that there was such a row
 * (`wantKeylessCount`); every sweep meets those that still exist, so what the last complete sweep did not meet is
 * gone.
 */
import { sql, type Queryable } from "../../postgres/database.js";

const IS_GONE = sql`exists (select 1 from rowmill.sweeps s
  where s.pipeline_id = k.pipeline_id and s.phase = 'idle' and k.seen_at < s.started_at)`;

/** What follows `from`: the refused keys `k` that still have a row. */
export const STANDING_REFUSALS = sql`rowmill.refused_keys k where not ${IS_GONE}`;

/** Repeatable; returns how many. */
export async function forgetFormerRefusals(client: Queryable): Promise<number> {
  return client.run(sql`delete from rowmill.refused_keys k where ${IS_GONE}`);
}

export async function refuseKey(
  tx: Queryable,
  pipelineId: number,
  refused: { key: string; reason: string },
): Promise<void> {
  await tx.run(sql`
    insert into rowmill.refused_keys (pipeline_id, key_sha256, key_prefix, reason)
    values (${pipelineId}, encode(sha256(convert_to(${refused.key}, 'UTF8')), 'hex'), left(${refused.key}, 100),
      ${refused.reason})
    on conflict (pipeline_id, key_sha256) do update
    set seen_at = now(), reason = excluded.reason`);
}

/** In place of a hash: all rows with a null in their key are one line. */
const KEYLESS = "null";

export async function refuseKeyless(
  tx: Queryable,
  pipelineId: number,
  found: { rows: number; example: string | null; reason: string },
): Promise<void> {
  await tx.run(sql`
    insert into rowmill.refused_keys (pipeline_id, key_sha256, key_prefix, reason, rows)
    values (${pipelineId}, ${KEYLESS}, left(${found.example ?? ""}, 100), ${found.reason}, ${found.rows}::bigint)
    on conflict (pipeline_id, key_sha256) do update
    set seen_at = now(), key_prefix = excluded.key_prefix, reason = excluded.reason, rows = excluded.rows`);
}

/** They could not be counted: the previous count stands. */
export async function keepKeyless(tx: Queryable, pipelineId: number): Promise<void> {
  await tx.run(sql`
    update rowmill.refused_keys
    set seen_at = now()
    where pipeline_id = ${pipelineId} and key_sha256 = ${KEYLESS}`);
}

export interface UnnamedRows {
  readonly rows: number;
  /** The first 100 characters of one key; of a key with a null, its parts as a JSON array. */
  readonly example: string;
  /** With the fix. */
  readonly reason: string;
}

/** Of each pipeline, the most frequent ones. */
const REASONS_MAX = 5;

/** One line for each pipeline that has any: `rows` in all, and `unnamed`, as UnnamedRows[]. */
export const UNNAMED_BY_PIPELINE = sql`
  select pipeline_id, sum(rows)::float8 as rows,
    json_agg(json_build_object('rows', rows, 'example', example, 'reason', reason) order by place) filter (where
      place <= ${REASONS_MAX}) as unnamed
  from (
    select k.pipeline_id, k.reason, sum(k.rows)::float8 as rows, min(k.key_prefix) as example,
      row_number() over (partition by k.pipeline_id order by sum(k.rows) desc, min(k.key_prefix)) as place
    from ${STANDING_REFUSALS}
    group by k.pipeline_id, k.reason) reasons
  group by pipeline_id`;

export async function countUnnamed(client: Queryable): Promise<{ pipelineId: number; rows: number }[]> {
  return client.rows(sql`select u.pipeline_id as "pipelineId", u.rows from (${UNNAMED_BY_PIPELINE}) u`);
}
