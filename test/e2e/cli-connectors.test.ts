/** Films in a table of another PostgreSQL, answered by Rowmill's embedded database, and delivered to two places. */
import { randomBytes } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { connectionOptions } from "../../src/config/database/connection.js";
import { openDatabase, sql, type Database } from "../../src/postgres/database.js";
import { buildCli, serverKind, startCliProject, unlessServer, type CliProject } from "../support/cli.js";
import { createDatabase, type TestDatabase } from "../support/databases.js";
import { films } from "../support/films.js";
import { startReceiver, type HookReceiver } from "../support/hook-receiver.js";

beforeAll(buildCli, 150_000);

const FILMS = 1_000;

/** As a user writes it. */
const CONFIG = `import { defineConfig, pipeline, postgres, webhook, z } from "rowmill";

const { SHOP_URL, HOOK_URL, HOOK_SECRET } = process.env;
const source = postgres({
  url: SHOP_URL, table: "films", key: "id", columns: ["title", "description"], cursor: "changed_at", every: "1h",
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
    back: labelled(postgres({ url: SHOP_URL, table: "film_labels", key: "id" })),
    hooked: labelled(webhook({ url: HOOK_URL, secret: HOOK_SECRET, allowPrivate: true })),
  },
});
`;

describe.skipIf(serverKind === "embedded")(`Rows and answers elsewhere${unlessServer}`, { timeout: 300_000 }, () => {
  let project: CliProject;
  let elsewhere: TestDatabase;
  let shop: Database;
  let hook: HookReceiver;
  beforeEach(async () => {
    const secret = `whsec_${randomBytes(32).toString("base64")}`;
    hook = await startReceiver(secret);
    elsewhere = await createDatabase(serverKind);
    const address = { kind: "server", url: elsewhere.url } as const;
    shop = openDatabase(connectionOptions(address, { tls: { mode: "disable", rootCertFile: null } }));
    await shop.run(sql`
      create table public.films (
        id bigint primary key, title text, description text, changed_at timestamptz not null default now())`);
    await shop.run(sql`
      insert into public.films
      select id, title, description || ' (' || id || ')'
      from json_to_recordset(${JSON.stringify(films())}::json) as x (id bigint, title text, description text)`);
    project = await startCliProject(serverKind);
    Object.assign(project.env, { SHOP_URL: elsewhere.url, HOOK_URL: hook.url, HOOK_SECRET: secret });
    await writeFile(join(project.folder, "rowmill.config.mjs"), CONFIG);
  });
  afterEach(async () => {
    await project.check().finally(() => project.close());
    await hook.goDown();
    await shop.close();
    await elsewhere.drop();
  });

  const labels = () => shop.number(sql`select count(*)::float8 from public.film_labels where summary is not null`);

  it("are asked once each, and every answer arrives in both places; a changed row's answer replaces its first", async () => {
    expect(await project.run("up", "--until-idle", "--yes")).toMatchObject({ status: 0 });
    expect(await labels()).toBe(FILMS);
    expect(hook.held("hooked").size).toBe(FILMS);
    expect((await project.gateway.journal.summary()).executed).toBe(2 * FILMS);

    const [before] = await shop.rows<{ summary: string }>(sql`select summary from public.film_labels where id = '7'`);
    await shop.run(sql`
      update public.films set description = 'Another story altogether.', changed_at = now() where id = 7`);
    await shop.run(sql`delete from public.films where id = 8`);
    expect(await project.run("sync", "--full")).toMatchObject({ status: 0 });
    expect(await project.run("up", "--until-idle", "--yes")).toMatchObject({ status: 0 });
    const [after] = await shop.rows<{ summary: string }>(sql`select summary from public.film_labels where id = '7'`);
    expect(after?.summary).not.toBe(before?.summary);
    expect(hook.held("hooked").get("7")).toEqual({ summary: after?.summary });
    expect((await project.gateway.journal.summary()).executed).toBe(2 * FILMS + 2);

    const { stdout } = await project.run("status");
    expect(stdout).toContain("back: its source of 999 rows was last read at");
    expect(stdout).toContain("answers delivered to postgres");
    const shown = JSON.stringify([await project.run("status", "--json"), await project.run("doctor")]);
    for (const secret of [project.env["HOOK_SECRET"], elsewhere.url]) expect(shown).not.toContain(secret);
  });
});
