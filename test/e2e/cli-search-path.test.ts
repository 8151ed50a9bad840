/**
 * Another role's namesakes in a schema of the worker's search path: no statement of Rowmill's, of graphile-worker's
 * or of the functions that either of them installs may call one.
 */
import { randomBytes } from "node:crypto";
import { mkdtemp, realpath, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { startGateway, type Gateway } from "../../src/gateway/gateway.js";
import { openDatabase, raw, sql } from "../../src/postgres/database.js";
import { holds } from "../../src/store/ledger/due.js";
import { buildCli, filmsPipeline, runCommand, startCliProject, type Variables } from "../support/cli.js";
import { serverVersions } from "../support/databases.js";
import { pgbouncerMissingBecause, startPgBouncer } from "../support/pgbouncer.js";
import { startPostgresServer, type PostgresServer } from "../support/postgres-servers.js";

const password = randomBytes(12).toString("hex");

const tables = `
create role worker login createrole password '${password}';
create role intruder login password '${password}';
alter database postgres owner to worker;
grant create on schema public to worker;
set role worker;
create table public.films (id bigint primary key, title text, description text);
insert into public.films select i, 'Film ' || i, 'A film about the number ' || i from generate_series(1, 30) i;
create type public.mood as enum ('calm', 'loud');
create table public.codes (code varchar(20) primary key, mood public.mood, tags text[], body jsonb, description text);
insert into public.codes select 'c' || i, 'calm', array['a'], '{}', 'A war film, number ' || i
  from generate_series(1, 5) i;
create table public.pairs (shelf text, place int, description text, categories text[], summary text,
  primary key (shelf, place));
insert into public.pairs values ('a', 1, 'A ghost story.'), ('b', 2, 'A love story.'), ('c', 0, 'Left out.');
reset role;`;

const changes = `
insert into public.films values (100, 'New', 'Came later.');
update public.films set description = 'Another text.' where id = 2;
delete from public.films where id = 3;
update public.codes set tags = array['b'] where code = 'c1';
update public.pairs set description = 'A story of the sea.' where place = 1;
truncate public.codes;
insert into public.codes values ('c9', 'loud', null, '[]', 'After all.');`;

const config = (prompt: string) => `import { defineConfig, pipeline, z } from "rowmill";
const answer = z.object({ categories: z.array(z.string()), summary: z.string() });
const request = { model: "gpt-4o-mini", maxOutputTokens: 200, system: "${prompt}", user: "{{ description }}" };
const polling = { min: "200ms", max: "1s" };
const table = (source, target, more) => pipeline({ source, polling, request, answer, target, ...more });
export default defineConfig({ database: process.env.DATABASE_URL, pipelines: {
  films: table({ table: "public.films", key: "id", columns: ["title", "description"],
    where: "s.id operator(pg_catalog.<>) 7" }, { table: "public.film_labels" }, { budget: { usd: 5, per: "day" } }),
  codes: table({ table: "public.codes", key: "code", columns: ["mood", "tags", "body", "description"], existing: "skip",
    where: "s.code operator(pg_catalog.<>) 'c3'" },
    { table: "public.code_labels" }),
  pairs: table({ table: "public.pairs", key: ["shelf", "place"], columns: ["description"], where: "s.place operator(pg_catalog.>) 0" },
    { table: "public.pairs" }),
} });
`;

const initOptions = [
  "--table",
  "films",
  "--columns",
  "title",
  "--model",
  "gpt-4o-mini",
  "--prompt",
  "Hm.",
  "--answer",
  "text",
];

const ways = [
  ...serverVersions.map((version) => ({
    version,
    title: `PostgreSQL ${version}`,
    pooled: false,
    missing: null,
  })),
  { version: "18", title: "PostgreSQL 18 behind PgBouncer", pooled: true, missing: pgbouncerMissingBecause },
] as const;

beforeAll(buildCli, 150_000);

describe.each(ways)(
  "Objects with the names of those in pg_catalog, first in the worker's path, on $title",
  { timeout: 180_000 },
  ({ version, pooled, missing }) => {
    const noServer = inject("postgresServers")[version].missingBecause ?? missing;
    let folder: string;
    let server: PostgresServer;
    let gateway: Gateway;
    let env: Variables;
    const closers: (() => Promise<void>)[] = [];

    beforeAll(async () => {
      if (noServer !== null) return;
      folder = await realpath(await mkdtemp(join(inject("runFolder"), "search-path-")));
      closers.push(() => rm(folder, { recursive: true, force: true }));
      server = await startPostgresServer(version, { settings: { logging_collector: "on" } });
      closers.push(() => server.stop());
      gateway = await startGateway({ dataDir: join(folder, "gateway"), demoModel: true, batchDelayMs: 0 });
      closers.push(() => gateway.close());
      await asUser(tables);
      await plantClones(server.url);
      await asUser("alter role worker in database postgres set search_path = evil, pg_catalog, public");
      env = {
        DATABASE_URL: await workersUrl(),
        PGSSLMODE: "disable",
        OPENAI_API_KEY: "sk-test-key",
        OPENAI_BASE_URL: gateway.url,
      };
    }, 60_000);
    afterAll(async () => {
      for (const close of closers.reverse()) await close();
    });

    async function workersUrl(): Promise<string> {
      const url = new URL(server.url);
      url.username = "worker";
      url.password = password;
      if (!pooled) return url.href;
      const bouncer = await startPgBouncer(url.href, 4);
      closers.push(() => bouncer.stop());
      return bouncer.url;
    }

    async function asUser(statements: string, url = server.url): Promise<void> {
      const client = new pg.Client({ connectionString: url });
      await client.connect();
      try {
        await client.query(statements);
      } finally {
        await client.end();
      }
    }

    async function command(...args: readonly string[]): Promise<string> {
      const { status, stdout, stderr } = await runCommand(args, { cwd: folder, env });
      expect([0, 1], `${args.join(" ")}: ${stdout}${stderr}`).toContain(status);
      if (args[0] !== "doctor") expect(status, `${args.join(" ")}: ${stdout}${stderr}`).toBe(0);
      return stdout;
    }

    it("are never called by init, up, doctor, status, show, sweep and uninstall", async ({ skip }) => {
      if (noServer !== null) skip(noServer);
      await command("init", ...initOptions);
      await writeFile(join(folder, "rowmill.config.ts"), config("Be brief."));
      await command("doctor");
      await command("up", "--print-sql");
      await command("up", "--until-idle", "--yes");
      await asUser(changes);
      await command("sweep");
      await command("up", "--until-idle", "--yes");
      await writeFile(join(folder, "rowmill.config.ts"), config("Be very brief."));
      await command("up", "--until-idle", "--yes");
      await command("pause", "films");
      await command("resume", "films");
      await command("flush", "films");
      await command("doctor", "--audit");
      const status = JSON.parse(await command("status", "--json"));
      expect(status).toMatchObject({ pipelines: [{ succeeded: 1 }, { succeeded: 29 }, { succeeded: 2 }] });
      expect(await command("show", "films", "2")).toContain("Another text.");
      await command("show", "pairs", "a", "1");
      // What an idle worker asks each second, in no transaction whose path is pinned.
      const database = openDatabase({ connectionString: env["DATABASE_URL"], ssl: false });
      closers.push(() => database.close());
      expect(await holds(database, { snapshot: "" })).toBe(false);
      await command("uninstall");
      await command("uninstall", "--purge", "--yes");
      expect(await recordedCalls(server.url)).toEqual([]);
      // What would have been seen.
      await expect(asUser("select 1 = 1", await workersUrl())).rejects.toThrow("taken from evil");
      await expect(asUser("select 'a'::text", await workersUrl())).rejects.toThrow("taken from evil");
      await expect(asUser("select concat_ws(',', 1)", await workersUrl())).rejects.toThrow("type any");
      // The server's log is written by a process of its own.
      await expect.poll(() => recordedCalls(server.url), { timeout: 20_000 }).toHaveLength(3);
    });
  },
);

/** Each tries to make its owner a superuser, and notes that in a table. */
const planted = (intruder: string) => {
  const body = `language plpgsql as $$ begin
    insert into public.calls values (1);
    begin execute 'alter role ${intruder} superuser'; exception when others then null; end;
    return null; end $$`;
  return `create table public.calls (n int);
grant insert on public.calls to public;
create function public.concat_ws(text, int, text, text) returns text ${body};
create function public.array_position(name[], name) returns int ${body};
create function public.exp(smallint) returns double precision ${body};
create function public.same(varchar, varchar) returns boolean ${body};
create operator public.= (leftarg = varchar, rightarg = varchar, function = public.same);
create function public.is_text(pg_catalog.text) returns boolean ${body};
create domain public.jsonb as pg_catalog.jsonb check (public.is_text(value::pg_catalog.text));`;
};

describe.each(serverVersions)(
  "A role that may create in public, where a superuser runs Rowmill, on PostgreSQL %s",
  { timeout: 120_000 },
  (version) => {
    const kind = `pg${version}` as const;

    it("becomes no superuser by a function, an operator or a type of its own", async ({ skip }) => {
      const { url: serverUrl, missingBecause } = inject("postgresServers")[version];
      if (serverUrl === null) return skip(missingBecause ?? "");
      const intruder = `intruder_${randomBytes(4).toString("hex")}`;
      const project = await startCliProject(kind);
      try {
        // As PostgreSQL 14 has it by itself.
        await project.database.run(raw("grant create on schema public to public"));
        await project.database.run(
          raw(`create table films (id varchar(20) primary key, title text, description text);
            insert into films select 'f' || i, 'Film', 'About the number ' || i from generate_series(1, 5) i`),
        );
        await project.database.run(raw(`create role ${intruder} login password '${password}'`));
        const own = new URL(project.env["DATABASE_URL"] ?? "");
        own.username = intruder;
        own.password = password;
        const client = new pg.Client({ connectionString: own.href });
        await client.connect();
        await client.query(planted(intruder));
        await client.end();
        await project.writeConfig(filmsPipeline());
        const up = await project.run("up", "--until-idle", "--yes");
        expect(up).toMatchObject({ status: 0 });
        await project.run("sweep");
        await project.run("show", "films", "f1");
        const [role] = await project.database.rows(
          sql`select rolsuper as super from pg_catalog.pg_roles where rolname = ${intruder}`,
        );
        expect(role).toEqual({ super: false });
        expect(await project.database.rows(raw("select * from public.calls"))).toEqual([]);
        expect((await project.status()).pipelines).toMatchObject([{ succeeded: 5 }]);
      } finally {
        await project.close();
        const client = new pg.Client({ connectionString: serverUrl });
        await client.connect();
        await client.query(`drop role if exists ${intruder}`);
        await client.end();
      }
    });
  },
);

/**
 * A schema `evil` with a namesake of everything in pg_catalog: each function, aggregate, operator, type and relation,
 * with exactly the same signature. Each call is noted in the server's log, also where the error that follows is
 * caught, and raises.
 *
 * Functions that take `"any"` and the like can be written in no language but the server's own: these only raise
 * (`cannot accept a value of type any`), which the log shows unless it is caught. Left out is what no statement of
 * ours can name by mistake: ordered-set aggregates, functions over `internal`, and the input functions of
 * pseudo-types.
 */
const marks = ["TAKEN FROM evil", "cannot accept a value of type any"] as const;

/** The server must have `logging_collector = on`. */
async function plantClones(url: string): Promise<{ clones: number; skipped: readonly string[] }> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    await client.query("set search_path = pg_catalog");
    await client.query(setup);
    for (const part of parts) await client.query(part);
    const { rows } = await client.query<{ what: string }>("select what from evil.skipped order by what");
    const made = await client.query<{ count: number }>(
      "select (select count(*) from pg_proc where pronamespace = 'evil'::regnamespace)::int as count",
    );
    return { clones: made.rows[0]?.count ?? 0, skipped: rows.map((row) => row.what) };
  } finally {
    await client.end();
  }
}

