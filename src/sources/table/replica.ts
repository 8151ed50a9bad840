/** The table of pushed rows as a source: before it is there, and what may be wrong with it. Only reads. */
import { outsideRoles } from "../../postgres/outside-roles.js";
import type { PipelineConfig } from "../../model/pipeline.js";
import { problem, warning, type Finding } from "../../model/words/finding.js";
import { REPLICA_SCHEMA, replicaTable } from "../../model/replica-name.js";
import { quoteIdentifier, sql, type Reader } from "../../postgres/database.js";
import * as replicaTables from "../../store/replicas/replica-table.js";
import * as replicas from "../../store/replicas/replicas.js";
import type { SourceTable, TableColumn } from "./inspection.js";

const TEXT = { typeOid: 25, type: "text", castType: "pg_catalog.text", builtIn: true } as const;

/** As `up` would make it. */
export function plannedReplica({ name, source }: PipelineConfig): SourceTable {
  const column = (of: string): TableColumn => ({ name: of, ...TEXT });
  const qualified = `${quoteIdentifier(REPLICA_SCHEMA)}.${quoteIdentifier(name)}`;
  return {
    oid: 0,
    schema: REPLICA_SCHEMA,
    name,
    qualified,
    from: `only ${qualified}`,
    key: source.key.map(column),
    columns: source.columns.map(column),
    nullableKey: [],
    generation: 1,
    relations: [{ oid: 0, qualified }],
  };
}

/** `up` makes it: it holds pushed rows, and no `up` ran yet. */
export async function isReplicaMissing(client: Reader, { name, source }: PipelineConfig): Promise<boolean> {
  return source.replica !== null && !(await replicaTables.hasTable(client, name));
}

/**
 * Who else reads or writes the only copy of pushed rows. Nothing where no one does.
 * @throws RowmillError where the schema is another role's
 */
export async function diagnoseReplica(client: Reader, { name, source }: PipelineConfig): Promise<readonly Finding[]> {
  if (source.replica === null) return [];
  await replicas.requireOwnSchema(client);
  const seen = await client.first<{ secured: boolean; granted: string[] }>(sql`
    select c.relrowsecurity as secured,
      array(
        select distinct case when g.grantee = 0 then 'public' else pg_get_userbyid(g.grantee)::text end
        from aclexplode(c.relacl) g
        where g.grantee <> c.relowner
        order by 1) as granted
    from pg_catalog.pg_class c
    where c.oid = to_regclass(${replicaTable(name)})`);
  if (seen === null) return [];
  const statements = replicaTables
    .protectionStatements(name, await outsideRoles(client))
    .map((statement) => `${statement};`);
  const outside = seen.granted.filter((role) => ["public", "anon", "authenticated"].includes(role));
  const others = seen.granted.filter((role) => !outside.includes(role));
  return [
    ...(seen.secured
      ? []
      : [
          problem(`${name}: row-level security is off on ${replicaTable(name)}, which holds pushed rows.`, {
            sql: statements.slice(0, 1),
          }),
        ]),
    ...(outside.length === 0
      ? []
      : [
          problem(`${name}: everyone on the Internet or in this database may have rights on ${replicaTable(name)}.`, {
            sql: statements.slice(1),
          }),
        ]),
    ...(others.length === 0
      ? []
      : [
          warning(`${name}: ${others.join(", ")} may use ${replicaTable(name)}, which holds pushed rows.`, {
            fixes: ["If you did not grant that on purpose, revoke it."],
          }),
        ]),
  ];
}
