/**
 * Triggers on the sources: are ours there and switched on, and does somebody else's still post rows over HTTP from inside the
 * user's write? The looks read the catalogue; the judgements are pure.
 */
import type { SourceTable } from "../../sources/table/inspection.js";
import { triggerFunctionName } from "../../sources/table/trigger-function.js";
import { quoteIdentifier, sql, type Queryable } from "../../postgres/database.js";
import { problem, warning, type Finding } from "./check.js";

/** INSERT, UPDATE, DELETE and TRUNCATE. */
const EVENTS = 4;
const FUNCTIONS_MAX = 5_000;
/** A trigger's function, what it calls, what that calls. */
const CALLS_MAX = 4;

export interface OurTrigger {
  readonly relation: string;
  readonly name: string;
  /** `O` fires for ordinary sessions, `A` always; `D` never, `R` only for replication. */
  readonly enabled: string;
}

/** As table-triggers.ts names the function of a pipeline. */
export async function lookAtOurTriggers(tx: Queryable, pipelineId: number): Promise<OurTrigger[]> {
  return tx.rows<OurTrigger>(sql`
    select format('%I.%I', n.nspname, c.relname) as relation, t.tgname as name, t.tgenabled::text as enabled
    from pg_catalog.pg_trigger t join pg_catalog.pg_class c on c.oid = t.tgrelid join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where t.tgfoid = to_regproc(${`rowmill.${triggerFunctionName(pipelineId)}`}) order by t.tgrelid, t.tgname`);
}

export function judgeOurTriggers(
  pipeline: string,
  table: SourceTable,
  found: readonly OurTrigger[],
): readonly Finding[] {
  const expected = table.relations.length * EVENTS;
  const silent = found.filter(({ enabled }) => enabled !== "O" && enabled !== "A");
  const missing = expected - found.length;
  const mends = ["rowmill up puts them back. Until then its sweep finds what changed, from time to time."];
  return [
    ...(missing > 0
      ? [
          problem(`${pipeline}: on ${table.qualified}, ${missing} of ${expected} triggers are missing.`, {
            mends,
          }),
        ]
      : []),
    ...(silent.length > 0
      ? [
          problem(
            `${pipeline}: on ${table.qualified}, ${silent.length} of ${expected} triggers are switched off.`,
            {
              mends,
              sql: silent.map(
                ({ relation, name }) => `alter table ${relation} enable trigger ${quoteIdentifier(name)};`,
              ),
            },
          ),
        ]
      : []),
  ];
}

export interface ReplicaSetting {
  /** Null: for every role, or every database. */
  readonly role: string | null;
  readonly database: string | null;
}

/** Where sessions begin with `session_replication_role = replica`, in which no ordinary trigger fires. */
export async function lookForReplicaRole(
  tx: Queryable,
): Promise<{ here: boolean; settings: ReplicaSetting[] }> {
  const row = await tx.first<{ here: boolean }>(
    sql`select current_setting('session_replication_role') = 'replica' as here`,
  );
  const settings = await tx.rows<ReplicaSetting>(sql`
    select r.rolname as role, d.datname as database from pg_catalog.pg_db_role_setting s
    left join pg_catalog.pg_roles r on r.oid = s.setrole left join pg_catalog.pg_database d on d.oid = s.setdatabase
    where 'session_replication_role=replica' = any(s.setconfig) and (s.setdatabase = 0 or d.datname = current_database())
    order by 1 nulls first, 2 nulls first`);
  return { here: row?.here ?? false, settings };
}

export function judgeReplicaRole({
  here,
  settings,
}: Awaited<ReturnType<typeof lookForReplicaRole>>): readonly Finding[] {
  const mends = ["What such sessions write is found by the next sweep only."];
  if (settings.length === 0 && here)
    return [
      warning("session_replication_role is replica for the whole server: no trigger fires.", {
        mends: ["Take it out of postgresql.conf. What is written meanwhile is found by the next sweep only."],
      }),
    ];
  return settings.map(({ role, database }) => {
    const whose = role === null ? "every role" : `the role "${role}"`;
    const where = database === null ? "" : ` in the database "${database}"`;
    return warning(
      `session_replication_role is replica for ${whose}${where}: no trigger fires for its writes.`,
      {
        mends,
        sql: [`${resetOf(role, database)} reset session_replication_role;`],
      },
    );
  });
}

function resetOf(role: string | null, database: string | null): string {
  if (role === null)
    return database === null ? "alter role all" : `alter database ${quoteIdentifier(database)}`;
  const where = database === null ? "" : ` in database ${quoteIdentifier(database)}`;
  return `alter role ${quoteIdentifier(role)}${where}`;
}

export interface ForeignTrigger {
  readonly relation: string;
  readonly name: string;
  readonly body: string;
}

export interface DatabaseFunction {
  readonly name: string;
  readonly body: string;
}

/** Triggers of others that fire on these relations, and every function of the database that they might call. */
export async function lookAtForeignTriggers(
  tx: Queryable,
  relationOids: readonly number[],
): Promise<{ triggers: ForeignTrigger[]; functions: DatabaseFunction[] }> {
  const triggers = await tx.rows<ForeignTrigger>(sql`
    select format('%I.%I', n.nspname, c.relname) as relation, t.tgname as name, f.prosrc as body
    from pg_catalog.pg_trigger t join pg_catalog.pg_class c on c.oid = t.tgrelid join pg_catalog.pg_namespace n on n.oid = c.relnamespace
      join pg_catalog.pg_proc f on f.oid = t.tgfoid join pg_catalog.pg_namespace fn on fn.oid = f.pronamespace
    where t.tgrelid = any(${[...relationOids]}::oid[]) and not t.tgisinternal and t.tgenabled <> 'D' and fn.nspname <> 'rowmill'
    order by t.tgrelid, t.tgname`);
  if (triggers.length === 0) return { triggers, functions: [] };
  const functions = await tx.rows<DatabaseFunction>(sql`
    select f.proname as name, f.prosrc as body from pg_catalog.pg_proc f join pg_catalog.pg_namespace n on n.oid = f.pronamespace
      join pg_catalog.pg_language l on l.oid = f.prolang
    where l.lanname in ('plpgsql', 'sql') and n.nspname not in ('pg_catalog', 'information_schema', 'rowmill', 'rowmill_worker')
    order by f.oid limit ${FUNCTIONS_MAX}`);
  return { triggers, functions };
}

const POSTS = /\bhttp_(post|get|put|delete|request)\b|\bhttp\s*\(|\bpg_net\b|\bnet\.http/i;

export function judgeForeignTriggers(
  pipeline: string,
  { triggers, functions }: Awaited<ReturnType<typeof lookAtForeignTriggers>>,
): readonly Finding[] {
  return triggers.flatMap(({ relation, name, body }) => {
    const posting = postingBody(body, functions);
    if (posting === null) return [];
    const to = hostIn(posting);
    return [
      warning(
        `${pipeline}: the trigger "${name}" on ${relation} sends rows over HTTP${to === null ? "" : ` to ${to}`}, and is not Rowmill's.`,
        {
          mends: [
            "If it is the tutorial's, or does what this pipeline does, drop it: else each row is asked, and paid for, twice.",
          ],
          sql: [`drop trigger ${quoteIdentifier(name)} on ${relation};`],
        },
      ),
    ];
  });
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
