/** What a pipeline's config needs of its table, refused before anything is made. Only reads. */
import { RowmillError } from "../../model/errors.js";
import type { PipelineConfig } from "../../model/pipeline.js";
import { pathProblems } from "../../model/request/template.js";
import {
  DatabaseError,
  isConflict,
  quoteIdentifier,
  raw,
  sql,
  underRolePath,
  type Queryable,
  type Reader,
} from "../../postgres/database.js";
import type { SourceTable } from "./inspection.js";

/** @throws RowmillError `config_invalid` where a template reads a field of a column that has none. */
export function requirePaths({ request }: PipelineConfig, { columns }: SourceTable): void {
  const types = new Map(columns.map((column) => [column.name, column.type]));
  for (const key of ["system", "user"] as const) {
    const message = request[key];
    const [problem] = message?.kind === "template" ? pathProblems(message.text, types) : [];
    if (problem !== undefined) throw new RowmillError("config_invalid", `request.${key}: ${problem}.`);
  }
}

/** In a transaction of its own, which a refusal ends. @throws RowmillError `source_unsupported` */
export async function requirePredicate(
  tx: Queryable,
  { source: { where } }: PipelineConfig,
  table: SourceTable,
): Promise<void> {
  if (where === null) return;
  try {
    await tx.run(underRolePath(sql`select 1 from ${raw(table.from)} s where (${raw(where)}) limit 0`));
  } catch (error) {
    // A deadlock against a change of the table says nothing about the predicate.
    if (!(error instanceof DatabaseError) || error.code !== "database_refused" || isConflict(error)) throw error;
    throw new RowmillError("source_unsupported", `source.where: ${error.message}`, {
      cause: error,
      hints: [`Rowmill runs it as: select … from ${table.from} s where (${where})`],
    });
  }
}

/** Else the trigger would fail first, after the target is made. @throws RowmillError `source_unsupported` */
export async function requireTriggerRight(client: Reader, table: SourceTable): Promise<void> {
  const lacking = await lackingTriggerRight(client, table);
  if (lacking.length === 0) return;
  const user = quoteIdentifier((await client.value<string>(sql`select current_user::text`)) ?? "");
  throw new RowmillError(
    "source_unsupported",
    `source.table: the database user ${user} may not create triggers on ${lacking.join(", ")}.`,
    {
      hints: [
        ...lacking.map((relation) => `grant trigger on ${relation} to ${user};`),
        "or connect as the table's owner.",
      ],
    },
  );
}

/** Of the table and its partitions, quoted, those on which this user may not create triggers. */
export async function lackingTriggerRight(client: Reader, { relations }: SourceTable): Promise<readonly string[]> {
  return client.column<string>(sql`
    select r.name
    from unnest(
      ${relations.map(({ oid }) => oid)}::oid[],
      ${relations.map(({ qualified }) => qualified)}::text[]
    ) with ordinality as r (oid, name, at)
    join pg_catalog.pg_class c on c.oid = r.oid
    where not has_table_privilege(c.oid, 'TRIGGER')
    order by r.at`);
}
