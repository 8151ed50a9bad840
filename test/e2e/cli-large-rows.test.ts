/** Each worker and command of these tests is a process whose own peak of memory is measured. */
import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { raw, sql } from "../../src/postgres/database.js";
import {
  buildCli,
  serverKind,
  startCli,
  startCliProject,
  unlessServer,
  type CliProject,
  type Ended,
} from "../support/cli.js";

const PEAK_MB_MAX = 350;
/** Under the load of a whole run; 20 s alone. */
const LONG_MS = 240_000;
const NORMAL_ROWS = 50;
const reporter = join(import.meta.dirname, "../support/report-peak-memory.mjs");

/** Table → what makes it, its one huge row, and the body of its normal row number n. */
const tables = {
  texts: ["id text primary key, body text", "'huge', repeat('many words ', 900000000 / 11)", "'A short note ' || n"],
  pairs: [
    "id text, title text, body text, primary key (id, title)",
    "'huge', 'Title', (select body from texts where id = 'huge')",
    "'Title', 'A short note ' || n",
  ],
  documents: [
    "id text primary key, body jsonb",
    "'huge', jsonb_build_object('text', repeat('x', 250000000))",
    "to_jsonb('A short note ' || n)",
  ],
  lists: [
    "id text primary key, body text[]",
    "'huge', array_fill(repeat('item ', 200000), array[30])",
    "array['A short note ' || n]",
  ],
  // Stored in less than a kilobyte; 15 MB as text.
  numbers: [
    "id text primary key, body jsonb",
    "'huge', (select jsonb_agg('1e100000'::numeric) from generate_series(1, 150))",
    "to_jsonb('A short note ' || n)",
  ],
} as const;
const names = Object.keys(tables);

function pipelineText(table: string, prompt: string): string {
  const source =
    table === "pairs"
      ? `{ table: "pairs", key: ["id", "title"], columns: ["body", "copy"] }`
      : `{ table: "${table}", key: "id", columns: ["body"] }`;
  return `${table}: pipeline({ source: ${source},
    polling, request: { ...request, user: "${prompt} {{ body | slice: 0, 200 }}" },
    answer, target: { table: "${table}_labels" } })`;
}

async function fill({ database }: CliProject): Promise<void> {
  for (const [table, [columns, huge, body]] of Object.entries(tables)) {
    await database.run(raw(`create table ${table} (${columns})`));
    await database.run(raw(`insert into ${table} values (${huge})`));
    await database.run(raw(`insert into ${table} select n::text, ${body} from generate_series(1, ${NORMAL_ROWS}) n`));
  }
  await database.run(sql`alter table pairs add column copy text`);
  await database.run(sql`update pairs set copy = body`);
}

describe(`Rows that no batch can hold${unlessServer}`, { timeout: LONG_MS }, () => {
  let project: CliProject;

  async function measured(...args: string[]): Promise<Ended> {
    const file = join(project.folder, "peak");
    await rm(file, { force: true });
    const env = { ...project.env, PEAK_MEMORY_FILE: file, NODE_OPTIONS: `--import=${reporter}` };
    const running = startCli(args, { cwd: project.folder, env });
    const timer = setTimeout(() => running.child.kill("SIGKILL"), LONG_MS);
    const ended = await running.ended.finally(() => clearTimeout(timer));
    const peaks = (await readFile(file, "utf8")).trim().split("\n").map(Number.parseFloat);
    expect(peaks.length).toBeGreaterThan(0);
    for (const peak of peaks) expect(peak / 1024).toBeLessThan(PEAK_MB_MAX);
    return ended;
  }

  /** The huge rows' requests, by table. */
  async function huge(): Promise<Record<string, { state: string; attempt: number; error_code: string | null }>> {
    const rows = await project.database.rows<{
      name: string;
      state: string;
      attempt: number;
      error_code: string | null;
    }>(sql`
      select p.name, r.state, r.attempt, r.error_code
      from rowmill.requests r
      join rowmill.pipelines p on p.id = r.pipeline_id
      where r.key like '%huge%'`);
    return Object.fromEntries(rows.map(({ name, ...request }) => [name, request]));
  }

  const everyTable = <Value>(value: Value) => Object.fromEntries(names.map((name) => [name, value]));
  const unread = { state: "failed", attempt: 1, error_code: "tooLarge" };

  beforeAll(async () => {
    await buildCli();
    project = await startCliProject(serverKind);
    await fill(project);
    await project.writeConfig(names.map((name) => pipelineText(name, "Sum up:")).join(",\n"));
  }, LONG_MS);
  afterAll(() => project.close());

  it("fail unread, and the rows next to them are answered", async () => {
    const ended = await measured("up", "--until-idle", "--yes");
    expect(ended.status, ended.stderr).toBe(3);
    expect(ended.stderr).toMatch(/huge: tooLarge: The row's columns have 899,999,991 bytes; Rowmill reads/);
    for (const name of names) expect(ended.stderr).toContain(`${name}: ${NORMAL_ROWS} succeeded, 1 failed`);
    expect(await huge()).toEqual(everyTable(unread));
    await project.check();
  });

  it("count as unchanged in a sweep, which sends nothing again", async () => {
    const ended = await measured("sweep");
    expect(ended.status, ended.stderr).toBe(0);
    for (const name of names) expect(ended.stderr).toContain(`${name}: ${NORMAL_ROWS + 1} rows compared\n`);
    expect(await huge()).toEqual(everyTable(unread));
  });

  it("are shown only in part, like results of that length and kept answers", async () => {
    await project.database.run(sql`insert into texts_labels (id, categories, summary, rowmill_at, rowmill_model)
      select 'huge', '{}', body, now(), 'model' from texts where id = 'huge'`);
    await project.database.run(sql`update rowmill.attempts set answer = repeat('kept ', 20000000)
      where request_id = (select r.id
      from rowmill.requests r
      join rowmill.pipelines p on p.id = r.pipeline_id
      where r.key = 'huge' and p.name = 'texts')`);
    const shown = await measured("show", "texts", "huge", "--json");
    expect(shown.status, shown.stderr).toBe(0);
    const cut = expect.stringMatching(/^(many words ){9090}.{1,20} … \[899999991 bytes in all\]$/);
    expect(JSON.parse(shown.stdout)).toMatchObject({
      row: { cells: { body: cut } },
      attempts: [{ answer: expect.stringMatching(/^(kept ){20000} … \[100000000 bytes in all\]$/) }],
      result: { cells: { categories: [], summary: cut } },
    });
    const document = await measured("show", "documents", "huge");
    expect(document.stdout).toMatch(/body {2}\[\d+ bytes as stored: too long to show\]/);
  });

  it("stay failed when the question changes, and are asked once they are short", async () => {
    await project.database.run(sql`update texts set body = 'Short now.' where id = 'huge'`);
    await project.database.run(sql`update documents set body = '"Short now."' where id = 'huge'`);
    await project.writeConfig(names.map((name) => pipelineText(name, "Once more:")).join(",\n"));
    const ended = await measured("up", "--until-idle", "--yes");
    expect(ended.status, ended.stderr).toBe(3);
    const asked = { state: "succeeded", attempt: 2, error_code: null };
    expect(await huge()).toEqual({ ...everyTable(unread), texts: asked, documents: asked });
    await project.check();
  });
});
