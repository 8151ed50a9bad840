/**
 * Each example as its README says: the blocks of commands under `<!-- runs in CI -->`, as they stand, in a copy of
 * its folder.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { cp, mkdir, readdir, readFile, symlink, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { raw, sql } from "../../src/postgres/database.js";
import { buildCli, cliScript, serverKind, startCliProject, type CliProject } from "../support/cli.js";
import { describeMariaDb } from "../support/describe-mariadb.js";
import { DYNALITE_ENV, startDynalite } from "../support/dynalite.js";
import { sharedMariaDb } from "../support/mariadb.js";

const examples = resolve(import.meta.dirname, "../../examples");
const psqlScript = resolve(import.meta.dirname, "../support/psql.mjs");
const sqliteScript = resolve(import.meta.dirname, "../support/sqlite3.mjs");
const COMMANDS_MS_MAX = 60_000;

beforeAll(buildCli, 150_000);

describe("examples", { timeout: 120_000 }, () => {
  // No server of MongoDB can be had from the registry, so `npm run check:types` alone reads that one.
  it("are all tested here, but mongodb", async () => {
    expect(await readdir(examples)).toEqual([
      "custom-source",
      "dynamodb",
      "mongodb",
      "movies",
      "mysql",
      "postgres",
      "sqlite",
      "supabase",
    ]);
  });

  it("custom-source: every film of the API has its summary", async () => {
    await inExample("custom-source", async ({ project, run }) => {
      const env = { ...process.env, PORT: "0" };
      const api = spawn(process.execPath, ["films-api.mjs"], { cwd: project.folder, env });
      try {
        const [printed]: unknown[] = await once(api.stdout, "data");
        const [, FILMS_API] = /^export FILMS_API=(\S+)\n$/.exec(String(printed)) ?? [];
        Object.assign(project.env, { FILMS_API });
        const [said = ""] = await run();
        expect(said).toContain("Safety Last!");
        expect(await project.database.number(sql`select count(*)::float8 from film_summaries`)).toBe(7);
        expect((await project.gateway.journal.summary()).executed).toBe(7);
      } finally {
        api.kill();
      }
    });
  });

  it("dynamodb: every film has its summary in its own item", async () => {
    const server = await startDynalite();
    try {
      await inExample("dynamodb", async ({ project, run }) => {
        await symlink(resolve(examples, "../node_modules"), join(project.folder, "node_modules"));
        Object.assign(project.env, DYNALITE_ENV, { AWS_ENDPOINT_URL_DYNAMODB: server.endpoint });
        const [said = ""] = await run();
        expect(said).toMatch(/Safety Last!: \w/);
        const items = await server.items("films");
        expect(items.filter(({ summary, categories }) => summary?.S && categories?.L)).toHaveLength(7);
        expect((await project.gateway.journal.summary()).executed).toBe(7);
      });
    } finally {
      await server.close();
    }
  });

  it("movies: every film has its categories", async () => {
    await inExample("movies", async ({ project, run }) => {
      const [said = ""] = await run();
      expect(said).toContain("12 Angry Men");
      const rows = await project.database.rows<{ categories: string[] }>(
        sql`select title, categories, summary from movies join movie_labels using (id)`,
      );
      expect(rows).toHaveLength(508);
      expect(rows.every((row) => row.categories.length > 0)).toBe(true);
    });
  });

  describeMariaDb(() => {
    it("mysql: every review has its answer, in its own row", async () => {
      const shop = await (await sharedMariaDb()).createDatabase();
      try {
        await shop.run(await readFile(join(examples, "mysql", "reviews.sql"), "utf8"));
        await inExample("mysql", async ({ project, run }) => {
          Object.assign(project.env, { SHOP_URL: shop.url });
          const [said = ""] = await run();
          expect(said).toContain("answers delivered to mysql");
          const rows = await shop.rows("select 1 from reviews where sentiment is not null and json_valid(topics)");
          expect(rows).toHaveLength(6);
          expect((await project.gateway.journal.summary()).executed).toBe(6);
        });
      } finally {
        await shop.drop();
      }
    });
  });

  it("postgres: tickets that are not closed are judged, and later only new and rewritten ones", async () => {
    await inExample("postgres", async ({ project, run }) => {
      const [first = "", second = ""] = await run();
      expect(first).toContain("Since this morning the till shows an error");
      expect(await project.status()).toMatchObject({ pipelines: [{ succeeded: 15, failed: 0, waiting: 0 }] });
      expect(second).toContain("tickets");
      expect((await project.gateway.journal.summary()).executed).toBe(16);
      const triage = await project.database.rows<Record<string, string>>(
        sql`
          select pg_typeof(category)::text as category, pg_typeof(urgency)::text as urgency,
            pg_typeof(summary)::text as summary
          from support.triage join support.tickets using (account, number) where status <> 'closed'`,
      );
      expect(triage).toHaveLength(15);
      expect(triage[0]).toEqual({ category: "text", urgency: "bigint", summary: "text" });
    });
  });

  it("sqlite: the films of an app get their answers, and later only new and rewritten ones", async () => {
    await inExample("sqlite", async ({ project, run }) => {
      const [first = "", second = ""] = await run();
      expect(first).toMatch(/^Nosferatu\|\["[a-z]/m);
      expect(second).toMatch(/^Wings\|\S/m);
      expect(await project.status()).toMatchObject({ pipelines: [{ succeeded: 7, failed: 0, waiting: 0 }] });
      expect((await project.gateway.journal.summary()).executed).toBe(8);
    });
  });

  it("supabase: the app's visitors read the answers when the policies are there, and never write them", async () => {
    await inExample("supabase", async ({ project, blocks, runBlock }) => {
      const [answer = "", open = ""] = blocks;
      await runBlock(answer);
      const asAnon = async (statement: string) =>
        (await runBlock(`psql "$DATABASE_URL" -c "set role anon" -c "${statement}"`)).split("\n").filter(Boolean);
      expect(await asAnon("select * from imdb_dataset")).toHaveLength(12);
      await expect(asAnon("select * from movie_labels")).rejects.toThrow("permission denied");
      expect(await runBlock(open)).toMatch(/"Title":"Metropolis \(1927\)","categories":\["[a-z]/);
      expect(await asAnon("select * from movie_labels")).toHaveLength(12);
      await expect(asAnon("delete from movie_labels")).rejects.toThrow("permission denied");
      await project.database.run(sql`drop policy "films are public" on imdb_dataset`);
      expect(await asAnon("select * from movie_labels")).toEqual([]);
    });
  });
});

interface Example {
  readonly project: CliProject;
  readonly blocks: readonly string[];
  /** Resolves to what the commands printed; throws when one fails. */
  runBlock(commands: string): Promise<string>;
  /** All blocks, in their order. */
  run(): Promise<string[]>;
}