/** Lines of the log since the server's start that report a call, each with what followed it. */
async function recordedCalls(url: string): Promise<readonly string[]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    const { rows } = await client.query<{ log: string }>(
      "select pg_catalog.pg_read_file(pg_catalog.pg_current_logfile()) as log",
    );
    const lines = (rows[0]?.log ?? "").split("\n");
    return lines.flatMap((line, index) =>
      marks.some((mark) => line.includes(mark)) ? [lines.slice(index, index + 6).join("\n")] : [],
    );
  } finally {
    await client.end();
  }
}

const setup = `
create schema evil;
create table evil.skipped (what text);
create function evil.trap(what text) returns boolean language plpgsql as $$
begin
  raise log 'TAKEN FROM evil: %', what;
  raise exception 'taken from evil: %', what;
end $$;
create function evil.make(what text, statement text, other text default null) returns void language plpgsql as $$
begin
  execute statement;
exception when others then
  if other is null then
    insert into evil.skipped values (what || ': ' || sqlerrm);
  else
    perform evil.make(what, other);
  end if;
end $$;`;

/** What stands behind a clone: the log has its name. */
const body = (what: string): string =>
  `format('language plpgsql as %L', format('begin perform evil.trap(%L); end', ${what}))`;
const raising = "'language internal as ''any_in'''";

