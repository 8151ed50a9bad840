/** What the doctor finds about a target: can it take the answers, and may this user create or change it? Only reads. */
import { REPLICA_SCHEMA } from "../../model/replica-name.js";
import { ok, problem, warning, type Finding } from "../../model/words/finding.js";
import { quoteIdentifier, sql, type Reader } from "../../postgres/database.js";
import type { TargetPlan } from "./ensure.js";
import type { Fault } from "./fault.js";

/** `plan`: as `examineTarget` gave it. */
export async function diagnoseTarget(client: Reader, name: string, plan: TargetPlan): Promise<readonly Finding[]> {
  const { qualified, statements } = plan;
  const findings = await targetFaults(client, name, plan);
  if (findings.length > 0) return findings;
  if (!plan.exists) return [ok(`${name}: rowmill up creates ${qualified}`)];
  if (statements.length === 0) return [ok(`${name}: answers can be written into ${qualified}`)];
  if (!plan.asks) return [ok(`${name}: answers can be written into ${qualified}; rowmill up adds the missing columns`)];
  return [
    warning(`${name}: ${qualified} must be changed before it can hold the answers.`, {
      fixes: ["rowmill up shows the statements and asks first; rowmill up --yes runs them without asking."],
      sql: statements.map((statement) => `${statement};`),
    }),
  ];
}

/** What keeps answers out, or the table from being created. */
export async function targetFaults(client: Reader, name: string, plan: TargetPlan): Promise<readonly Finding[]> {
  const faults = plan.faults.map((fault) => findingOf(name, fault));
  return plan.exists ? faults : [...faults, ...judgeCreation(name, plan, await readRights(client, plan))];
}

function findingOf(name: string, { level, text, fixes, sql: statements }: Fault): Finding {
  const make = level === "warning" ? warning : problem;
  const finding = make(`${name}: ${text}`, { fixes, sql: statements });
  return level === "unknown" ? { ...finding, level: "notChecked", stops: false } : finding;
}

interface CreationRights {
  readonly user: string;
  readonly schemaExists: boolean;
  readonly mayCreate: boolean;
}

async function readRights(client: Reader, { schema }: TargetPlan): Promise<CreationRights> {
  const row = await client.first<CreationRights>(sql`
    select current_user::text as user,
      n.oid is not null as "schemaExists",
      coalesce(
        has_schema_privilege(n.oid, 'CREATE') and has_schema_privilege(n.oid, 'USAGE'), false
      ) as "mayCreate"
    from (select 1) one
    left join pg_catalog.pg_namespace n on n.nspname = ${schema}`);
  if (row === null) throw new Error("The catalogue gave no row.");
  return row;
}

function judgeCreation(
  name: string,
  { schema, qualified }: TargetPlan,
  { user, schemaExists, mayCreate }: CreationRights,
): readonly Finding[] {
  const [home, me] = [quoteIdentifier(schema), quoteIdentifier(user)];
  // `up` makes it, which takes a right on the database that the doctor looks at anyway.
  if (!schemaExists && schema === REPLICA_SCHEMA) return [];
  if (!schemaExists)
    return [
      problem(`${name}: the schema ${home} of the target ${qualified} does not exist.`, {
        sql: [`create schema ${home} authorization ${me};`],
      }),
    ];
  if (mayCreate) return [];
  return [
    problem(`${name}: the user "${user}" may not create ${qualified}.`, {
      sql: [`grant usage, create on schema ${home} to ${me};`],
    }),
  ];
}