async function inExample(name: string, body: (example: Example) => Promise<void>): Promise<void> {
  const project = await startCliProject(serverKind);
  try {
    await cp(join(examples, name), project.folder, { recursive: true });
    const readme = await readFile(join(project.folder, "README.md"), "utf8");
    for (const [, statements = ""] of readme.matchAll(/<!-- in CI, as SQL:\n([\s\S]*?)-->/g))
      await project.database.run(raw(statements));
    const blocks = [...readme.matchAll(/<!-- runs in CI -->\n\n```sh\n([\s\S]*?)```/g)].map(
      ([, commands = ""]) => commands,
    );
    expect(blocks.length).toBeGreaterThan(0);
    const bin = await writeCommands(project.folder);
    const runBlock = (commands: string) => runShell(commands, project, bin);
    const run = async (): Promise<string[]> => {
      const said: string[] = [];
      for (const commands of blocks) said.push(await runBlock(commands));
      return said;
    };
    await body({ project, blocks, runBlock, run });
    await project.check();
  } finally {
    await project.close();
  }
}

/** `rowmill`, `psql` and `sqlite3`, as a reader has them. */
async function writeCommands(folder: string): Promise<string> {
  const bin = join(folder, "bin");
  await mkdir(bin);
  for (const [name, script] of [
    ["rowmill", cliScript],
    ["psql", psqlScript],
    ["sqlite3", sqliteScript],
  ] as const)
    await writeFile(join(bin, name), `#!/bin/sh\nexec "${process.execPath}" "${script}" "$@"\n`, {
      mode: 0o755,
    });
  return bin;
}

async function runShell(commands: string, { folder, env }: CliProject, bin: string): Promise<string> {
  const child = spawn("bash", ["-euo", "pipefail", "-c", commands], {
    cwd: folder,
    env: { HOME: folder, PATH: `${bin}:${process.env["PATH"] ?? ""}`, ...env },
    stdio: ["ignore", "pipe", "pipe"],
    timeout: COMMANDS_MS_MAX,
  });
  let printed = "";
  for (const stream of [child.stdout, child.stderr])
    stream.on("data", (chunk: Buffer) => (printed += chunk.toString()));
  const [status]: unknown[] = await once(child, "close");
  if (status !== 0) throw new Error(`The commands ended with ${String(status)}:\n${printed}`);
  return printed;
}
