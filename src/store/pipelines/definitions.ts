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

/** Of the batch `b`: null where its definition is not known. */
export const VERSION_OF_BATCH = sql`(
  select d.version
  from rowmill.definitions d
  where d.pipeline_id = b.pipeline_id and d.definition_hash = b.definition_hash)`;

/**
 * The present definition from now on; the caller holds the pipeline. Also for a known hash: parts that do not shape an
 * answer may have changed. `previousHash`: of the one before it, null for the first.
 */
export async function recordDefinition(
  tx: Queryable,
  pipelineId: number,
  { hash, says, answer, previousHash }: Definition & { readonly previousHash: string | null },
): Promise<void> {
  const isOther = previousHash !== hash;
  await tx.run(sql`
    insert into rowmill.definitions as d (pipeline_id, definition_hash, version, follows, definition, answer_schema)
    select ${pipelineId}::int, ${hash}, coalesce(max(version), 0) + 1,
      max(version) filter (where definition_hash = ${previousHash}::text), ${JSON.stringify(says)}::jsonb,
      ${answer === null ? null : JSON.stringify(answer)}::json
    from rowmill.definitions
    where pipeline_id = ${pipelineId}::int
    on conflict (pipeline_id, definition_hash) do update
    set definition = excluded.definition, answer_schema = excluded.answer_schema,
      follows = case when ${isOther}::boolean then excluded.follows else d.follows end,
      since = case when ${isOther}::boolean then now() else d.since end`);
}

export interface Version {
  /** 1 for the first definition that the pipeline had. */
  readonly version: number;
  readonly hash: string;
  /** When it became the present one, the last time. */
  readonly since: Date;
  /** Null: it is the present one. */
  readonly until: Date | null;
  /** The version before it; null: it was the first one. */
  readonly follows: number | null;
  readonly kept: KeptDefinition;
  /** Of the version that it follows. */
  readonly followed: KeptDefinition | null;
}

export type KeptDefinition = Pick<Definition, "says" | "answer">;

/** The present one first, then those that were in use last; `more`: how many the bound leaves out. */
export async function versions(
  client: Reader,
  pipelineId: number,
  max: number,
): Promise<{ readonly versions: readonly Version[]; readonly more: number }> {
  const rows = await client.rows<Version & { all: number }>(sql`
    select d.version, d.definition_hash as hash, d.since, d.until, d.follows, d.all,
      json_build_object('says', d.definition, 'answer', d.answer_schema) as kept,
      case
        when f.version is not null
          then json_build_object('says', f.definition, 'answer', f.answer_schema) end as followed
    from (
      select *, lead(since) over (order by since, version) as until, count(*) over ()::int as all
      from rowmill.definitions
      where pipeline_id = ${pipelineId}) d
    left join rowmill.definitions f on f.pipeline_id = d.pipeline_id and f.version = d.follows
    order by d.since desc, d.version desc
    limit ${max}`);
  const shown = rows.map(({ all: _all, ...version }) => version);
  return { versions: shown, more: (rows[0]?.all ?? 0) - shown.length };
}

/** How many rows have an answer to which version in the target. */
export async function answersInUse(client: Reader, pipelineId: number): Promise<ReadonlyMap<number, number>> {
  const rows = await client.rows<{ version: number; answers: number }>(sql`
    select d.version, sum(a.answers)::float8 as answers
    from (
      select answered_batch, count(*) as answers
      from rowmill.requests
      where pipeline_id = ${pipelineId} and answered_hash is not null
      group by answered_batch) a
    join rowmill.batches b on b.no = a.answered_batch
    join rowmill.definitions d on d.pipeline_id = b.pipeline_id and d.definition_hash = b.definition_hash
    group by d.version`);
  return new Map(rows.map(({ version, answers }) => [version, answers]));
}

export async function versionOf(client: Reader, pipelineId: number, hash: string): Promise<number | null> {
  return client.value<number>(sql`
    select version
    from rowmill.definitions
    where pipeline_id = ${pipelineId} and definition_hash = ${hash}`);
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

/** How the last registered definition names its rows and answers: what reading them takes. */
export interface ReadableDefinition {
  readonly pipelineId: number;
  /** `CompiledAnswer.stored`. */
  readonly answer: Json;
  /** The declared columns of a row. */
  readonly columns: readonly string[];
  readonly target: {
    readonly table: string;
    /** Answer field → column, where the names differ. */
    readonly columns: Readonly<Record<string, string>>;
    readonly trustOwner: boolean;
  };
}

/** Null: no worker has registered the pipeline yet. */
export async function readableDefinition(client: Reader, name: string): Promise<ReadableDefinition | null> {
  return client.first<ReadableDefinition>(sql`
    select p.id as "pipelineId", d.answer_schema as answer, d.definition -> 'source' -> 'columns' as columns,
      jsonb_build_object('table', p.target_table,
        'columns', coalesce(d.definition -> 'target' -> 'columns', '{}'),
        'trustOwner', coalesce((d.definition -> 'target' ->> 'trustOwner')::boolean, false)) as target
    from rowmill.pipelines p
    join rowmill.definitions d on d.pipeline_id = p.id and d.definition_hash = p.definition_hash
    where p.name = ${name}`);
}
