/** What the doctor finds about a source: may this user read and watch it, and are all of its rows seen? Only reads. */
import type { PipelineConfig } from "../../model/pipeline.js";
import { ok, problem, warning, type Finding } from "../../model/words/finding.js";
import { quoteIdentifier, sql, type Queryable, type Reader } from "../../postgres/database.js";
import { hiddenRows } from "../../postgres/row-security.js";
import type { SourceTable } from "./inspection.js";
import { lackingTriggerRight, requirePaths, requirePredicate } from "./requirements.js";
import { triggersInPlace } from "./triggers.js";

/** In a transaction of its own. @throws RowmillError where the table does not fit the config */
export async function diagnoseSource(
  tx: Queryable,
  pipeline: PipelineConfig,
  table: SourceTable,
): Promise<readonly Finding[]> {
  requirePaths(pipeline, table);
  const findings = await diagnoseSourceRights(tx, pipeline, table);
  if (findings.length > 0) return findings;
  await requirePredicate(tx, pipeline, table);
  return [
    ok(`${pipeline.name}: ${table.qualified} can be read and watched`),
    ...judgeRelatives(pipeline.name, table, await relativesOf(tx, table.oid)),
  ];
}

/** Nothing where this user may read the table and put triggers on it. */
export async function diagnoseSourceRights(
  client: Queryable,
  pipeline: PipelineConfig,
  table: SourceTable,
): Promise<readonly Finding[]> {
  const { user, ...rights } = await readRights(client, table);
  const untriggerable = (await triggersInPlace(client, pipeline, table))
    ? []
    : await lackingTriggerRight(client, table);
  const me = quoteIdentifier(user);
  const grants = [
    ...(rights.schemaUsage ? [] : [`grant usage on schema ${quoteIdentifier(table.schema)} to ${me};`]),
    ...(rights.select ? [] : [`grant select on ${table.qualified} to ${me};`]),
    ...untriggerable.map((relation) => `grant trigger on ${relation} to ${me};`),
  ];
  const lacking = [
    ...(rights.schemaUsage && rights.select ? [] : ["read"]),
    ...(untriggerable.length === 0 ? [] : ["create triggers on"]),
  ];
  const { text, fixes, sql: exemption } = hiddenRows(table.qualified, user);
  const what = `the user "${user}" may not ${lacking.join(" or ")} ${table.qualified}.`;
  return [
    ...(grants.length === 0 ? [] : [problem(`${pipeline.name}: ${what}`, { sql: grants })]),
    ...(rights.thinned ? [problem(`${pipeline.name}: ${text}`, { fixes, sql: exemption })] : []),
  ];
}

interface Rights {
  readonly user: string;
  readonly schemaUsage: boolean;
  /** Of the table, or of each column that is read. */
  readonly select: boolean;
  /** Policies would hide rows from this user. */
  readonly thinned: boolean;
}

async function readRights(client: Reader, { oid, qualified, key, columns }: SourceTable): Promise<Rights> {
  const read = [...key, ...columns].map((column) => column.name);
  const row = await client.first<Rights>(sql`
    select current_user::text as user,
      has_schema_privilege(c.relnamespace, 'USAGE') as "schemaUsage",
      has_table_privilege(c.oid, 'SELECT') or not exists (
        select 1
        from pg_catalog.pg_attribute a
        where a.attrelid = c.oid
          and a.attname = any(${read}::text[])
          and not has_column_privilege(c.oid, a.attnum, 'SELECT')
      ) as select,
      row_security_active(c.oid) as thinned
    from pg_catalog.pg_class c
    where c.oid = ${oid}::oid`);
  if (row === null) throw new Error(`${qualified} was dropped during the check.`);
  return row;
}

interface Relatives {
  /** Inheritance children, partitions left out. */
  readonly children: readonly string[];
  /** What it inherits from, or is a partition of. */
  readonly parents: readonly string[];
}

async function relativesOf(client: Reader, oid: number): Promise<Relatives> {
  const found = await client.first<Relatives>(sql`
    select
      array(
        select i.inhrelid::regclass::text
        from pg_catalog.pg_inherits i
        join pg_catalog.pg_class c on c.oid = i.inhrelid
        where i.inhparent = ${oid}::oid and c.relkind = 'r' and not c.relispartition
        order by 1
      ) as children,
      array(
        select i.inhparent::regclass::text
        from pg_catalog.pg_inherits i
        where i.inhrelid = ${oid}::oid
        order by 1
      ) as parents`);
  return found ?? { children: [], parents: [] };
}

function judgeRelatives(
  name: string,
  { qualified }: SourceTable,
  { children, parents }: Relatives,
): readonly Finding[] {
  const findings: Finding[] = [];
  if (children.length > 0) {
    const what = `${name}: Rowmill does not read the rows of ${children.join(", ")}, which inherit from ${qualified}.`;
    findings.push(warning(what, { fixes: ["To include them, add a pipeline for each of these tables."] }));
  }
  if (parents.length > 0) {
    const above = parents.join(" or ");
    const what =
      `${name}: rows written to ${qualified} through ${above} wait for the next sweep, because ` +
      `PostgreSQL fires no trigger of ${qualified} for them.`;
    const fix = `Use ${above} as the source, write to ${qualified} itself, or run: rowmill sweep ${name}`;
    findings.push(warning(what, { fixes: [fix] }));
  }
  return findings;
}
