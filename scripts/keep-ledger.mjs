/**
 * Keeps a ledger of this version in the middle of its work, as `test/ledgers/VERSION.sql`, for
 * `kept-ledgers.test.ts`, which migrates it with whatever comes later. Run by hand when a version of the schema is
 * released:
 *
 *     npm run build && node scripts/keep-ledger.mjs [--cli dist/cli/main.js]
 *
 * The built command works on a PostgreSQL 14 of the dev dependencies; `pg_dump` 14 or later comes from PATH (Debian:
 * postgresql-client). In it: rows that were answered, at once and at the second try, one that failed, one whose
 * source row is gone, two in a batch that was never sent, and two that wait.
 */
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { parseArgs, promisify } from "node:util";
import { createJiti } from "jiti";
import pg from "pg";

const COMMAND_MS_MAX = 60_000;
const run = promisify(execFile);
const { values } = parseArgs({ options: { cli: { type: "string", default: "dist/cli/main.js" } } });
const cli = resolve(values.cli);
const ledgers = resolve(import.meta.dirname, "../test/ledgers");

const config = (when) => `import { defineConfig, pipeline, z } from "rowmill";

const notes = pipeline({
  source: { table: "notes", key: "id", columns: ["body"] },
  ${when}
  polling: { min: "200ms", max: "1s" },
  request: { model: "gpt-4o-mini", maxOutputTokens: 100, user: "{{ body }}" },
  answer: z.object({ categories: z.array(z.string()) }),
  target: { table: "note_answers" },
});

export default defineConfig({ database: process.env.DATABASE_URL, pipelines: { notes } });
`;

const folder = await mkdtemp(join(tmpdir(), "rowmill-ledger-"));
const { startPostgresServer } = await createJiti(import.meta.url).import("../test/support/postgres-servers.ts");
const server = await startPostgresServer("14");
const client = new pg.Client({ connectionString: server.url });
const key = "the-key-of-the-kept-ledgers";
const gateway = spawn(process.execPath, [cli, "gateway", "--demo-model", "--port", "0"], {
  cwd: folder,
  env: { PATH: process.env.PATH, ROWMILL_GATEWAY_KEYS: key },
  stdio: ["ignore", "pipe", "inherit"],
});
try {
  await client.connect();
  const env = {
    PATH: process.env.PATH,
    DATABASE_URL: server.url,
    PGSSLMODE: "disable",
    OPENAI_API_KEY: key,
    OPENAI_BASE_URL: await gatewayUrl(),
  };
  const rowmill = (...args) => run(process.execPath, [cli, ...args], { cwd: folder, env, timeout: COMMAND_MS_MAX });
  // It may end with an error or not, by version; what it left is looked at instead.
  const upWithoutProvider = () => rowmill("up", "--once", "--yes").catch((error) => console.log(error.stderr));
  await client.query("create table notes (id bigint primary key, body text)");
  await client.query(`insert into notes values (1, 'A war film.'), (2, 'A love story.'),
    (3, 'Odd at first. [[demo:mismatch-once]]'), (4, 'Never. [[demo:error 400]]'), (5, 'Soon gone.')`);
  await writeFile(join(folder, "rowmill.config.mjs"), config(""));
  // Status 3: a row failed.
  await rowmill("up", "--until-idle", "--yes").catch((error) => {
    if (error.code !== 3) throw error;
  });
  await client.query("delete from notes where id = 5");
  await stopGateway();
  await client.query("insert into notes values (6, 'A comedy.'), (7, 'A ghost story.')");
  await writeFile(join(folder, "rowmill.config.mjs"), config('when: { rows: 2, maxWait: "24h" },'));
  await upWithoutProvider();
  await client.query("insert into notes values (8, 'A western.'), (9, 'A fairy tale.')");
  await writeFile(join(folder, "rowmill.config.mjs"), config('when: { rows: 1000, maxWait: "24h" },'));
  await upWithoutProvider();
  const left = await client.query(`select
    (select string_agg(state || ' ' || requests, ', ') from rowmill.batches where settled_at is null) as batches,
    (select count(*)::int from rowmill.requests where state = 'waiting') as waiting`);
  const [found] = left.rows;
  if (found.batches !== "uploading 2" || found.waiting !== 2)
    throw new Error(`Not the ledger that was meant: ${JSON.stringify(found)}`);
  const { rows } = await client.query("select max(version) as version from rowmill.migrations");
  const { stdout } = await run("pg_dump", ["--inserts", "--no-owner", "--no-privileges", "--no-comments", server.url], {
    timeout: COMMAND_MS_MAX,
  });
  await mkdir(ledgers, { recursive: true });
  const file = join(ledgers, `${String(rows[0].version).padStart(4, "0")}.sql`);
  // Lines for psql only, and empty ones, say nothing.
  await writeFile(file, stdout.replaceAll(/^(?:\\.*|--.*)?\n/gm, ""));
  console.log(`wrote ${file}`);
} finally {
  await client.end();
  await stopGateway();
  await server.stop();
  await rm(folder, { recursive: true, force: true });
}

async function stopGateway() {
  if (gateway.exitCode !== null || gateway.signalCode !== null) return;
  gateway.kill();
  await once(gateway, "exit");
}

async function gatewayUrl() {
  for await (const line of createInterface({ input: gateway.stdout })) {
    const found = /http:\/\/\S+/.exec(line);
    if (found !== null) return found[0];
  }
  throw new Error("The gateway ended before it listened.");
}
