/** What the doctor says of sources and targets elsewhere. */
import { randomBytes } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { connectionOptions } from "../../src/config/database/connection.js";
import { openDatabase, raw, type Database } from "../../src/postgres/database.js";
import { buildCli, serverKind, startCliProject, unlessServer, type CliProject } from "../support/cli.js";
import { createDatabase, type TestDatabase } from "../support/databases.js";

beforeAll(buildCli, 150_000);

const ROLE = `reader_${randomBytes(4).toString("hex")}`;
const PASSWORD = "a-password-that-no-one-may-see";

describe.skipIf(serverKind === "embedded")(`rowmill doctor${unlessServer}`, { timeout: 150_000 }, () => {
  let project: CliProject;
  let elsewhere: TestDatabase;
  let shop: Database;
  beforeEach(async () => {
    [project, elsewhere] = await Promise.all([startCliProject(serverKind), createDatabase(serverKind)]);
    const address = { kind: "server", url: elsewhere.url } as const;
    shop = openDatabase(connectionOptions(address, { tls: { mode: "disable", rootCertFile: null } }));
    await there(`create role ${ROLE} login password '${PASSWORD}'`);
    const limited = new URL(elsewhere.url);
    Object.assign(limited, { username: ROLE, password: PASSWORD });
    Object.assign(project.env, {
      SHOP_URL: elsewhere.url,
      READER_URL: limited.href,
      HOOK_SECRET: `whsec_${randomBytes(32).toString("base64")}`,
    });
  });
  afterEach(async () => {
    await project.close();
    await there(`drop owned by ${ROLE}; drop role ${ROLE}`);
    await shop.close();
    await elsewhere.drop();
  });

  const there = (text: string) => shop.transaction((tx) => tx.run(raw(`do $do$ begin ${text}; end $do$`)));
  const configure = (pipelines: string) =>
    writeFile(
      join(project.folder, "rowmill.config.mjs"),
      `import { defineConfig, defineSource, pipeline, postgres, webhook, z } from "rowmill";
      const { SHOP_URL, READER_URL, HOOK_SECRET } = process.env;
      const of = (source, target) => pipeline({
        source, target,
        request: { model: "gpt-4o-mini", user: "Summarize {{ title }}", maxOutputTokens: 100 },
        answer: z.object({ summary: z.string() }),
      });
      const films = (more) => postgres({ url: SHOP_URL, table: "films", key: "id", columns: ["title"], ...more });
      export default defineConfig({ pipelines: { ${pipelines} } });`,
    );
  /** The lines of the group, with those below them. */
  const elsewhereLines = async () => {
    const { stdout, stderr } = await project.run("doctor");
    for (const secret of [PASSWORD, elsewhere.url, project.env["HOOK_SECRET"] ?? "", "hook-token"])
      expect(stdout + stderr).not.toContain(secret);
    return /\nElsewhere\n(?<lines>.*?)\n\n/s.exec(stdout)?.groups?.["lines"] ?? "";
  };
  const place = () => `${new URL(elsewhere.url).host}${new URL(elsewhere.url).pathname}`;

  it("says that a source and a target work, how many rows there are, and what was not sent", async () => {
    await there(`create table public.films (id bigint primary key, title text, changed_at timestamptz not null)`);
    await there(`create index on public.films (changed_at, id)`);
    await there(`insert into public.films select n, 'Film ' || n, now() from generate_series(1, 5000) n`);
    await there(`analyze public.films`);
    await configure(`
      films: of(films({ cursor: "changed_at" }), postgres({ url: SHOP_URL, table: "labels", key: "id" })),
      hooked: of(films(), webhook({ url: "http://127.0.0.1:9/hook-token", secret: HOOK_SECRET, allowPrivate: true })),
      own: of(defineSource({ key: "id", columns: ["title"], rows: async function* () {} }), { name: "search", write() {} })`);
    const lines = await elsewhereLines();
    expect(lines).toContain(`Source: films: ${place()} is PostgreSQL`);
    expect(lines).toContain("its clock agrees with this machine's");
    expect(lines).toContain('Source: films: "public"."films" can be read: about 5,000 rows, so a reading of all takes');
    expect(lines).toContain('changes are found by "changed_at" (timestamp with time zone), by an index');
    expect(lines).toContain("Source: hooked: no cursor, so all rows of");
    expect(lines).toContain("own: custom has no `diagnose`");
    expect(lines).toContain('Target: films: rowmill up creates "public"."labels"');
    expect(lines).toContain("Target: hooked: http://127.0.0.1:9 is at the private address 127.0.0.1, which you allow");
    expect(lines).toContain("signed with 1 secret. Nothing was sent to it");
    expect(lines).toContain("is not encrypted");
    expect(lines).toContain("own: search has no `diagnose`");
    const json = JSON.parse((await project.run("doctor", "--json")).stdout) as {
      checks: { id: string; status: string; group: string }[];
    };
    expect(json.checks.filter(({ group }) => group === "Elsewhere")).toMatchObject([
      { id: "source-elsewhere", status: "ok" },
      { id: "target-elsewhere", status: "warning" },
    ]);
  });

  it("names each column without rights, a missing index, and a cursor that may be null, each with its fix", async () => {
    await there(`create table public.films (id bigint primary key, title text, changed_at timestamp, secret text)`);
    await there(`grant select (id, changed_at) on public.films to ${ROLE}`);
    await configure(`
      poor: of(films({ url: READER_URL, cursor: "changed_at" }), { name: "one", write() {} }),
      slow: of(films({ cursor: "changed_at" }), { name: "two", write() {} }),
      wrong: of(films({ cursor: "title" }), { name: "three", write() {} }),
      away: of(films({ table: "movies" }), { name: "four", write() {} })`);
    const lines = await elsewhereLines();
    expect(lines).toContain(`poor: the user "${ROLE}" may not read title of "public"."films".`);
    expect(lines).toContain(`grant select ("title") on "public"."films" to "${ROLE}";`);
    expect(lines).toContain('slow: no index of "public"."films" begins with the cursor "changed_at"');
    expect(lines).toContain('create index concurrently on "public"."films" ("changed_at", "id");');
    expect(lines).toContain('the cursor "changed_at" may be null');
    expect(lines).toContain("it must hold UTC");
    expect(lines).toContain("title is text");
    expect(lines).toContain("There is no table movies in this database");
  });

  it("says what keeps answers out of a target", async () => {
    await there(`create table public.films (id bigint primary key, title text)`);
    await there(`create table public.labels (id bigint, summary int, rowmill_fence_typed bigint)`);
    await configure(`
      keyless: of(films(), postgres({ url: SHOP_URL, table: "labels", key: "id" })),
      poor: of(films(), postgres({ url: READER_URL, table: "others" })),
      down: of(films(), postgres({ url: "postgres://u:${PASSWORD}@127.0.0.1:9/none", table: "labels" })),
      local: of(films(), webhook({ url: "https://localhost/hook-token", secret: HOOK_SECRET })),
      lost: of(films(), webhook({ url: "https://no-such-host.invalid/hook-token", secret: HOOK_SECRET })),
      unsigned: of(films(), webhook({ url: "https://localhost/hook-token", secret: "hook-token" }))`);
    const lines = await elsewhereLines();
    expect(lines).toMatch(/keyless: labels: .*unique/);
    expect(lines).toContain('has no column "rowmill_fence_keyless"');
    expect(lines).toContain(`poor: others: the user "${ROLE}" may not create "public"."others".`);
    expect(lines).toContain("down: 127.0.0.1:9/none:");
    expect(lines).toMatch(
      /local: https:\/\/localhost is at the private address (127\.0\.0\.1|::1), so Rowmill sends nothing/,
    );
    expect(lines).toContain("allowPrivate: true");
    expect(lines).toContain("lost: the name in https://no-such-host.invalid has no address");
    expect(lines).toContain("unsigned: webhook(): `secret` must be whsec_");
  });
});