const parts = [
  // Operators before types: the types of their operands are named as the session's path finds them.
  `select evil.make(o.oid::regoperator::text,
    format('create function evil.op_%s(%s) returns %s %s', o.oid, operands, format_type(o.oprresult, null),
      ${body("o.oid::regoperator::text")}),
    format('create function evil.op_%s(%s) returns %s %s', o.oid, operands, format_type(o.oprresult, null),
      ${raising})),
    evil.make(o.oid::regoperator::text, format('create operator evil.%s (function = evil.op_%s, %s)', o.oprname,
      o.oid, sides))
  from pg_operator o cross join lateral (select
    concat_ws(', ', case when o.oprleft <> 0 then format_type(o.oprleft, null) end,
      case when o.oprright <> 0 then format_type(o.oprright, null) end) as operands,
    concat_ws(', ', case when o.oprleft <> 0 then 'leftarg = ' || format_type(o.oprleft, null) end,
      case when o.oprright <> 0 then 'rightarg = ' || format_type(o.oprright, null) end) as sides) s
  where o.oprnamespace = 'pg_catalog'::regnamespace`,
  `select evil.make(p.oid::regprocedure::text,
    format('create function evil.%I(%s) returns %s %s', p.proname, arguments, result,
      case when p.prokind = 'w' then ${raising} || ' window' else ${body("p.oid::regprocedure::text")} end),
    format('create function evil.%I(%s) returns %s %s', p.proname, arguments, result, ${raising}))
  from pg_proc p cross join lateral (select
    (select string_agg(case when t.n = array_length(p.proargtypes::oid[], 1)
      and p.provariadic <> 0 then 'variadic ' else '' end || format_type(t.type, null), ', ' order by t.n)
     from unnest(p.proargtypes::oid[]) with ordinality t (type, n)) as arguments,
    case when p.proretset then 'setof ' else '' end || format_type(p.prorettype, null) as result) s
  where p.pronamespace = 'pg_catalog'::regnamespace and (p.prokind = 'f' or p.prokind = 'w')
    and not ('internal'::regtype = any(p.proargtypes::oid[]))
      and p.prorettype not in ('internal'::regtype, 'trigger'::regtype, 'event_trigger'::regtype)`,
  `select evil.make(p.oid::regprocedure::text,
      format('create function evil.step_%s(%s) returns text %s', p.oid, concat_ws(', ', 'text', arguments),
        ${body("p.oid::regprocedure::text")}),
      format('create function evil.step_%s(%s) returns text %s', p.oid, concat_ws(', ', 'text', arguments),
        ${raising})),
    evil.make(p.oid::regprocedure::text, format('create aggregate evil.%I(%s) (sfunc = evil.step_%s, stype = text)',
      p.proname, coalesce(arguments, '*'), p.oid))
  from pg_proc p join pg_aggregate a on a.aggfnoid = p.oid and a.aggkind = 'n' cross join lateral (select
    (select string_agg(case when t.n = array_length(p.proargtypes::oid[], 1)
      and p.provariadic <> 0 then 'variadic ' else '' end || format_type(t.type, null), ', ' order by t.n)
     from unnest(p.proargtypes::oid[]) with ordinality t (type, n)) as arguments) s
  where p.pronamespace = 'pg_catalog'::regnamespace`,
  `select evil.make(c.relname, format('create view evil.%I as select * from pg_catalog.%I where evil.trap(%L)',
    c.relname, c.relname, 'relation ' || c.relname),
    format('create view evil.%I as select true as anything where evil.trap(%L)', c.relname, 'relation ' || c.relname))
  from pg_class c where c.relnamespace = 'pg_catalog'::regnamespace and c.relkind in ('r', 'v')`,
  // A view made the type of its row already.
  `select evil.make(t.typname, format('create domain evil.%I as pg_catalog.%I check (evil.trap(%L))', t.typname,
    t.typname, 'type ' || t.typname))
  from pg_type t where t.typnamespace = 'pg_catalog'::regnamespace and t.typtype in ('b', 'e', 'r')
    and t.typcategory <> 'A'`,
  "grant usage on schema evil to public",
  "grant select on all tables in schema evil to public",
];
