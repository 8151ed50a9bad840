import { mkdtemp } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { Fault, GatewayFaults } from "../../src/gateway/engine/faults.js";
import { identifier, raw, sql } from "../../src/postgres/database.js";
import { buildCli, runCommand, serverKind, startCliProject, type CliProject } from "../support/cli.js";
import { is, refusal } from "../support/provider-faults.js";

beforeAll(buildCli, 150_000);

/** What an attacker would have a reader believe: as a line of its own, on a cleared screen, in another order. */
const lie = "evil: 100000 succeeded";
const attack = `\n${lie}\r${lie}\u001b[2J\u009b2J\u2028${lie}\u202e\u2066`;
const escaped = `\\n${lie}\\r${lie}\\x1b[2J\\u009b2J\\u2028${lie}\\u202e\\u2066`;

/** The text holds the lie, but no line begins with it, and nothing in it steers a terminal. */
function expectHonest(text: string): void {
  expect(text).toContain(lie);
  expect(text.split("\n").filter((line) => line.trimStart().startsWith(lie))).toEqual([]);
  expect(text.match(/(?!\n)[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/gu)).toBeNull();
}

/** The model's answer and the provider's error lines hold the attack. */
const transformOutput: GatewayFaults["transformOutput"] = (line, { file }) => {
  const parsed = JSON.parse(line) as {
    response: { body: { error: { message: string }; choices: { message: { content: string } }[] } };
  };
  const { body } = parsed.response;
  if (line.includes("good")) return undefined;
  if (file === "error") body.error.message = `no${attack}`;
  else for (const { message } of body.choices) message.content = `no JSON${attack}`;
  return [JSON.stringify(parsed)];
};

const notesPipeline = `notes: pipeline({
  source: { table: "notes", key: "id", columns: ["description"] }, polling, request, answer, attempts: 1, target: { table: "labels" } })`;

describe("Output of the command line cannot be forged", { timeout: 60_000 }, () => {
  let project: CliProject;
  let create: Fault | undefined;
  beforeAll(async () => {
    project = await startCliProject(serverKind, {
      gateway: {
        faults: { transformOutput, beforeEffect: (call) => (is("createBatch")(call) ? create : undefined) },
      },
    });
    await project.database.run(sql`create table notes (id text primary key, description text)`);
  }, 150_000);
  beforeEach(async () => {
    create = undefined;
    await project.database.run(sql`truncate notes`);
  });
  afterAll(() => project.close());

  const insert = (id: string, description: string) =>
    project.database.run(sql`insert into notes values (${id}, ${description})`);

  it("by a row's key, in what up says of failures and in what show says", async () => {
    await project.writeConfig(notesPipeline);
    await insert(`z${attack}`, "[[demo:error 400]]");
    const up = await project.run("up", "--until-idle", "--yes", "--log-level", "debug");
    expect(up.status, up.stderr).toBe(3);
    expect(up.stderr).toContain(`\n  ${`z${escaped}`.slice(0, 63)}…: `);
    expectHonest(up.stderr);
    const shown = await project.run("show", "notes", `z${attack}`);
    expect(shown.stdout).toContain(`notes z${escaped}\n`);
    expectHonest(shown.stdout);
  });

  it.each([
    ["spaces", " ".repeat(77), "  \\x20{75}"],
    ["spaces that are not U+0020", "\u00a0\u3000".repeat(38), "\\u00a0\\u3000"],
    ["what looks like spaces", "\u3164\u2800\u{e0020}\u00ad".repeat(19), "\\u3164\\u2800\\udb40\\udc20\\u00ad"],
    ["letters", "x".repeat(77), "xxxx"],
  ])("by a key that pads a row of the terminal with %s", async (_, padding, shown) => {
    await project.writeConfig(notesPipeline);
    await insert(`z${padding}${lie}`, "[[demo:error 400]]");
    const up = await project.run("up", "--until-idle", "--yes");
    expect(up.status, up.stderr).toBe(3);
    const line = up.stderr.split("\n").find((text) => text.startsWith("  z"));
    expect(line).toContain(`  z${shown}`);
    expect(line?.slice(80).startsWith("evil")).toBe(false);
    const story = await project.run("show", "notes", `z${padding}${lie}`);
    if (padding[0] === "x") return;
    expect(story.stdout).toContain(`notes z${shown}`);
    for (const text of [up.stderr, story.stdout]) {
      expect(text).not.toMatch(/(?! )[\p{Z}\u00ad\u3164\u2800\u{e0020}]/u);
      expect(text).not.toMatch(/ {70}/);
    }
  });

  it("by what a model answers, and by what the provider says of a line", async () => {
    await project.writeConfig(notesPipeline);
    await insert("answer", "A film.");
    await insert("error", "[[demo:error 400]]");
    const up = await project.run("up", "--until-idle", "--yes");
    expect(up.stderr).toContain(`\\n${lie}`);
    expectHonest(up.stderr);
    const answer = await project.run("show", "notes", "answer");
    // An answer keeps its own lines, each of them indented below the first.
    expect(answer.stdout).toContain(`unusable answer:  no JSON\n${" ".repeat(20)}${lie}\\r${lie}\\x1b[2J`);
    const error = await project.run("show", "notes", "error");
    expectHonest(error.stdout);
    const exact = JSON.parse((await project.run("show", "notes", "error", "--json")).stdout) as object;
    expect(exact).toMatchObject({ attempts: [{ detail: expect.stringContaining(`no${attack}`) }] });
  });

  it("by an error of the provider that pauses the pipeline, in the log and in the status", async () => {
    await project.writeConfig(notesPipeline);
    await insert("paused", "A film.");
    create = refusal(401, `bad key${attack}`);
    const up = await project.run("up", "--until-idle", "--yes", "--log-level", "debug");
    expect(up.status, up.stderr).toBe(4);
    expectHonest(up.stderr);
    const status = await project.run("status");
    expect(status.stdout).toContain(`bad key${escaped}`);
    expectHonest(status.stdout);
    expect((await project.status()).pipelines[0]?.paused).toContain("bad key");
    await project.run("resume", "notes");
  });

  it("by names of tables and columns, in the doctor's findings and the list of init", async () => {
    const short = `\n${lie}\r\u001b[2J\u202e`;
    const table = (name: string) => identifier(name + short);
    await project.database.run(sql`create table ${table("t")} (${table("id")} bigint primary key, v text)`);
    await project.database.run(sql`create table ${table("keyless")} (v text)`);
    const source = { table: `t${short}`, key: `id${short}`, columns: [`missing${short}`] };
    await project.writeConfig(`films: pipeline({ source: ${JSON.stringify(source)}, polling,
      request: { ...request, user: "{{ x }}" }, answer, target: { table: "film_labels" } })`);
    const empty = await mkdtemp(join(project.folder, "empty-"));
    for (const said of [
      await project.run("doctor"),
      await project.run("up", "--print-sql"),
      await runCommand(["init"], { cwd: empty, env: project.env }),
    ]) {
      expect(said.status, said.stdout).toBe(2);
      expectHonest(said.stdout + said.stderr);
    }
    await project.database.run(sql`drop table ${table("t")}, ${table("keyless")}`);
  });

  it("by names in the script for review, which runs as it is printed", async () => {
    const short = `\n${lie}; -- '\r\u001b[2J\u202e`;
    const table = identifier(`t${short}`);
    await project.database.run(sql`create table ${table} (id bigint primary key, v text)`);
    const source = { table: `t${short}`, key: "id", columns: ["v"] };
    await project.writeConfig(`films: pipeline({ source: ${JSON.stringify(source)}, polling,
      request: { ...request, user: "{{ v }}" }, answer, target: { table: ${JSON.stringify(`made${short}`)} } })`);
    const printed = await project.run("up", "--print-sql");
    expect(printed.status, printed.stderr).toBe(0);
    expectHonest(printed.stdout);
    await project.database.run(raw(printed.stdout));
    expect(await project.database.rows(sql`select from ${identifier(`made${short}`)}`)).toEqual([]);
    await project.database.run(sql`insert into ${table} values (1, 'x')`);
    await project.database.run(sql`drop table ${table}, ${identifier(`made${short}`)}`);
  });

  it("by an error of a trigger on the target", async () => {
    await project.writeConfig(notesPipeline);
    await project.database.run(
      sql`create function refuse() returns trigger language plpgsql as $$ begin
        raise exception using errcode = '23514', message = E'no\nevil: 100000 succeeded\r\x1b[2J'; end $$`,
    );
    await project.database.run(
      sql`create trigger refuse before insert or update on labels for each row execute function refuse()`,
    );
    await insert("refused", "[[good]]");
    const up = await project.run("up", "--until-idle", "--yes");
    expect(up.stderr).toContain(`The database refused: no\\n${lie}\\r\\x1b[2J`);
    expectHonest(up.stderr);
  });
});
