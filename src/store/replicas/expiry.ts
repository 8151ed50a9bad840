/**
 * Pushed rows that are kept for a while only. An expiry is not a deletion: the answer stays, its request stays
 * `succeeded`, and is noted to have no row, as that of an answer which outlived its row.
 */
import { replicaTable } from "../../model/replica-name.js";
import { identifier, join, raw, sql, type Queryable, type Sql } from "../../postgres/database.js";
import { deleteRows, ledgerKey } from "./gone-rows.js";
import type { Replica } from "./replicas.js";

/** After this row the next look continues: the time of its last change, and the parts of its key. */
export type ExpiryPlace = readonly string[];

export interface Expired {
  readonly rows: number;
  /** Null: the oldest rows are next. */
  readonly place: ExpiryPlace | null;
}

/**
 * Deletes those of the next `max` rows that did not change for `keepMs` and have their answer. A row whose change was
 * not looked at yet stays. The caller keeps pushes out (`lockAlone`), and holds the pipeline's intake.
 */
export async function expireRows(
  tx: Queryable,
  { pipelineId, replica }: { readonly pipelineId: number; readonly replica: Replica },
  bounds: { readonly keepMs: number; readonly place: ExpiryPlace | null; readonly max: number },
): Promise<Expired> {
  const { pipeline, key } = replica;
  const table = raw(replicaTable(pipeline));
  const columns = key.map((name) => sql`t.${identifier(name)}`);
  const seen = await tx.rows<{ id: string | null; key: string; place: string[] }>(sql`
    with old as materialized (
      select ${ledgerKey(replica)} as key, array[t.rowmill_pushed_at::text, ${join(columns)}] as place,
        row_number() over (order by t.rowmill_pushed_at, ${join(columns)}) as turn
      from ${table} t
      where t.rowmill_pushed_at < now() - make_interval(secs => ${bounds.keepMs / 1_000})
        ${afterPlace(columns, bounds.place)}
      order by t.rowmill_pushed_at, ${join(columns)}
      limit ${bounds.max})
    select o.key, o.place, r.id::text as id
    from old o
    left join rowmill.requests r on r.pipeline_id = ${pipelineId}
      -- With the collation of the copy's key, the index would not be used.
      and r.key = (o.key collate pg_catalog."default")
      and r.state = 'succeeded'
      and o.key not in (
        select k
        from rowmill.arrivals a
        cross join unnest(a.keys) k
        where a.pipeline_id = ${pipelineId})
    order by o.turn`);
  const answered = seen.flatMap(({ id, place }) => (id === null ? [] : [{ id, place }]));
  const rows = answered.length === 0 ? 0 : await expire(tx, replica, answered);
  return { rows, place: seen.length < bounds.max ? null : (seen.at(-1)?.place ?? null) };
}

function afterPlace(columns: readonly Sql[], place: ExpiryPlace | null): Sql {
  if (place === null) return sql``;
  const [at = "", ...parts] = place;
  const values = [sql`${at}::timestamptz`, ...parts.map((part) => sql`${part}::text`)];
  return sql`and (t.rowmill_pushed_at, ${join(columns)}) > (${join(values)})`;
}

async function expire(
  tx: Queryable,
  replica: Replica,
  answered: readonly { readonly id: string; readonly place: readonly string[] }[],
): Promise<number> {
  await tx.run(sql`
    update rowmill.requests r
    set row_gone = true
    from (
      select id
      from rowmill.requests
      where id = any(${answered.map(({ id }) => id)}::bigint[])
      order by id
      for update) x
    where r.id = x.id`);
  const where = join(
    replica.key.map((name, index) => sql`t.${identifier(name)} = x.parts ->> ${raw(String(index + 1))}`),
    " and ",
  );
  const places = JSON.stringify(answered.map(({ place }) => place));
  return deleteRows(tx, replica, { using: sql`json_array_elements(${places}::json) as x (parts)`, where });
}
