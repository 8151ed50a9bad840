/**
 * By reason: pushes and rows that were refused, because no one may look at the reply, and unreadable rows of sources.
 */
import type { RefusedPushFacts } from "../../model/words/refused-push-text.js";
import { storableText } from "../../model/words/storable-text.js";
import { sql, type Queryable, type Reader } from "../../postgres/database.js";

export async function record(client: Queryable, refused: readonly Omit<RefusedPushFacts, "isRead">[]): Promise<void> {
  const rows = refused.map((one) => ({
    ...one,
    pipeline: one.pipeline ?? "",
    example: one.example && storableText(one.example),
  }));
  await client.run(sql`
    insert into rowmill.refused_pushes as r (pipeline, reason, pushes, rows, example)
    select pipeline, reason, pushes, rows, example
    from json_to_recordset(${JSON.stringify(rows)}::json)
      as x (pipeline text, reason text, pushes bigint, rows bigint, example text)
    order by pipeline, reason
    on conflict (pipeline, reason) do update
    set pushes = r.pushes + excluded.pushes, rows = r.rows + excluded.rows,
      example = coalesce(excluded.example, r.example), last_at = now()`);
}

export interface ListedRefusal extends RefusedPushFacts {
  readonly lastAt: Date;
}

/** Of the last 24 hours, the latest first. */
export async function listRecent(client: Reader, max: number): Promise<ListedRefusal[]> {
  return client.rows<ListedRefusal>(sql`
    select nullif(pipeline, '') as pipeline, reason, pushes::float8 as pushes, rows::float8 as rows, example,
      last_at as "lastAt", exists (select from rowmill.syncs s where s.pipeline = r.pipeline) as "isRead"
    from rowmill.refused_pushes r
    where last_at > now() - interval '24 hours'
    order by last_at desc, pipeline, reason
    limit ${max}`);
}
