/**
 * Tables that are not as the tutorial's: keys with nulls, inheritance, very many columns, writes that no trigger saw.
 */
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { raw, sql } from "../../src/postgres/database.js";
import { pipelineOverviews, type PipelineOverview } from "../../src/store/ledger/overview.js";
import { buildCli, serverKind, startCliProject, unlessServer, until, type CliProject } from "../support/cli.js";

const LONG_MS = 120_000;

/** A pipeline over `body` of a table, whose answers go into `<name>_labels`. */
function labels(name: string, key: string, more = ""): string {
  return `${name}: pipeline({ source: { table: "${name}", key: ${key}, columns: ["body"] ${more} }, polling, answer,
    request: { ...request, user: "{{ body }}" }, target: { table: "${name}_labels" } })`;
}

describe(`Unusual tables${unlessServer}`, { timeout: LONG_MS }, () => {
  let project: CliProject;

  beforeAll(buildCli, LONG_MS);
  beforeEach(async () => {
    project = await startCliProject(serverKind);
  });
  afterEach(() => project.close());

  async function run(text: string): Promise<void> {
    await project.database.run(raw(text));
  }

  async function answered(pipeline: string): Promise<string[]> {
    const rows = await project.database.rows<{ key: string }>(sql`
      select r.key from rowmill.requests r join rowmill.pipelines p on p.id = r.pipeline_id
      where p.name = ${pipeline} and r.state = 'succeeded' order by r.key`);
    return rows.map((row) => row.key);
  }

  /** By pipeline, as `status --json` has it. */
  async function unnamed(): Promise<Record<string, PipelineOverview["unnamed"]>> {
    const pipelines = await pipelineOverviews(project.database);
    return Object.fromEntries(pipelines.map((pipeline) => [pipeline.name, pipeline.unnamed]));
  }

  /** Twice as long as usual: such a sweep rests for twenty times the duration of the last one. */
  async function untilSwept(what: string, isSo: () => Promise<boolean>): Promise<void> {
    await until(what, isSo).catch(() => until(what, isSo));
  }

  it("have rows without a whole key, which are counted, named with what to do, and asked once it is whole", async () => {
    await run("create table places (lang text, id int, body text, unique (lang, id))");
    await run("insert into places values ('en', 1, 'one'), (null, 2, 'two'), ('en', null, 'three')");
    await run("create table notes (code text unique, body text)");
    await run("insert into notes values ('a', 'one'), (null, 'two'), ('', 'three'), (repeat('x', 1100), 'four')");
    await run("create table old_notes (code text unique, body text)");
    await run("insert into old_notes values (null, 'there before')");
    const pipelines = [
      labels("places", `["lang", "id"]`),
      labels("notes", `"code"`),
      labels("old_notes", `"code"`, `, existing: "skip"`),
      labels("old_notes", `"code"`, `, where: "code is not null"`)
        .replace("old_notes:", "chosen:")
        .replace("old_notes_labels", "chosen_labels"),
    ];
    await project.writeConfig(pipelines.join(",\n"));
    const first = await project.run("up", "--until-idle", "--yes");
    expect(first.status, first.stderr).toBe(3);
    expect(first.stderr).toContain("places: 1 succeeded, 2 failed");
    expect(first.stderr).toMatch(/2 rows cannot be sent because of the key.*null/);
    expect(await answered("places")).toEqual([`["en", "1"]`]);
    const places = `select * from only "public"."places" where "lang" is null or "id" is null`;
    const { pipelines: shown } = await project.status();
    expect(Object.fromEntries(shown.map((pipeline) => [pipeline.name, pipeline.unnamed]))).toEqual({
      places: [{ rows: 2, example: expect.any(String), reason: expect.stringContaining(places) }],
      notes: [
        { rows: 1, example: "", reason: expect.stringContaining("empty") },
        { rows: 1, example: expect.any(String), reason: expect.stringContaining(`"code" is null`) },
        { rows: 1, example: "x".repeat(100), reason: expect.stringContaining("1024 bytes") },
      ],
      old_notes: [],
      chosen: [],
    });
    const status = await project.run("status");
    expect(status.stdout.replaceAll(/\s+/g, " ")).toContain(
      "places: 2 failed rows cannot be sent because of the key, such as [",
    );

    await run("update places set lang = 'de' where id = 2");
    await run("update notes set code = 'b' where code is null");
    const second = await project.run("up", "--until-idle", "--yes");
    expect(second.status, second.stderr).toBe(3);
    expect(await answered("places")).toEqual([`["de", "2"]`, `["en", "1"]`]);
    expect(await unnamed()).toMatchObject({ places: [{ rows: 1 }], notes: [{ example: "" }, { rows: 1 }] });

    const up = project.start("up", "--yes");
    await up.says("Working.");
    await run("update places set id = 3 where id is null");
    await run("insert into notes values (null, 'five'), (null, 'six')");
    await untilSwept("the counts follow the triggers", async () => {
      const now = await unnamed();
      return now["places"]?.length === 0 && now["notes"]?.some(({ rows }) => rows === 2) === true;
    });
    await run("delete from notes where code is null or code = '' or length(code) > 1024");
    await untilSwept("no row is left without a key", async () => (await unnamed())["notes"]?.length === 0);
    up.child.kill("SIGTERM");
    expect((await up.ended).status).toBe(143);
    expect((await project.run("up", "--until-idle", "--yes")).status).toBe(0);
    await project.check();
  });

  it("may have children, whose rows are no rows of theirs, and partitions, whose rows are", async () => {
    await run("create table animals (id int primary key, body text)");
    await run("create table cats (primary key (id)) inherits (animals)");
    await run("create table lions (primary key (id)) inherits (cats)");
    await run("insert into animals values (1, 'an animal'), (2, 'another')");
    await run("insert into cats values (1, 'a cat'), (3, 'another cat')");
    await run("insert into lions values (1, 'a lion'), (4, 'another lion')");
    await run("create table parts (id int primary key, body text) partition by range (id)");
    await run("create table parts_low partition of parts for values from (0) to (10)");
    await run("insert into parts values (1, 'one')");
    await run("create table kin (id int primary key, body text, kin_summary text, kin_categories text[])");
    await run("create table kin_child () inherits (kin)");
    await run("insert into kin values (1, 'of the parent')");
    await run("insert into kin_child values (1, 'of the child')");
    const own = labels("kin", `"id"`).replace(
      `target: { table: "kin_labels" }`,
      `target: { table: "kin", columns: { summary: "kin_summary", categories: "kin_categories" } }`,
    );
    const pipelines = [labels("animals", `"id"`), labels("cats", `"id"`), labels("parts", `"id"`), own];
    await project.writeConfig(pipelines.join(",\n"));
    const ended = await project.run("up", "--until-idle", "--yes");
    expect(ended.status, ended.stderr).toBe(0);
    expect(await answered("animals")).toEqual(["1", "2"]);
    expect(await answered("cats")).toEqual(["1", "3"]);
    expect(await answered("parts")).toEqual(["1"]);
    const written = await project.database.rows(
      sql`select body, kin_summary is not null as written from kin order by body desc`,
    );
    expect(written).toEqual([
      { body: "of the parent", written: true },
      { body: "of the child", written: false },
    ]);
    // What is written through the parent to its children is no news of the parent's rows.
    await run("update animals set body = body || ', again' where id = 1");
    await run("insert into parts values (2, 'two')");
    expect((await project.run("up", "--until-idle", "--yes")).status).toBe(0);
    expect(await answered("parts")).toEqual(["1", "2"]);
    const doctor = await project.run("doctor");
    expect(doctor.stdout).toContain(
      'animals: Rowmill does not read the rows of public.cats, which inherit from "public"."animals".',
    );
    expect(doctor.stdout).toContain(
      'cats: rows written to "public"."cats" through public.animals wait for the next sweep',
    );
    const attempts = await project.database.rows(sql`
      select p.name, count(*)::int as attempts from rowmill.attempts a join rowmill.requests r on r.id = a.request_id
        join rowmill.pipelines p on p.id = r.pipeline_id group by 1 order by 1`);
    expect(attempts).toEqual([
      { name: "animals", attempts: 3 },
      { name: "cats", attempts: 3 },
      { name: "kin", attempts: 1 },
      { name: "parts", attempts: 2 },
    ]);
    await project.check();
  });

  it("may have as many columns as PostgreSQL allows, and an answer of many fields", async () => {
    const counts = { wide101: 101, wide300: 300, wide1590: 1590 };
    const nameOf = (index: number) =>
      index === 1 ? `odd "name", 'it''s ü` : `c${String(index).padStart(4, "0")}_${"long".repeat(14)}`.slice(0, 63);
    const names = (count: number) => Array.from({ length: count }, (_, index) => nameOf(index).replace("''", "'"));
    const quoted = (name: string) => `"${name.replaceAll('"', '""')}"`;
    for (const [table, count] of Object.entries(counts)) {
      const columns = names(count).map((name) => `${quoted(name)} text`);
      await run(`create table ${table} (id int primary key, ${columns.join(", ")})`);
      await run(`insert into ${table} (id, ${quoted(nameOf(0))}) values (1, 'first')`);
    }
    const fields = Array.from({ length: 150 }, (_, index) => `f${index}: z.string()`).join(", ");
    const pipelines = Object.entries(counts).map(
      ([table, count]) => `${table}: pipeline({
        source: { table: "${table}", key: "id", columns: ${JSON.stringify(names(count))} }, polling,
        request: { ...request, maxOutputTokens: 8000, user: (row) => row[${JSON.stringify(nameOf(0))}] },
        answer: ${table === "wide101" ? `z.object({ ${fields}, more: z.object({ a: z.string() }) })` : "answer"},
        target: { table: "${table}_labels" } })`,
    );
    await project.writeConfig(pipelines.join(",\n"));
    const up = project.start("up", "--yes");
    await up.says("Working.");
    for (const [table, count] of Object.entries(counts)) {
      const last = quoted(nameOf(count - 1));
      await run(`insert into ${table} (id, ${quoted(nameOf(0))}, ${last}) values (2, 'second', 'last')`);
      await run(`update ${table} set ${last} = 'changed' where id = 1`);
      await run(`update ${table} set id = 3 where id = 2`);
    }
    const arrivals = sql`select count(*)::int as sweeps from rowmill.arrivals where keys is null`;
    expect(await project.database.first(arrivals)).toEqual({ sweeps: 0 });
    up.child.kill("SIGTERM");
    await up.ended;
    const ended = await project.run("up", "--until-idle", "--yes");
    expect(ended.status, ended.stderr).toBe(0);
    expect(ended.stderr).not.toContain("failed for");
    for (const table of Object.keys(counts)) expect(await answered(table)).toContain("1");
    const shown = await project.run("show", "wide101", "1", "--json");
    expect(shown.status, shown.stderr).toBe(0);
    const story: { result: { cells: object } } = JSON.parse(shown.stdout);
    expect(Object.keys(story.result.cells)).toHaveLength(150 + 1 + 3);
    const doctor = await project.run("doctor");
    expect(doctor.stdout).toContain('wide1590: "public"."wide1590" can be read and watched');
    await project.check();
  });

  it("pause their pipeline with the reason when a statement keeps failing", async () => {
    await run(`create function picky(body text) returns boolean language plpgsql as $$
      begin if body = 'bad' then raise exception 'no % here', body; end if; return true; end $$`);
    for (const table of ["raising", "doubled", "fine"]) {
      await run(`create table ${table} (id int primary key, body text)`);
      await run(`insert into ${table} values (1, 'good'), (2, 'bad')`);
    }
    const pipelines = [
      labels("raising", `"id"`, `, where: "picky(body)"`),
      labels("doubled", `"id"`, `, where: "id = (select f.id from fine f)"`),
      labels("fine", `"id"`),
    ];
    await project.writeConfig(pipelines.join(",\n"));
    const ended = await project.run("up", "--until-idle", "--yes");
    expect(ended.status, ended.stderr).toBe(4);
    expect(ended.stderr).toMatch(/^raising: .*no bad here/m);
    expect(ended.stderr).toMatch(/^doubled: .*more than one row/m);
    expect(await answered("fine")).toEqual(["1", "2"]);
    const paused = await project.database.rows(sql`select name, pause_kind from rowmill.pipelines order by name`);
    expect(paused).toEqual([
      { name: "doubled", pause_kind: "source" },
      { name: "fine", pause_kind: null },
      { name: "raising", pause_kind: "source" },
    ]);
  });

  it("are compared completely when up starts, however recent the last sweep was", async () => {
    await run("create table quiet (id int primary key, body text)");
    await run("insert into quiet values (1, 'one'), (2, 'two')");
    await project.writeConfig(labels("quiet", `"id"`));
    expect((await project.run("up", "--until-idle", "--yes")).status).toBe(0);
    await run(
      `set session_replication_role = replica; insert into quiet values (3, 'three');
      set session_replication_role = origin`,
    );
    await run(
      `alter table quiet disable trigger user; update quiet set body = 'changed' where id = 1;
      delete from quiet where id = 2; alter table quiet enable trigger user`,
    );
    const ended = await project.run("up", "--until-idle", "--yes");
    expect(ended.status, ended.stderr).toBe(0);
    expect((await project.status()).pipelines).toMatchObject([{ succeeded: 2, gone: 1 }]);
    expect(await answered("quiet")).toEqual(["1", "3"]);
    await project.check();
  });
});
