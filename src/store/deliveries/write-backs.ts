/**
 * Answers that go into the source's own rows, in a system elsewhere. A trigger there may change what the row was asked
 * with; then the row as the write leaves it is noted before the write takes effect, and counts as answered once the
 * write is confirmed. So neither a crash nor a reading in between takes it for a change of yours.
 */
import type { RequestState } from "../../model/request/request-transitions.js";
import { replicaTable } from "../../model/replica-name.js";
import type { RowCells } from "../../model/pipeline.js";
import { int8Array, sideBySide, textArray } from "../../postgres/arrays.js";
import { identifier, join, raw, sql, type Queryable, type Sql } from "../../postgres/database.js";
import { hasKey, ledgerKey } from "../replicas/gone-rows.js";
import type { Replica } from "../replicas/replicas.js";
import { hex } from "../requests/requests.js";

export interface Fenced {
  readonly key: string;
  readonly fence: string;
}

/** Null in `state`: the ledger knows no such row. */
export interface AskedRow {
  readonly key: string;
  readonly state: RequestState | null;
  readonly answeredHash: string | null;
  readonly contentHash: string | null;
}

/** With which content the answers of these lines were asked. Lines with a newer fence by now are left out. */
export async function askedRows(
  tx: Queryable,
  pipelineId: number,
  lines: readonly Fenced[],
): Promise<readonly AskedRow[]> {
  return tx.rows<AskedRow>(sql`
    select d.key, case when r.row_gone then 'gone' else r.state end as state,
      ${hex(sql`r.answered_hash`)} as "answeredHash", ${hex(sql`r.content_hash`)} as "contentHash"
    from ${given(lines)}
    join rowmill.deliveries d on d.pipeline_id = ${pipelineId} and d.key = g.key and d.fence = g.fence
    left join rowmill.requests r on r.pipeline_id = d.pipeline_id and r.key = d.key`);
}

function given(lines: readonly Fenced[]): Sql {
  const [keys, fences] = [lines.map(({ key }) => key), lines.map(({ fence }) => fence)];
  return sql`${sideBySide([textArray(keys), int8Array(fences)])} as g (key, fence)`;
}

/**
 * `row`: null where the write leaves it as it was asked. Nothing is noted of a change that is confirmed: a worker that
 * was frozen in its write wakes after another one did all of it.
 */
export async function noteRows(
  tx: Queryable,
  pipelineId: number,
  rows: readonly (Fenced & { readonly row: RowCells | null })[],
): Promise<void> {
  await tx.run(sql`
    update rowmill.deliveries d
    set read_back = case when g.row is not null then json_build_object('fence', g.fence, 'row', g.row) end
    from json_to_recordset(${JSON.stringify(rows)}::json) as g (key text, fence text, row json)
    where d.pipeline_id = ${pipelineId} and d.key = g.key and d.state = 'waiting'`);
}

/** Of these writes, the rows that were noted. */
export async function notedRows(
  tx: Queryable,
  pipelineId: number,
  lines: readonly Fenced[],
): Promise<ReadonlyMap<string, RowCells>> {
  const rows = await tx.rows<{ key: string; row: RowCells }>(sql`
    select d.key, d.read_back -> 'row' as row
    from ${given(lines)}
    join rowmill.deliveries d on d.pipeline_id = ${pipelineId} and d.key = g.key
    where d.read_back ->> 'fence' = g.fence::text`);
  return new Map(rows.map(({ key, row }) => [key, row]));
}

/** The writes did not take effect, or the rows are to be forgotten. */
export async function forgetNotes(tx: Queryable, pipelineId: number, keys: readonly string[]): Promise<void> {
  if (keys.length === 0) return;
  await tx.run(sql`
    update rowmill.deliveries
    set read_back = null
    where pipeline_id = ${pipelineId} and key = any(${[...keys]}::text[]) and read_back is not null`);
}

/** Rowmill's copy follows. The caller is alone (`lockAlone`). */
export async function copyRows(
  tx: Queryable,
  replica: Pick<Replica, "pipeline" | "key">,
  rows: ReadonlyMap<string, RowCells>,
): Promise<void> {
  const list = [...rows].map(([key, row]) => ({ key, row }));
  // All have the same ones. A key stays, or it would be another row.
  const columns = Object.keys(list[0]?.row ?? {}).filter((name) => !replica.key.includes(name));
  if (columns.length === 0) return;
  await tx.run(sql`
    update ${raw(replicaTable(replica.pipeline))} t
    set ${join(columns.map((name) => sql`${identifier(name)} = g.row ->> ${name}::text`))}, rowmill_pushed_at = now()
    from json_to_recordset(${JSON.stringify(list)}::json) as g (key text, row json)
    where ${hasKey(replica, sql`g.key`)}`);
}

/**
 * Of these rows, as JSON texts, those that a pass must not copy, by their places: they may have been read before an
 * answer was written into them (`readAt`: when their reading began), or are as a write leaves them that is not
 * confirmed yet. The caller shares the lock of the copy.
 */
export async function heldBack(
  tx: Queryable,
  replica: Pick<Replica, "pipeline" | "key">,
  { rows, readAt }: { readonly rows: readonly string[]; readonly readAt: string },
): Promise<ReadonlySet<number>> {
  const isSame = join(
    replica.key.map((name) => sql`t.${identifier(name)} = g.entry ->> ${name}::text`),
    " and ",
  );
  const places = await tx.column<number>(sql`
    select (g.n - 1)::int as place
    from json_array_elements(${`[${rows.join(",")}]`}::json) with ordinality as g (entry, n)
    join ${raw(replicaTable(replica.pipeline))} t on ${isSame}
    left join rowmill.deliveries d on d.key = ${ledgerKey(replica)}
      and d.pipeline_id = (select p.id from rowmill.pipelines p where p.name = ${replica.pipeline})
    where t.rowmill_pushed_at >= ${readAt}::timestamptz
      or (d.read_back is not null
        and not exists (
          select 1
          from json_each_text(d.read_back -> 'row') c
          where c.value is distinct from g.entry ->> c.key))`);
  return new Set(places);
}
