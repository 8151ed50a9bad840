/** What estimates are made from: a sample of waiting keys, and the largest lines that did not fit. */
import { sql, type Queryable, type Reader } from "./database.js";

/** Half from the front of the queue, half from its end: files are often sorted. */
export async function waitingSample(tx: Queryable, pipelineId: number, max: number): Promise<string[]> {
  const half = Math.ceil(max / 2);
  const rows = await tx.rows<{ key: string }>(sql`
    select r.key from rowmill.requests r where r.id in (
      (select request_id from rowmill.waiting where pipeline_id = ${pipelineId} order by not_before, request_id limit ${half})
      union (select request_id from rowmill.waiting where pipeline_id = ${pipelineId} order by not_before desc, request_id desc limit ${half}))`);
  return rows.map((row) => row.key);
}

export async function countWaiting(client: Reader, pipelineId: number): Promise<number> {
  const row = await client.first<{ count: number }>(
    sql`select count(*)::int as count from rowmill.waiting where pipeline_id = ${pipelineId}`,
  );
  return row?.count ?? 0;
}

export async function lineMaxima(
  client: Reader,
  pipelineId: number,
): Promise<{ tokens: number; nanoUsd: number }> {
  const row = await client.first<{ tokens: number; nanoUsd: number }>(sql`
    select line_tokens_max::float8 as tokens, line_nano_usd_max::float8 as "nanoUsd" from rowmill.pipelines where id = ${pipelineId}`);
  return row ?? { tokens: 0, nanoUsd: 0 };
}

export async function raiseLineMaxima(
  client: Queryable,
  pipelineId: number,
  line: { tokens: number; nanoUsd: number },
): Promise<void> {
  await client.run(sql`update rowmill.pipelines set line_tokens_max = greatest(line_tokens_max, ${Math.ceil(line.tokens)}::bigint),
    line_nano_usd_max = greatest(line_nano_usd_max, ${Math.ceil(line.nanoUsd)}::bigint) where id = ${pipelineId}`);
}
