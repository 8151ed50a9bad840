/** What `rowmill plan` reads, in this process; and everything that a look must leave as it was. */
import { join } from "node:path";
import { connectionOptions } from "../../src/config/database/connection.js";
import { readEnvironment } from "../../src/config/load/environment.js";
import { validateConfig } from "../../src/config/read/validate.js";
import { readPlan } from "../../src/app/plan/read-plan.js";
import type { AskingPlan, ProjectPlan } from "../../src/app/plan/pipeline-plan.js";
import { defineConfig } from "../../src/index.js";
import { openDatabase, raw, sql, type Database } from "../../src/postgres/database.js";
import { createOpenAIProvider } from "../../src/providers/openai/adapter.js";
import type { TestProject } from "./project.js";

type Pipelines = Parameters<typeof defineConfig>[0]["pipelines"];

export interface PlanOptions {
  /** Of another user. */
  readonly url?: string;
  readonly requestsShown?: number;
}

export async function planHere(
  project: TestProject,
  pipelines: Pipelines,
  { url = project.url, requestsShown = 0 }: PlanOptions = {},
): Promise<ProjectPlan> {
  const environment = readEnvironment({ OPENAI_BASE_URL: project.gateway.url, PGSSLMODE: "disable" });
  const config = validateConfig(defineConfig({ database: project.url, pipelines }), {
    file: join(project.folder, "rowmill.config.ts"),
    language: "script",
    databaseUrl: null,
  });
  const provider = createOpenAIProvider({ apiKey: "test", baseURL: project.gateway.url });
  const database = openDatabase(connectionOptions({ kind: "server", url }, environment));
  try {
    const parts = { config, database, providers: () => provider, requestsShown };
    return await readPlan(parts, config.pipelines);
  } finally {
    await database.close();
  }
}

/** Of the only pipeline. @throws Error where it could not be planned */
export function askingOf(plan: ProjectPlan): AskingPlan {
  const [only] = plan.pipelines;
  if (only === undefined || only.asking === null) throw new Error(`Not planned: ${JSON.stringify(plan)}`);
  return only.asking;
}

/**
 * The catalog without roles, which the tests of a server share, and every row of our schemas and of `public` with its
 * place and transaction, as one text.
 */
export async function everythingIn(database: Database): Promise<string> {
  const catalog = await database.rows(sql`
    select 'table' as what, c.oid::text, n.nspname || '.' || c.relname as name, c.relkind::text as detail
    from pg_class c
    join pg_namespace n on n.oid = c.relnamespace
    where n.nspname !~ '^pg_toast'
    union all select 'schema', oid::text, nspname, nspacl::text from pg_namespace where nspname !~ '^pg_(toast_)?temp'
    union all select 'function', oid::text, proname, md5(prosrc) from pg_proc
    union all select 'trigger', oid::text, tgname, tgenabled::text from pg_trigger
    order by 1, 2`);
  const tables = await database.rows<{ name: string; kind: string }>(sql`
    select c.oid::regclass::text as name, c.relkind::text as kind
    from pg_class c
    join pg_namespace n on n.oid = c.relnamespace
    where n.nspname in ('rowmill', 'rowmill_worker', 'public')
      and c.relkind in ('r', 'S')
    order by 1`);
  const rows: unknown[] = [];
  for (const { name, kind } of tables) {
    const columns = kind === "S" ? "last_value::text, is_called" : "t.ctid::text, t.xmin::text, t::text";
    rows.push(name, await database.rows(raw(`select ${columns} from ${name} t order by 1`)));
  }
  return JSON.stringify({ catalog, rows }, undefined, 1);
}
