/** All definitions that a pipeline had, by hash: batches are judged by their own, whatever the config says now. */
import type { Json } from "../../model/pipeline.js";
import { sql, type Queryable, type Reader } from "../../postgres/database.js";

export interface Definition {
  readonly hash: string;
  /** What the config said, without functions. */
  readonly says: Json;
  /** `CompiledAnswer.stored`. */
  readonly answer: Json;
}

/** Also for a known hash: parts that do not shape an answer may have changed. */
export async function recordDefinition(
  tx: Queryable,
  pipelineId: number,
  { hash, says, answer }: Definition,
): Promise<void> {
  await tx.run(sql`
    insert into rowmill.definitions (pipeline_id, definition_hash, definition, answer_schema)
    values (${pipelineId}, ${hash}, ${JSON.stringify(says)}::jsonb,
      ${answer === null ? null : JSON.stringify(answer)}::json)
    on conflict (pipeline_id, definition_hash) do update
    set definition = excluded.definition, answer_schema = excluded.answer_schema`);
}

/** What judging an answer takes. */
export interface AskedDefinition {
  readonly answer: Json;
  /** The model's tries; null: unknown. */
  readonly attempts: number | null;
  /** Answer field → column of the target, where the names differ; null: unknown. */
  readonly columns: Readonly<Record<string, string>> | null;
  /** The columns of a row's content; null if table or key have changed since. */
  readonly content: readonly string[] | null;
}

/** Null: it is unknown. */
export async function definitionOf(client: Reader, pipelineId: number, hash: string): Promise<AskedDefinition | null> {
  return client.first<AskedDefinition>(sql`
    select d.answer_schema as answer, (d.definition ->> 'attempts')::int as attempts,
      d.definition -> 'target' -> 'columns' as columns,
      case
        when (d.definition -> 'source') - 'columns' - 'where' = (p.definition -> 'source') - 'columns' - 'where' then
          d.definition -> 'source' -> 'columns' end as content
    from rowmill.definitions d
    join rowmill.pipelines p on p.id = d.pipeline_id
    where d.pipeline_id = ${pipelineId} and d.definition_hash = ${hash}`);
}

/** Of the last registered definition; undefined: there is none. */
export async function registeredAnswer(client: Reader, name: string): Promise<Json | undefined> {
  // A ledger of an earlier version has no such table.
  const known = await client.first(sql`select 1 as one where to_regclass('rowmill.definitions') is not null`);
  if (known === null) return undefined;
  const row = await client.first<{ answer: Json }>(sql`
    select d.answer_schema as answer
    from rowmill.pipelines p
    join rowmill.definitions d on d.pipeline_id = p.id and d.definition_hash = p.definition_hash
    where p.name = ${name}`);
  return row?.answer;
}
