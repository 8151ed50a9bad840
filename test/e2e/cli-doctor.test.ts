import { execFile } from "node:child_process";
import { randomUUID } from "node:crypto";
import { mkdtemp, readdir, realpath, rm, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { startGateway, type Gateway } from "../../src/gateway/gateway.js";
import { raw } from "../../src/postgres/database.js";
import { buildCli, runCommand, serverKind, unlessServer, type Ended, type Variables } from "../support/cli.js";
import { createDatabase, type TestDatabase } from "../support/databases.js";
import { configText, setupOf, setups, user, wholeText, type Setup, type SetupPlace } from "../support/doctor-setups.js";
import { startSilentServer } from "../support/odd-servers.js";
import { openUsersDatabase } from "../support/users-database.js";

const psqlScript = resolve(import.meta.dirname, "../support/psql.mjs");
const closers: (() => Promise<void>)[] = [];
let folder: string;
let gateway: Gateway;
let strictGateway: Gateway;
let lateGateway: Gateway;
let lateMs = 2 * 3_600_000;
let installed: TestDatabase;
/** Ends only when all its times have run out, so it runs while the others do. */
let nothingAnswers: Promise<Ended>;

beforeAll(buildCli, 150_000);

beforeAll(async () => {
  folder = await realpath(await mkdtemp(join(inject("runFolder"), "doctor-")));
  const silent = await startSilentServer();
  closers.push(silent.close, () => rm(folder, { recursive: true, force: true }));
  const alone = await place("silent", configText());
  nothingAnswers = runCommand(["doctor"], {
    cwd: alone,
    env: {
      DATABASE_URL: `postgres://u:a-long-password@127.0.0.1:${silent.port}/app`,
      OPENAI_API_KEY: "sk-test-key-of-the-doctor",
      OPENAI_BASE_URL: `http://127.0.0.1:${silent.port}/v1`,
    },
  });
  const open = async (name: string, options: Partial<Parameters<typeof startGateway>[0]>) => {
    const started = await startGateway({
      dataDir: join(folder, name),
      demoModel: true,
      batchDelayMs: 0,
      ...options,
    });
    closers.push(() => started.close());
    return started;
  };
  gateway = await open("gateway", {});
  strictGateway = await open("strict", { apiKeys: ["another-key"] });
  lateGateway = await open("late", { clock: { nowMs: () => Date.now() - lateMs } });
  installed = await createDatabase(serverKind);
  closers.push(() => installed.drop());
  await runSql(
    installed.url,
    `create table films (id bigint primary key, title text, description text);
     insert into films values (1, 'One', 'A film about the number one.')`,
  );
  const ended = await runCommand(["up", "--until-idle"], {
    cwd: await place("installed", configText()),
    env: baseEnv(installed.url),
  });
  expect(ended.status, ended.stderr).toBe(0);
  await createOrphan();
  lateMs = 3_600_000;
}, 60_000);

/** A batch of our name that no ledger noted. */
async function createOrphan(): Promise<void> {
  const [row] = await rowsOf(installed.url, "select id::text from rowmill.deployment");
  const headers = { Authorization: "Bearer sk-test-key-of-the-doctor" };
  const question = { model: "gpt-4o-mini", messages: [{ role: "user", content: "No one's text." }] };
  const line = { custom_id: "x-1", method: "POST", url: "/v1/chat/completions", body: question };
  const body = new FormData();
  body.set("purpose", "batch");
  body.set("file", new File([`${JSON.stringify(line)}\n`], "orphan.jsonl"));
  const file = await fetch(`${lateGateway.url}/files`, { method: "POST", headers, body });
  const { id }: { id: string } = JSON.parse(await file.text());
  const created = await fetch(`${lateGateway.url}/batches`, {
    method: "POST",
    headers: { ...headers, "Content-Type": "application/json" },
    body: JSON.stringify({
      input_file_id: id,
      endpoint: "/v1/chat/completions",
      completion_window: "24h",
      metadata: { rowmill_deployment: Reflect.get(row ?? {}, "id"), rowmill_batch: randomUUID() },
    }),
  });
  expect(created.status, await created.text()).toBe(200);
}

afterAll(async () => {
  for (const close of closers.reverse()) await close();
  await runSql(
    inject("postgresServers")["18"].url ?? "",
    `drop role if exists ${user}; drop role if exists ${user}_rls; drop role if exists ${user}_open`,
  );
});

function baseEnv(url: string): Variables {
  return {
    DATABASE_URL: url,
    PGSSLMODE: "disable",
    OPENAI_API_KEY: "sk-test-key-of-the-doctor",
    OPENAI_BASE_URL: gateway.url,
  };
}

async function place(name: string, config: string, files: Setup["files"] = {}): Promise<string> {
  const at = await mkdtemp(join(folder, `${name}-`));
  await writeFile(join(at, "rowmill.config.ts"), config);
  for (const [file, text] of Object.entries(files)) await writeFile(join(at, file), text);
  return at;
}

async function runSql(url: string, statements: string): Promise<void> {
  const database = openUsersDatabase({ connectionString: url });
  const name = new URL(url).pathname.slice(1);
  try {
    await database.run(raw(statements.replaceAll("database CURRENT", `database ${name}`)));
  } finally {
    await database.close();
  }
}

async function rowsOf(url: string, statement: string): Promise<object[]> {
  const database = openUsersDatabase({ connectionString: url });
  try {
    return await database.rows(raw(statement));
  } finally {
    await database.close();
  }
}

/**
 * A copy of the healthy database, or a new one, with what the set-up does to it. Dropped at the end, roles' rights
 * with it.
 */
async function copyOf(setup: Setup): Promise<TestDatabase> {
  const template = setup.empty ? "template1" : new URL(installed.url).pathname.slice(1);
  const database = await createDatabase(serverKind, template);
  closers.push(() => database.drop());
  if (setup.sql !== undefined) await runSql(database.url, setup.sql);
  return database;
}

interface Place {
  readonly folder: string;
  readonly url: string;
  readonly env: Variables;
}

async function prepare(setup: Setup): Promise<Place> {
  const { url } = await copyOf(setup);
  const at = await place("project", configText(setup.config), setup.files);
  const keep: SetupPlace["keep"] = (server) => {
    closers.push(server.close);
    return server;
  };
  const changes = await setup.env?.({
    folder: at,
    url,
    strictUrl: strictGateway.url,
    lateUrl: lateGateway.url,
    keep,
  });
  return { folder: at, url, env: { ...baseEnv(url), ...changes } };
}

/** What differs from run to run. */
function steady(text: string, { folder: at, url }: Place): string {
  return text
    .replaceAll(at, "FOLDER")
    .replaceAll(new URL(url).pathname.slice(1), "DATABASE")
    .replaceAll(user, "USER")
    .replace(/127\.0\.0\.1:\d+/g, "127.0.0.1:PORT")
    .replace(/Node\.js: [\d.]+/, "Node.js: NODE")
    .replace(/PostgreSQL \d[\d.]*/, "PostgreSQL VERSION")
    .replace(/\d+ [MG]B free/, "N GB free")
    .replace(/is \d+ s behind/, "is N s behind")
    .replace(/this Rowmill knows \d+/, "this Rowmill knows N")
    .replace(/batch_\w+ \(\w+\)/, "BATCH (STATUS)")
    .replace(/request req_\w+/, "request REQUEST");
}

describe.skipIf(serverKind === "embedded")(`rowmill doctor${unlessServer}`, { timeout: 60_000 }, () => {
  it.each(Object.entries(setups))("reports on %s", async (_, setup) => {
    const at = await prepare(setup);
    const schemasBefore = await rowsOf(at.url, "select nspname from pg_namespace order by 1");
    const ended = await runCommand(["doctor"], { cwd: at.folder, env: at.env });
    expect(ended.stderr).toBe("");
    expect(steady(ended.stdout, at)).toBe(wholeText(setup.says));
    expect(ended.status).toBe(setup.status);
    for (const secret of ["a-wrong-password", "a-secret-token", "sk-test-key", new URL(at.url).password])
      expect(ended.stdout).not.toContain(secret);
    expect(await rowsOf(at.url, "select nspname from pg_namespace order by 1")).toEqual(schemasBefore);
  });

  it("ends when neither database nor provider answers", async () => {
    const ended = await nothingAnswers;
    const shown = ended.stdout.replace(/127\.0\.0\.1:\d+/g, "127.0.0.1:PORT");
    expect(shown).toContain(`
  problem      Connection: Cannot use 127.0.0.1:PORT/app. The database did not answer: Connection terminated due to connection timeout.
               - No answer from 127.0.0.1:PORT: check host and port in DATABASE_URL. A firewall or a list of allowed addresses may block this machine.
`);
    expect(shown).toContain(`problem      Key: could not list models: no full reply from OpenAI within 7000 ms.`);
    expect(ended.status).toBe(2);
    expect(ended.stdout).not.toContain("a-long-password");
  });

  it("gives programs the same findings as JSON", async () => {
    const at = await prepare({ ...setupOf("a key that the provider refuses") });
    const ended = await runCommand(["doctor", "--json"], { cwd: at.folder, env: at.env });
    const report: { status: string; checks: { id: string; status: string; findings: object[] }[] } = JSON.parse(
      ended.stdout,
    );
    expect(report.status).toBe("problem");
    expect(report.checks.find((check) => check.id === "connection")).toMatchObject({
      group: "Database",
      title: "Connection",
      status: "ok",
    });
    expect(report.checks.find((check) => check.id === "key")).toMatchObject({
      status: "problem",
      findings: [
        {
          status: "problem",
          text: expect.stringContaining("HTTP 401"),
          fixes: ["Create a new key at the provider and set it as OPENAI_API_KEY."],
          sql: [],
        },
      ],
    });
    expect(report.checks.find((check) => check.id === "model")).toMatchObject({ status: "notChecked" });
    expect(ended.status).toBe(2);
  });

  it("creates no embedded database when it looks for one", async () => {
    const at = await place("embedded", configText());
    const ended = await runCommand(["doctor"], { cwd: at, env: { ...baseEnv("embedded") } });
    expect(ended.stdout).toContain(
      "  not checked  Connection, Version, Encoding, Pooler, TLS, Search path, Clock, Rights: the embedded database does not exist yet; rowmill up creates it\n",
    );
    expect(ended.status).toBe(0);
    expect(await readdir(at)).toEqual(["rowmill.config.ts"]);
  });
});

describe.skipIf(serverKind === "embedded")(`rowmill up --print-sql${unlessServer}`, { timeout: 60_000 }, () => {
  it("prints what an administrator grants, and no more is needed", async () => {
    const at = await prepare({
      ...setupOf("a user who may do nothing"),
      sql: `create table films (id bigint primary key, title text, description text); create schema labels;
        do $$ begin create role ${user} login password 'limited'; exception when duplicate_object then null; end $$;`,
    });
    const printed = await runCommand(["up", "--print-sql"], {
      cwd: at.folder,
      env: { ...at.env, OPENAI_API_KEY: undefined },
    });
    expect(printed.status, printed.stderr).toBe(0);
    const text = steady(printed.stdout, at);
    expect(text)
      .toContain(`-- What rowmill up would run in 127.0.0.1:PORT/DATABASE as "USER", for FOLDER/rowmill.config.ts.
-- Nothing was changed. rowmill up runs all of it itself, except the grants.
-- An administrator may run the grants alone, or the whole script.

-- So that a name without a schema is PostgreSQL's own

set search_path = pg_catalog, pg_temp;

-- Rights that an administrator has to grant

grant create on database "DATABASE" to "USER";
grant rowmill_arrivals to "USER";
grant select on "public"."films" to "USER";
grant trigger on "public"."films" to "USER";
grant usage, create on schema "labels" to "USER";

-- As "USER", who will own everything below, in one transaction

begin;
set role "USER";

-- Rowmill's own tables
`);
    expect(await rowsOf(at.url, "select 1 from pg_namespace where nspname like 'rowmill%'")).toEqual([]);
    const [grants = ""] = printed.stdout.split(/^-- As /m);
    await runSql(at.url, grants);
    const up = await runCommand(["up", "--until-idle"], { cwd: at.folder, env: at.env });
    expect(up.status, up.stderr).toBe(0);
    const again = await runCommand(["up", "--print-sql"], { cwd: at.folder, env: at.env });
    expect(again.stdout).toContain("\n-- There is nothing to do.\n");
  });

  it("prints a script that an administrator may run as a whole: everything belongs to the user, who needs no more", async () => {
    const at = await prepare({
      ...setupOf("a user who may do nothing"),
      sql: `create table films (id bigint primary key, title text, description text); create schema labels;
        do $$ begin create role ${user} login password 'limited'; exception when duplicate_object then null; end $$;`,
    });
    const printed = await runCommand(["up", "--print-sql"], { cwd: at.folder, env: at.env });
    expect(printed.status, printed.stderr).toBe(0);
    await runSql(at.url, `${printed.stdout}; insert into films values (1, 'One', 'A film about the number one.')`);
    expect(
      await rowsOf(
        at.url,
        `select pg_get_userbyid(nspowner) as owner from pg_namespace where nspname like 'rowmill%'
           union all select pg_get_userbyid(relowner) from pg_class where oid = 'labels.films'::regclass
           union all select pg_get_userbyid(proowner) from pg_proc where proname like 'arrive%'`,
      ),
    ).toEqual([user, user, user, "rowmill_arrivals"].map((owner) => ({ owner })));
    const up = await runCommand(["up", "--until-idle"], { cwd: at.folder, env: at.env });
    expect(up.status, up.stderr).toBe(0);
    expect(await rowsOf(at.url, "select id::int from labels.films")).toEqual([{ id: 1 }]);
    const again = await runCommand(["up", "--print-sql"], { cwd: at.folder, env: at.env });
    expect(again.stdout).toContain("\n-- There is nothing to do.\n");
  });

  it.each([
    ["psql -f", []],
    ["psql -1 -f", ["-1"]],
  ])("prints a script that %s installs as a whole or not at all, after which up continues", async (_, options) => {
    const at = await prepare({
      empty: true,
      sql: setupOf("a database that Rowmill never saw").sql ?? "",
      says: {},
      status: 0,
    });
    const printed = await runCommand(["up", "--print-sql"], { cwd: at.folder, env: at.env });
    expect(printed.status, printed.stderr).toBe(0);
    const psql = async (script: string) => {
      const file = join(at.folder, "rowmill.sql");
      await writeFile(file, script);
      await promisify(execFile)(process.execPath, [psqlScript, at.url, ...options, "-f", file]);
    };
    const failing = printed.stdout.replace("\nreset role;\n", "\nselect 1 / 0;\n");
    await expect(psql(failing)).rejects.toThrow("division by zero");
    expect(await rowsOf(at.url, "select 1 from pg_namespace where nspname like 'rowmill%'")).toEqual([]);
    await psql(printed.stdout);
    await runSql(at.url, "insert into films values (1, 'One', 'A film about the number one.')");
    const triggers = "select tgname from pg_trigger where tgname like 'rowmill%'";
    expect(await rowsOf(at.url, triggers)).toHaveLength(4);
    const up = await runCommand(["up", "--until-idle"], { cwd: at.folder, env: at.env });
    expect(up.status, up.stderr).toBe(0);
    expect(await rowsOf(at.url, "select id::int from film_labels")).toEqual([{ id: 1 }]);
    expect(await rowsOf(at.url, triggers)).toHaveLength(4);
  });
});

describe.skipIf(serverKind === "embedded")(`rowmill doctor --audit${unlessServer}`, { timeout: 60_000 }, () => {
  it("names what violates an invariant, by pipeline and key", async () => {
    const at = await prepare({
      sql: `update rowmill.requests set state = 'waiting'; update rowmill.counts set waiting = succeeded, succeeded = 0;
          update rowmill.attempts set cost_nano_usd = null; update rowmill.usage set cost_nano_usd = 0;
          update rowmill.batches set cost_nano_usd = 0`,
      says: {},
      status: 1,
    });
    const ended = await runCommand(["doctor", "--audit"], { cwd: at.folder, env: at.env });
    expect(ended.stdout).toBe(`  holds        1. a request is batched exactly when it is an open line of its batch
  violated     1. a request that waits is queued
               - films 1 waits, but is not queued
  holds        1. nothing is in flight in a batch that ended
  holds        1. an answer is kept only for a request in flight, of its batch and attempt
  holds        1. every row of a queue, a batch or an attempt has its request and batch
  holds        2. an ended batch accounts for every request
  holds        2. a batch in flight accounts for every request
  holds        2. the counts of states are those of the requests
  holds        2. the totals of a batch and of an hour are those of their attempts
  holds        2. an attempt without a line of its own shares that of an equal request of its batch, at no cost
  holds        2. sharing a line saved what the line cost
  holds        3. a succeeded request has exactly one accepted answer for its content
  holds        3. every answer to a pushed row is among the results, and every result is of a request
  holds        3. every answer of a pipeline whose target is elsewhere is to be delivered, or was
  holds        3. a row as the write of its answer leaves it is kept until that is confirmed, and no longer
  holds        5. one provider batch belongs to one batch
  holds        5. no batch of ours is taken for a second one
  holds        6. an ended batch reserves nothing
  holds        6. accepted answers of tries are counted once, in their batch
  violated     6. every attempt that used tokens of a batch with a price has its cost
               - films 1 attempt 1
  violated     6. every attempt costs what its batch's own price says
               - films 1 attempt 1 is booked at nothing, not 4125

3 invariants violated: a bug in Rowmill, or a write to its schema from outside. Please report it with these lines.
`);
    expect(ended.status).toBe(1);
    const json = await runCommand(["doctor", "--audit", "--json"], { cwd: at.folder, env: at.env });
    expect(JSON.parse(json.stdout)).toMatchObject({
      holds: false,
      invariants: expect.arrayContaining([
        {
          number: 1,
          title: "a request that waits is queued",
          violations: ["films 1 waits, but is not queued"],
        },
      ]),
    });
  });
});
