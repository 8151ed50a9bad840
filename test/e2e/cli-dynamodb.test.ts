/** Films of a DynamoDB table with answers in another PostgreSQL, and the other way round. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { connectionOptions } from "../../src/config/database/connection.js";
import { openDatabase, sql, type Database } from "../../src/postgres/database.js";
import { buildCli, runCli, serverKind, startCliProject, unlessServer, type CliProject } from "../support/cli.js";
import { createDatabase, type TestDatabase } from "../support/databases.js";
import { DYNALITE_ENV, startDynalite, type Dynalite } from "../support/dynalite.js";
import { films } from "../support/films.js";

beforeAll(buildCli, 150_000);

const FILMS = 1_000;

/** As a user writes it. */
const CONFIG = `import { defineConfig, dynamodb, pipeline, postgres, z } from "rowmill";

const { SHOP_URL, DYNAMODB_URL } = process.env;
const shared = {
  when: { rows: 1_000, maxWait: "0s" },
  polling: { min: "20ms", max: "100ms" },
  request: { model: "gpt-4o-mini", user: "Summarize {{ title }}: {{ description }}", maxOutputTokens: 100 },
  answer: z.object({ summary: z.string() }),
};

export default defineConfig({
  pipelines: {
    taken: pipeline({
      ...shared,
      source: dynamodb({
        endpoint: DYNAMODB_URL, table: "films", key: "id", columns: ["title", "description"], every: "1h",
      }),
      target: postgres({ url: SHOP_URL, table: "film_labels", key: "id" }),
    }),
    brought: pipeline({
      ...shared,
      source: postgres({ url: SHOP_URL, table: "films", key: "id", columns: ["title", "description"], every: "1h" }),
      target: dynamodb({ endpoint: DYNAMODB_URL, table: "film_labels", key: "id" }),
    }),
  },
});
`;

describe.skipIf(serverKind === "embedded")(`Films of DynamoDB${unlessServer}`, { timeout: 300_000 }, () => {
  let project: CliProject;
  let elsewhere: TestDatabase;
  let shop: Database;
  let dynamo: Dynalite;
  beforeEach(async () => {
    dynamo = await startDynalite();
    await dynamo.makeTable("films", "id:N");
    await dynamo.put("films", films().map(itemOf));
    elsewhere = await createDatabase(serverKind);
    const address = { kind: "server", url: elsewhere.url } as const;
    shop = openDatabase(connectionOptions(address, { tls: { mode: "disable", rootCertFile: null } }));
    await shop.run(sql`create table public.films (id bigint primary key, title text, description text)`);
    // Another prompt than for the film of the same number in DynamoDB.
    await shop.run(sql`
      insert into public.films
      select id, title, description || ' (' || id || ')'
      from json_to_recordset(${JSON.stringify(films())}::json) as x (id bigint, title text, description text)`);
    project = await startCliProject(serverKind, { run: runCli });
    const { AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED: _, ...env } = DYNALITE_ENV;
    Object.assign(project.env, env, { SHOP_URL: elsewhere.url, DYNAMODB_URL: dynamo.endpoint });
    await writeFile(join(project.folder, "rowmill.config.mjs"), CONFIG);
  });
  afterEach(async () => {
    await project.check().finally(() => project.close());
    await shop.close();
    await elsewhere.drop();
    await dynamo.close();
  });

  const asked = async () => (await project.gateway.journal.summary()).executed;
  const labelOf = async (id: string) => {
    const [row] = await shop.rows<{ summary: string }>(sql`select summary from public.film_labels where id = ${id}`);
    return row?.summary;
  };

  it("are asked once each, and answers go both ways; a changed item is asked again, a deleted one not", async () => {
    const first = await project.run("up", "--until-idle", "--yes");
    expect([first.status, first.stderr.includes("AWS SDK")]).toEqual([0, false]);
    expect(await shop.number(sql`select count(*)::float8 from public.film_labels where summary is not null`)).toBe(
      FILMS,
    );
    const items = await dynamo.items("film_labels");
    expect(items.filter(({ summary }) => (summary?.S ?? "") !== "")).toHaveLength(FILMS);
    expect(await asked()).toBe(2 * FILMS);

    const before = await labelOf("7");
    await dynamo.put("films", [{ ...itemOf(films()[7]!), description: { S: "Another story altogether." } }]);
    await dynamo.remove("films", [{ id: { N: "8" } }]);
    await shop.run(sql`update public.films set description = 'A third one.' where id = 9`);
    expect(await project.run("sync", "--full")).toMatchObject({ status: 0 });
    expect(await project.run("up", "--until-idle", "--yes")).toMatchObject({ status: 0 });
    expect(await labelOf("7")).not.toBe(before);
    expect(await asked()).toBe(2 * FILMS + 2);
    const ninth = (items_: typeof items) => items_.find(({ id }) => id?.S === "9")?.["summary"]?.S;
    expect(ninth(await dynamo.items("film_labels"))).not.toBe(ninth(items));

    const { stdout, stderr } = await project.run("doctor");
    expect(stdout).toContain('the DynamoDB table "films" can be read; its key is id (N)');
    expect(stdout).toContain('answers can be written into the DynamoDB table "film_labels"');
    const status = await project.run("status");
    expect(status.stdout).toContain("taken: its source of 999 rows was last read at");
    expect(status.stdout).toContain("answers delivered to dynamodb");
    const shown = JSON.stringify([stdout, stderr, status, await project.run("status", "--json")]);
    for (const name of ["AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID"] as const)
      expect(shown).not.toContain(DYNALITE_ENV[name]);
    expect(shown).not.toContain("AWS SDK");
  });
});

function itemOf({ id, title, description }: ReturnType<typeof films>[number]) {
  return { id: { N: String(id) }, title: { S: title }, description: { S: description } };
}
