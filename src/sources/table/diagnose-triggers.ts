/**
 * What the doctor finds about triggers on a source: are ours there and enabled, does a session setting silence them,
 * and does another program's trigger still send rows over HTTP from inside your writes? Only reads the catalogue.
 */
import { counted } from "../../model/words/counted.js";
import { problem, warning, type Finding } from "../../model/words/finding.js";
import { quoteIdentifier, sql, type Reader } from "../../postgres/database.js";
import type { SourceTable } from "./inspection.js";
import { triggerFunctionName } from "./trigger-function.js";

/** INSERT, UPDATE, DELETE and TRUNCATE. */
const EVENTS = 4;
const FUNCTIONS_MAX = 5_000;
/** A trigger's function, what it calls, what that calls. */
const CALLS_MAX = 4;

interface OurTrigger {
  readonly relation: string;
  readonly name: string;
  /** `O` fires for ordinary sessions, `A` always; `D` never, `R` only for replication. */
  readonly enabled: string;
}

/** How many of ours there are, and what is wrong with them. */
export async function diagnoseOurTriggers(
  client: Reader,
  pipeline: { readonly id: number; readonly name: string },
  table: SourceTable,
): Promise<{ count: number; findings: readonly Finding[] }> {
  const found = await client.rows<OurTrigger>(sql`
    select format('%I.%I', n.nspname, c.relname) as relation, t.tgname as name, t.tgenabled::text as enabled
    from pg_catalog.pg_trigger t
    join pg_catalog.pg_class c on c.oid = t.tgrelid
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where t.tgfoid = to_regproc(${`rowmill.${triggerFunctionName(pipeline.id)}`})
    order by t.tgrelid, t.tgname`);
  return { count: found.length, findings: judgeOurTriggers(pipeline.name, table, found) };
}

function judgeOurTriggers(pipeline: string, table: SourceTable, found: readonly OurTrigger[]): readonly Finding[] {
  const expected = table.relations.length * EVENTS;
  const disabled = found.filter(({ enabled }) => enabled !== "O" && enabled !== "A");
  const missing = expected - found.length;
  const share = (count: number) =>
    `${pipeline}: ${count} of ${counted(expected, "trigger")} on ${table.qualified} ${count === 1 ? "is" : "are"}`;
  const fixes = ["rowmill up restores them. Until then, Rowmill finds changed rows only in its periodic sweep."];
  const enable = disabled.map(
    ({ relation, name }) => `alter table ${relation} enable trigger ${quoteIdentifier(name)};`,
  );
  return [
    ...(missing > 0 ? [problem(`${share(missing)} missing.`, { fixes })] : []),
    ...(enable.length > 0 ? [problem(`${share(enable.length)} disabled.`, { fixes, sql: enable })] : []),
  ];
}

interface ReplicaSetting {
  /** Null: for every role, or every database. */
  readonly role: string | null;
  readonly database: string | null;
}

interface ReplicaRole {
  /** In this session, wherever it is set. */
  readonly here: boolean;
  readonly settings: readonly ReplicaSetting[];
}

/** Where sessions begin with `session_replication_role = replica`, in which no ordinary trigger fires. */
export async function diagnoseReplicaRole(client: Reader): Promise<readonly Finding[]> {
  const here = await client.value<boolean>(sql`select current_setting('session_replication_role') = 'replica'`);
  const settings = await client.rows<ReplicaSetting>(sql`
    select r.rolname as role, d.datname as database
    from pg_catalog.pg_db_role_setting s
    left join pg_catalog.pg_roles r on r.oid = s.setrole
    left join pg_catalog.pg_database d on d.oid = s.setdatabase
    where 'session_replication_role=replica' = any(s.setconfig)
      and (s.setdatabase = 0 or d.datname = current_database())
    order by 1 nulls first, 2 nulls first`);
  return judgeReplicaRole({ here: here === true, settings });
}

export function judgeReplicaRole({ here, settings }: ReplicaRole): readonly Finding[] {
  const effect = "Until then, Rowmill finds what these sessions write only at its next sweep.";
  if (settings.length === 0 && here)
    return [
      warning("session_replication_role is replica for the whole server, so no trigger fires.", {
        fixes: [`Remove the setting from postgresql.conf. ${effect}`],
      }),
    ];
  return settings.map(({ role, database }) => {
    const whose = role === null ? "every role" : `the role "${role}"`;
    const where = database === null ? "" : ` in the database "${database}"`;
    return warning(`session_replication_role is replica for ${whose}${where}, so no trigger fires for its writes.`, {
      fixes: [`Reset the setting. ${effect}`],
      sql: [`${resetOf(role, database)} reset session_replication_role;`],
    });
  });
}

