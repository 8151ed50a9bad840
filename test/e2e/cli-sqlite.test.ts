/** Films in a SQLite file: their answers go to a web hook, to another file, and into their own rows. */
import { randomBytes } from "node:crypto";
import { readFile, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createClient, type Client } from "@libsql/client";
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { buildCli, startCliProject, type CliProject } from "../support/cli.js";
import { films } from "../support/films.js";
import { startReceiver, type HookReceiver } from "../support/hook-receiver.js";

beforeAll(buildCli, 150_000);

const FILMS = 1_000;
const FEW = 20;

/** As a user writes it: paths begin in the folder of the project. */
const CONFIG = `import { defineConfig, pipeline, sqlite, webhook, z } from "rowmill";

const { HOOK_URL, HOOK_SECRET } = process.env;
const source = sqlite({
  url: "file:films.db", table: "films", key: "id", columns: ["title", "description"], cursor: "changed_at", every: "1h",
});
const labelled = (target) => pipeline({
  source,
  when: { rows: 1_000, maxWait: "0s" },
  polling: { min: "20ms", max: "100ms" },
  request: { model: "gpt-4o-mini", user: "Summarize {{ title }}: {{ description }}", maxOutputTokens: 100 },
  answer: z.object({ summary: z.string() }),
  target,
});

export default defineConfig({
  pipelines: {
    hooked: labelled(webhook({ url: HOOK_URL, secret: HOOK_SECRET, allowPrivate: true })),
    beside: labelled(sqlite({ url: "file:labels.db", table: "film_labels", key: "id" })),
    back: labelled(sqlite({ url: "file:films.db", table: "films", addColumns: true })),
  },
});
`;

describe("Rows and answers in SQLite files", { timeout: 300_000 }, () => {
  let project: CliProject;
  let hook: HookReceiver;
  let shop: Client;
  beforeEach(async () => {
    const secret = `whsec_${randomBytes(32).toString("base64")}`;
    hook = await startReceiver(secret);
    project = await startCliProject("embedded");
    Object.assign(project.env, { HOOK_URL: hook.url, HOOK_SECRET: secret });
    await writeFile(join(project.folder, "rowmill.config.mjs"), CONFIG);
    shop = createClient({ url: `file:${join(project.folder, "films.db")}`, timeout: 5_000 });
    await shop.executeMultiple(`
      pragma journal_mode = wal;
      create table films (
        id integer primary key, title text, description text, changed_at text not null default current_timestamp);
      create index films_changed_at on films (changed_at, id)`);
    await shop.execute({
      sql: `
        insert into films (id, title, description)
        select value ->> 'id', value ->> 'title', (value ->> 'description') || ' (' || (value ->> 'id') || ')'
        from json_each(?)`,
      args: [JSON.stringify(films())],
    });
  });
  afterEach(async () => {
    shop.close();
    await project.check().finally(() => project.close());
    await hook.goDown();
  });

  async function labels(where = "true"): Promise<readonly string[]> {
    const client = createClient({ url: `file:${join(project.folder, "labels.db")}` });
    const { rows } = await client.execute(`select summary from film_labels where summary is not null and ${where}`);
    client.close();
    return rows.map(({ summary }) => String(summary));
  }

  async function own(where = "true"): Promise<readonly string[]> {
    const { rows } = await shop.execute(`select summary from films where summary is not null and ${where}`);
    return rows.map(({ summary }) => String(summary));
  }

  it("init writes a config for a table of a file", async () => {
    await rm(join(project.folder, "rowmill.config.mjs"));
    const asks = ["--columns", "title", "--model", "gpt-4o-mini", "--prompt", "Sum up.", "--answer", "summary:string"];
    await shop.execute(`delete from films where id >= ${FEW}`);
    const listed = await project.run("init", "--from", "films.db");
    expect(listed.stderr).toMatch(/films: key id; columns id, title, description/);
    const { status, stdout } = await project.run(
      "init",
      "--from",
      "films.db",
      "--table",
      "films",
      ...asks,
      "--embedded",
    );
    expect({ status, stdout }).toMatchObject({
      status: 0,
      stdout: expect.stringContaining("npm install @libsql/client"),
    });
    const config = await readFile(join(project.folder, "rowmill.config.ts"), "utf8");
    expect(config).toContain('source: sqlite({ url: process.env["SOURCE_URL"], table: "films", key: "id"');
    expect(await readFile(join(project.folder, ".env"), "utf8")).toContain("SOURCE_URL=file:films.db\n");
    expect(await project.run("up", "--until-idle", "--yes")).toMatchObject({ status: 0 });
    const { rows } = await shop.execute("select count(*) as count from films_answers where summary is not null");
    expect(rows[0]?.["count"]).toBe(FEW);
  });

  it("are asked once each, and arrive in all places; a changed row's answer replaces its first", async () => {
    const { stdout: before } = await project.run("doctor");
    expect(before).toContain("changes are found by changed_at (a time), by an index");
    await expect(stat(join(project.folder, "labels.db"))).rejects.toThrow("ENOENT");
    expect(await project.run("up", "--until-idle", "--yes")).toMatchObject({ status: 0 });
    expect([(await labels()).length, (await own()).length, hook.held("hooked").size]).toEqual([FILMS, FILMS, FILMS]);
    expect((await project.gateway.journal.summary()).executed).toBe(3 * FILMS);

    const [first] = await labels("id = '7'");
    await shop.execute(
      "update films set description = 'Another story altogether.', changed_at = current_timestamp where id = 7",
    );
    await shop.execute("delete from films where id = 8");
    expect(await project.run("sync", "--full")).toMatchObject({ status: 0 });
    expect(await project.run("up", "--until-idle", "--yes")).toMatchObject({ status: 0 });
    const [second] = await labels("id = '7'");
    expect(second).not.toBe(first);
    expect(hook.held("hooked").get("7")).toEqual({ summary: second });
    expect(await own("id = 7")).toEqual([second]);
    expect((await project.gateway.journal.summary()).executed).toBe(3 * FILMS + 3);

    const { stdout } = await project.run("status");
    expect(stdout).toContain("beside: its source of 999 rows was last read at");
    expect(stdout).toContain("answers delivered to sqlite");
    const { stdout: after } = await project.run("doctor");
    expect(after).toContain("answers can be written into film_labels");
  });
});
