import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readdir, readFile, realpath, rename, rm, symlink, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, inject, it } from "vitest";
import { raw, type Database } from "../../src/postgres/database.js";
import { stopEmbedded } from "../../src/embedded/embedded.js";
import { buildCli, runCommand, serverKind, type Ended } from "../support/cli.js";
import { embeddedDataDir } from "../support/embedded-template.js";
import { createDatabase, type TestDatabase } from "../support/databases.js";
import { openUsersDatabase } from "../support/users-database.js";

const repository = resolve(import.meta.dirname, "../..");
const tables = `
  create table imdb_dataset (imdb_id bigint primary key, "Title" text, "Description" text);
  create view recent as select * from imdb_dataset;
  create table keyless (body text);
  create schema shop;
  create table shop."Order Lines" (day date, region text, "Line Text" text, note jsonb, primary key (day, region));
`;
const movies = [
  ..."--table imdb_dataset --key imdb_id --columns Title,Description --model gpt-4o-mini --name movies".split(" "),
  ..."--answer categories:string[],summary:string,rating:good|bad?,year:integer --target movie_labels".split(" "),
  "--prompt",
  'Extract the "categories" of the movie.',
];

beforeAll(buildCli, 150_000);

describe("rowmill init", { timeout: 120_000 }, () => {
  let server: TestDatabase;
  let database: Database;
  let folder: string;
  beforeAll(async () => {
    server = await createDatabase(serverKind);
    database = openUsersDatabase({ connectionString: server.url });
    await database.run(raw(tables));
  });
  afterAll(async () => {
    await database.close();
    await server.drop();
  });
  beforeEach(async () => {
    folder = await realpath(await mkdtemp(join(inject("runFolder"), "cli-init-")));
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  const init = (args: readonly string[], url = server.url): Promise<Ended> =>
    runCommand(["init", ...args], { cwd: folder, env: { DATABASE_URL: url, PGSSLMODE: "disable" } });
  const place = () => `${new URL(server.url).host}${new URL(server.url).pathname}`;
  const written = (name: string) => readFile(join(folder, name), "utf8");

  it("writes a config from its options, and shows what to type next", async () => {
    expect(await init(movies)).toEqual({
      status: 0,
      stderr: "",
      stdout: `Wrote rowmill.config.ts.
Wrote tsconfig.json, so that your editor understands it.
Next:
  1. Add your API key to .env: OPENAI_API_KEY=sk-…
  2. Check your setup: rowmill doctor
  3. Try your prompt on five rows: rowmill try
  4. Start (shows the cost and asks first): rowmill up
`,
    });
    expect(await written("rowmill.config.ts")).toBe(`import { defineConfig, pipeline, z } from "rowmill";

const movies = pipeline({
  source: { table: "imdb_dataset", key: "imdb_id", columns: ["Title", "Description"] },
  // Start a batch after this many rows, or after this long, whichever comes first.
  when: { rows: 1000, maxWait: "10m" },
  request: {
    model: "gpt-4o-mini",
    system: "Extract the \\"categories\\" of the movie.",
    user: "Title: {{ Title }}\\nDescription: {{ Description }}",
  },
  answer: z.object({
    categories: z.array(z.string()),
    summary: z.string(),
    rating: z.enum(["good", "bad"]).nullable(),
    year: z.int(),
  }),
  // Rowmill creates this table with a column for each field of the answer, and adds columns for new fields.
  target: { table: "movie_labels", addColumns: true },
});

// Connects to DATABASE_URL, from the environment or from .env next to this file.
export default defineConfig({ pipelines: { movies } });
`);
    expect((await readdir(folder)).toSorted()).toEqual(["rowmill.config.ts", "tsconfig.json"]);
  });

  it("takes names as PostgreSQL has them, and finds a composite key", async () => {
    await mkdir(join(folder, ".git"));
    await writeFile(join(folder, ".gitignore"), "/.env");
    const args = ["--table", "shop.Order Lines", "--columns", "Line Text,note", "--model", "gpt-4o-mini"];
    const ended = await init([...args, "--prompt", "Summarise.", "--answer", "text", "--function"]);
    expect(ended).toMatchObject({ status: 0, stderr: "" });
    expect(ended.stdout).toContain("Added .rowmill to .gitignore, to keep secrets and state out of git.\n");
    expect(await written(".gitignore")).toBe("/.env\n.rowmill\n");
    const config = await written("rowmill.config.ts");
    expect(config).toContain('{ table: "shop.Order Lines", key: ["day", "region"], columns: ["Line Text", "note"] }');
    expect(config).toContain('user: (row) => `Line Text: ${row["Line Text"] ?? ""}\\nnote: ${row.note ?? ""}`,');
    expect(config).toContain('target: { table: "shop.order_lines_answers", addColumns: true }');
  });

  it("leaves no error in an editor, under two compilers, and in a CommonJS project", async () => {
    await mkdir(join(folder, "node_modules"));
    await symlink(repository, join(folder, "node_modules/rowmill"), "dir");
    expect((await init([...movies, "--function"])).status).toBe(0);
    await typeCheck(folder);
    await writeFile(
      join(folder, "tsconfig.json"),
      JSON.stringify({
        compilerOptions: { module: "node16", strict: true, noEmit: true, skipLibCheck: true, types: [] },
      }),
    );
    await rm(join(folder, "rowmill.config.ts"));
    expect(await init(movies)).toMatchObject({
      stderr: "",
      stdout: expect.stringMatching(/^Wrote rowmill\.config\.mts\.\nNext:/),
    });
    await typeCheck(folder, ["typescript-5.9"]);
    await rm(join(folder, "tsconfig.json"));
    expect((await init([...movies, "--force"])).stdout).toMatch(/^Wrote rowmill\.config\.mts\.\nWrote tsconfig\.json,/);
    await typeCheck(folder, ["typescript"]);
  });

  it("creates the tables of an embedded database from a file of SQL", async () => {
    await writeFile(
      join(folder, "tables.sql"),
      `create table imdb_dataset (imdb_id int primary key, "Title" text, "Description" text);
insert into imdb_dataset values (1, 'A', 'B');`,
    );
    await mkdir(join(folder, ".rowmill"), { mode: 0o700 });
    await rename(await embeddedDataDir(), join(folder, ".rowmill/database"));
    const empty = await init(["--embedded"], "");
    expect(empty).toMatchObject({ status: 2, stdout: "" });
    expect(empty.stderr).toContain("rowmill init --embedded --sql FILE");
    const ended = await init([...movies, "--embedded", "--sql", "tables.sql"], "");
    expect(ended).toMatchObject({ status: 0, stderr: "" });
    expect(await written("rowmill.config.ts")).toContain(
      'defineConfig({ database: "embedded", pipelines: { movies } })',
    );
    const again = await init([...movies, "--embedded", "--sql", "tables.sql", "--force"], "");
    expect(again.stderr).toBe(`rowmill: --sql: tables.sql: The database refused: relation "imdb_dataset" already exists.
  Hint: If the file ran before, its tables exist: leave out --sql.
  Hint: Nothing of the file was kept. Use plain SQL: psql commands (\\copy) and COPY FROM STDIN do not work here.
`);
    await stopEmbedded({ dataDir: join(folder, ".rowmill/database") });
  });

  it("overwrites a config only with --force", async () => {
    await writeFile(join(folder, "rowmill.config.ts"), "// mine");
    expect(await init(movies)).toEqual({
      status: 4,
      stdout: "",
      stderr: `rowmill: rowmill.config.ts already exists, so nothing was written.
  Hint: To overwrite it: add --force
`,
    });
    expect(await written("rowmill.config.ts")).toBe("// mine");
    expect((await init([...movies, "--force"])).status).toBe(0);
    expect(await written("rowmill.config.ts")).toContain("const movies = pipeline(");
    await rm(join(folder, "rowmill.config.ts"));
    await writeFile(join(folder, "rowmill.config.json"), "{}");
    expect(await init([...movies, "--force"])).toEqual({
      status: 4,
      stdout: "",
      stderr: `rowmill: rowmill.config.json already exists, and this command writes TypeScript.
  Hint: Keep using it, or remove it and run this command again. Nothing was written.
`,
    });
  });

  const without = (...names: string[]) =>
    movies.filter((word, index) => !names.includes(word) && !names.includes(movies[index - 1] ?? ""));
  const withOption = (name: string, value: string) => [...without(name), name, value];

  it.each<{ title: string; args: readonly string[]; url?: () => string; status: number; says: () => string }>([
    {
      title: "no database and no terminal",
      args: movies,
      url: () => "",
      status: 2,
      says: () => `DATABASE_URL is not set, and there is no terminal to ask for it.
  Hint: Add it to .env in this folder: DATABASE_URL=postgres://user:password@host:5432/database
  Hint: To try without a server: rowmill init --embedded`,
    },
    {
      title: "a DATABASE_URL of another database",
      args: movies,
      url: () => "mysql://root:a-long-password@127.0.0.1/shop",
      status: 2,
      says: () => `the database: one mistake
  DATABASE_URL: found a URL that begins with mysql://, expected a URL such as "postgres://user@host:5432/database", or "embedded"`,
    },
    {
      title: "missing options and no terminal",
      args: without("--columns", "--prompt"),
      status: 2,
      says: () => `There is no terminal to ask on. Missing options: --columns, --prompt.
  Found in ${place()}:
    imdb_dataset: key imdb_id; columns imdb_id, Title, Description
  Hint: For example: rowmill init --table films --columns title,description --model gpt-4o-mini --prompt "Summarize the film." --answer categories:string[],summary:string`,
    },
    {
      title: "no option at all",
      args: [],
      status: 2,
      says: () => `There is no terminal to ask on. Missing options: --table, --columns, --model, --prompt, --answer.
  Found in ${place()}:
    imdb_dataset: key imdb_id; columns imdb_id, Title, Description
    keyless cannot be watched: no primary key and no unique index, so nothing identifies a row
    recent cannot be watched: a view: triggers cannot see which of its rows changed
    shop.Order Lines: key day, region; columns day, region, Line Text, note
  Hint: For example: rowmill init --table films --columns title,description --model gpt-4o-mini --prompt "Summarize the film." --answer categories:string[],summary:string`,
    },
    {
      title: "an invalid pipeline name",
      args: withOption("--name", "My films"),
      status: 2,
      says: () =>
        `--name: expected a lower-case letter, then at most 39 lower-case letters, digits, _ or -, found "My films".`,
    },
    {
      title: "a view, by its schema's name too",
      args: withOption("--table", "public.recent"),
      status: 2,
      says: () => `recent cannot be watched: a view: triggers cannot see which of its rows changed`,
    },
    {
      title: "a misspelled table",
      args: withOption("--table", "imdb_datset"),
      status: 2,
      says: () => `There is no table imdb_datset in this database; did you mean "imdb_dataset"?
  Hint: Names are case-sensitive. Write a schema in front of the name, with a dot: other_schema.table`,
    },
    {
      title: "a view",
      args: withOption("--table", "recent"),
      status: 2,
      says: () => `recent cannot be watched: a view: triggers cannot see which of its rows changed`,
    },
    {
      title: "a table without a key",
      args: [...without("--table", "--key"), "--table", "keyless"],
      status: 2,
      says: () => `keyless cannot be watched: no primary key and no unique index, so nothing identifies a row
  Hint: Add one: alter table keyless add column id bigint generated always as identity primary key;`,
    },
    {
      title: "a misspelled column",
      args: withOption("--columns", "Titel"),
      status: 2,
      says: () => `source.columns: imdb_dataset has no column "Titel"; did you mean "Title"?`,
    },
    {
      title: "a part of a key",
      args: [
        ...without("--table", "--key", "--columns"),
        ..."--table|shop.Order Lines|--key|day|--columns|note".split("|"),
      ],
      status: 2,
      says: () => `source.key: shop.Order Lines has no unique index on ("day"), so two rows could have the same key.
  Hint: create unique index concurrently on "shop"."Order Lines" ("day");
  Hint: or: alter table "shop"."Order Lines" add primary key ("day");`,
    },
    {
      title: "a template with a column that is not declared",
      args: withOption("--prompt", "Summarise {{ Plot }}"),
      status: 2,
      says: () => `${join(folder, "rowmill.config.ts")}: one mistake
  pipelines.movies.request.user: the template names "Plot", which is not a declared column; the columns are: "Title", "Description"`,
    },
  ])("refuses $title, and writes nothing", async ({ args, url, status, says }) => {
    const ended = await init(args, url?.() ?? server.url);
    expect(ended).toEqual({ status, stdout: "", stderr: `rowmill: ${says()}\n` });
    expect(await readdir(folder)).toEqual([]);
  });
});

async function typeCheck(folder: string, compilers = ["typescript", "typescript-5.9"]): Promise<void> {
  for (const compiler of compilers) {
    const tsc = join(repository, "node_modules", compiler, "bin/tsc");
    await promisify(execFile)(process.execPath, [tsc, "-p", folder]);
  }
}