function resetOf(role: string | null, database: string | null): string {
  if (role === null) return database === null ? "alter role all" : `alter database ${quoteIdentifier(database)}`;
  const where = database === null ? "" : ` in database ${quoteIdentifier(database)}`;
  return `alter role ${quoteIdentifier(role)}${where}`;
}

interface OtherTrigger {
  readonly relation: string;
  readonly name: string;
  readonly body: string;
}

interface DatabaseFunction {
  readonly name: string;
  readonly body: string;
}

/** Triggers of others on the table and its partitions that send rows over HTTP. */
export async function diagnoseOtherTriggers(
  client: Reader,
  pipeline: string,
  { relations }: SourceTable,
): Promise<readonly Finding[]> {
  const triggers = await client.rows<OtherTrigger>(sql`
    select format('%I.%I', n.nspname, c.relname) as relation, t.tgname as name, f.prosrc as body
    from pg_catalog.pg_trigger t
    join pg_catalog.pg_class c on c.oid = t.tgrelid
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    join pg_catalog.pg_proc f on f.oid = t.tgfoid
    join pg_catalog.pg_namespace fn on fn.oid = f.pronamespace
    where t.tgrelid = any(${relations.map(({ oid }) => oid)}::oid[])
      and not t.tgisinternal
      and t.tgenabled <> 'D'
      and fn.nspname <> 'rowmill'
    order by t.tgrelid, t.tgname`);
  if (triggers.length === 0) return [];
  const functions = await client.rows<DatabaseFunction>(sql`
    select f.proname as name, f.prosrc as body
    from pg_catalog.pg_proc f
    join pg_catalog.pg_namespace n on n.oid = f.pronamespace
    join pg_catalog.pg_language l on l.oid = f.prolang
    where l.lanname in ('plpgsql', 'sql')
      and n.nspname not in ('pg_catalog', 'information_schema', 'rowmill', 'rowmill_worker')
    order by f.oid
    limit ${FUNCTIONS_MAX}`);
  return triggers.flatMap((trigger) => judgeOtherTrigger(pipeline, trigger, functions));
}

const POSTS = /\bhttp_(post|get|put|delete|request)\b|\bhttp\s*\(|\bpg_net\b|\bnet\.http/i;

function judgeOtherTrigger(
  pipeline: string,
  { relation, name, body }: OtherTrigger,
  functions: readonly DatabaseFunction[],
): readonly Finding[] {
  const posting = postingBody(body, functions);
  if (posting === null) return [];
  const host = hostIn(posting);
  const to = host === null ? "" : ` to ${host}`;
  return [
    warning(`${pipeline}: another program's trigger "${name}" on ${relation} sends rows over HTTP${to}.`, {
      fixes: ["If it sends the same rows to a model, drop it: otherwise you pay for each row twice."],
      sql: [`drop trigger ${quoteIdentifier(name)} on ${relation};`],
    }),
  ];
}

/** The body that posts: the function's own, or that of one that it calls, by name; null: none does. */
export function postingBody(body: string, functions: readonly DatabaseFunction[]): string | null {
  const seen = new Set<string>();
  let bodies = [withoutComments(body)];
  for (let depth = 0; depth < CALLS_MAX && bodies.length > 0; depth++) {
    const found = bodies.find((text) => POSTS.test(text));
    if (found !== undefined) return found;
    const called = new Set(bodies.flatMap(namesCalled));
    const next = functions.filter(({ name }) => called.has(name) && !seen.has(name));
    for (const { name } of next) seen.add(name);
    bodies = next.map((callee) => withoutComments(callee.body));
  }
  return null;
}

function namesCalled(body: string): string[] {
  return [...body.matchAll(/"([^"]+)"\s*\(|\b([a-z_][\w$]*)\s*\(/gi)].map(
    ([, quoted, plain]) => quoted ?? (plain ?? "").toLowerCase(),
  );
}

function withoutComments(body: string): string {
  return body.replace(/\/\*[\s\S]*?\*\//g, " ").replace(/--[^\n]*/g, " ");
}

/** Without path and query, which may hold a token. */
function hostIn(body: string): string | null {
  const text = /https?:\/\/[^\s'"<>]+/i.exec(body)?.[0] ?? "";
  return URL.canParse(text) ? new URL(text).host : null;
}
