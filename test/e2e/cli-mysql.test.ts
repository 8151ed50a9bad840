/** Films in a table of MariaDB, answered by Rowmill's embedded database, and delivered to another table of MariaDB. */
import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeAll, beforeEach, expect, it } from "vitest";
import { buildCli, startCliProject, type CliProject } from "../support/cli.js";
import { films } from "../support/films.js";
import { describeMariaDb } from "../support/describe-mariadb.js";
import { sharedMariaDb, type MariaDatabase } from "../support/mariadb.js";

beforeAll(buildCli, 150_000);

const FILMS = 1_000;
const FEW = 20;

/** As a user writes it. */
const CONFIG = `import { defineConfig, mysql, pipeline, z } from "rowmill";

const { SHOP_URL } = process.env;

export default defineConfig({
  pipelines: {
    films: pipeline({
      source: mysql({
        url: SHOP_URL, table: "films", key: "id", columns: ["title", "description"], cursor: "changed_at", every: "1h",
      }),
      when: { rows: 1_000, maxWait: "0s" },
      polling: { min: "20ms", max: "100ms" },
      request: { model: "gpt-4o-mini", user: "Summarize {{ title }}: {{ description }}", maxOutputTokens: 100 },
      answer: z.object({ summary: z.string() }),
      target: mysql({ url: SHOP_URL, table: "film_labels", key: "id" }),
    }),
  },
});
`;

describeMariaDb(() => {
  let project: CliProject;
  let shop: MariaDatabase;
  beforeEach(async () => {
    shop = await (await sharedMariaDb()).createDatabase();
    await shop.run(`
      create table films (
        id bigint primary key, title text, description text,
        changed_at timestamp(6) not null default now(6) on update now(6), index (changed_at, id))`);
    await shop.run("insert into films (id, title, description) values ?", [
      films().map(({ id, title, description }) => [id, title, `${description} (${id})`]),
    ]);
    project = await startCliProject("embedded");
    Object.assign(project.env, { SHOP_URL: shop.url });
    await writeFile(join(project.folder, "rowmill.config.mjs"), CONFIG);
  }, 120_000);
  afterEach(async () => {
    await project.check().finally(() => project.close());
    await shop.drop();
  });

  it("init writes a config that reads a table there and delivers into another, without a secret in it", async () => {
    const folder = project.folder;
    await rm(join(folder, "rowmill.config.mjs"));
    const told = [
      "--columns",
      "title",
      "--model",
      "gpt-4o-mini",
      "--prompt",
      "Summarize it.",
      "--answer",
      "summary:string",
    ];
    await shop.run(`delete from films where id >= ${FEW}`);
    const listed = await project.run("init", "--from", shop.url, "--embedded");
    expect(listed.stderr).toMatch(/films: key id; columns id, title, description/);
    expect(await project.run("init", "--from", shop.url, "--table", "film", ...told)).toMatchObject({ status: 2 });
    const { status, stdout } = await project.run("init", "--from", shop.url, "--table", "films", ...told, "--embedded");
    expect({ status, stdout }).toMatchObject({ status: 0, stdout: expect.stringContaining("npm install mysql2") });
    const config = await readFile(join(folder, "rowmill.config.ts"), "utf8");
    for (const line of ['url: process.env["SOURCE_URL"],', 'table: "films",', 'key: "id",', 'cursor: "changed_at",'])
      expect(config).toContain(`    ${line}\n`);
    expect(config).toContain('target: mysql({ url: process.env["SOURCE_URL"], table: "films_answers"');
    expect(config + stdout + listed.stderr).not.toContain("pass-word");
    expect(await readFile(join(folder, ".env"), "utf8")).toContain(`SOURCE_URL=${shop.url}\n`);
    expect(await project.run("up", "--until-idle", "--yes")).toMatchObject({ status: 0 });
    expect(await shop.rows("select 1 from films_answers where summary is not null")).toHaveLength(FEW);
  });

  const summaryOf = async (id: string) =>
    (await shop.rows<{ summary: string }>("select summary from film_labels where id = ?", [id]))[0]?.summary;

  it(
    "films are asked once each, and their answers arrive there; a changed row's answer replaces its first",
    { timeout: 300_000 },
    async () => {
      const { stdout: before } = await project.run("doctor");
      expect(before).toMatch(/is MariaDB 10\.[^]*can be read: (?:about|at least)[^]*rowmill up creates/);
      expect(await project.run("up", "--until-idle", "--yes")).toMatchObject({ status: 0 });
      expect(await shop.rows("select 1 from film_labels where summary is not null")).toHaveLength(FILMS);
      expect((await project.gateway.journal.summary()).executed).toBe(FILMS);

      const first = await summaryOf("7");
      await shop.run("update films set description = 'Another story altogether.' where id = 7");
      await shop.run("delete from films where id = 8");
      expect(await project.run("sync", "--full")).toMatchObject({ status: 0 });
      expect(await project.run("up", "--until-idle", "--yes")).toMatchObject({ status: 0 });
      expect(await summaryOf("7")).not.toBe(first);
      expect((await project.gateway.journal.summary()).executed).toBe(FILMS + 1);

      const { stdout } = await project.run("status");
      expect(stdout).toContain("films: its source of 999 rows was last read at");
      expect(stdout).toContain("answers delivered to mysql");
      const shown = JSON.stringify([await project.run("status", "--json"), await project.run("doctor")]);
      expect(shown).not.toContain("pass-word");
    },
  );
});
