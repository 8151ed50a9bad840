/** The largest lines that did not fit what was reserved for them. */
import { sql, type Queryable, type Reader } from "../../postgres/database.js";

export async function lineMaxima(client: Reader, pipelineId: number): Promise<{ tokens: number; nanoUsd: number }> {
  const row = await client.first<{ tokens: number; nanoUsd: number }>(sql`
    select line_tokens_max::float8 as tokens, line_nano_usd_max::float8 as "nanoUsd"
    from rowmill.pipelines
    where id = ${pipelineId}`);
  return row ?? { tokens: 0, nanoUsd: 0 };
}

export async function raiseLineMaxima(
  client: Queryable,
  pipelineId: number,
  line: { tokens: number; nanoUsd: number },
): Promise<void> {
  await client.run(sql`
    update rowmill.pipelines
    set line_tokens_max = greatest(line_tokens_max, ${Math.ceil(line.tokens)}::bigint),
      line_nano_usd_max = greatest(line_nano_usd_max, ${Math.ceil(line.nanoUsd)}::bigint)
    where id = ${pipelineId}`);
}
