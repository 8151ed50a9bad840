/** Pipelines of pushed rows through the commands: before anything is set up, while they live, and when they go. */
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { sql } from "../../src/postgres/database.js";
import { buildCli, serverKind, startCliProject, unlessServer, type CliProject } from "../support/cli.js";
import { answerHere } from "../support/work-here.js";

beforeAll(buildCli, 150_000);

const people = (name = "people", columns = '"text"') => `
  ${name}: {
    source: { push: true, key: ["mail", "no"], columns: [${columns}] },
    polling,
    request: { model: "gpt-4o-mini", user: "Sum up: {{ text }}", maxOutputTokens: 100 },
    answer: z.object({ summary: z.string() }),
    target: { table: "person_texts" },
  },`;

describe.skipIf(serverKind === "embedded")(`Pushed rows${unlessServer}`, { timeout: 150_000 }, () => {
  let project: CliProject;
  beforeEach(async () => {
    project = await startCliProject(serverKind);
    await project.writeConfig(people());
  });
  afterEach(() => project.close());

  const push = (rows: object[]) =>
    project.database.run(sql`select rowmill.push('people', ${JSON.stringify(rows)}::jsonb)`);
  const person = (name: string, no: number) => ({ mail: `${name}@example.org`, no, text: `${name} likes tea.` });

  it("are explained before the first up, and its SQL can be run by hand", async () => {
    const doctor = await project.run("doctor");
    expect(doctor.stdout).toContain('people: rowmill up creates rowmill_data."people" for its rows');
    expect(doctor.stdout).toContain('people: rowmill up creates "public"."person_texts"');
    await project.database.run(sql`create table public.person_texts (mail bigint, no bigint)`);
    const mistaken = await project.run("doctor");
    expect(mistaken.stdout).toContain(
      'person_texts."mail" is of type bigint, but the source\'s key "mail" is of type text',
    );
    await project.database.run(sql`drop table public.person_texts`);
    const plan = await project.run("plan");
    expect(plan.stdout).toContain("No row was pushed yet: rowmill up creates the table for them.");
    expect(plan.status).toBe(0);
    const early = await project.run("try", "people");
    expect(early.status).toBe(2);
    expect(early.stderr).toContain("There is no table for the rows of people yet.");
    const script = await project.run("up", "--print-sql");
    expect(script.status, script.stderr).toBe(0);
    expect(script.stdout).toContain('create table rowmill_data."people"');
    await project.database.pool.query(script.stdout);
    await answerHere(project);
    const empty = await project.run("try", "people");
    expect(empty.status).toBe(2);
    expect(empty.stderr).toContain("Push rows to it first: rowmill up --http 127.0.0.1:8788");
    await push([person("Ann", 1)]);
    await answerHere(project);
    expect(await project.database.rows(sql`select mail, no from public.person_texts`)).toEqual([
      { mail: "Ann@example.org", no: "1" },
    ]);
    expect((await project.run("up", "--print-sql")).stdout).toContain("-- There is nothing to do.");
    expect((await project.run("doctor")).stdout).toContain('people: "rowmill_data"."people" can be read and watched');
    await project.database.run(sql`grant select on rowmill_data.people to public`);
    await project.database.run(sql`alter table rowmill_data.people disable row level security`);
    const open = await project.run("doctor");
    expect(open.stdout).toContain('row-level security is off on rowmill_data."people"');
    expect(open.stdout).toContain('revoke all on table rowmill_data."people" from public;');
    expect((await project.run("status")).stdout).toContain("people");
    expect((await project.run("show", "people", "Ann@example.org", "1")).stdout).toContain("Ann likes tea.");
  });

  it("are erased by forget after a question, with composite keys as JSON", async () => {
    await answerHere(project);
    await push([person("Ann", 1), person("Bob", 2)]);
    await answerHere(project);
    const unasked = await project.run("forget", "people", "--key", '["Ann@example.org", "1"]');
    expect(unasked).toMatchObject({ status: 4, stdout: "" });
    expect(unasked.stderr).toContain("There is no terminal to ask on, so nothing was erased.");
    expect((await project.run("forget", "people", "--key", "Ann")).status).toBe(2);
    const erased = await project.run("forget", "people", "--key", '["Ann@example.org", "1"]', "--yes");
    expect(erased).toEqual({
      status: 0,
      stdout:
        "people: 1 pushed row deleted, 1 request erased\n" +
        "  Answers in your target table are yours, and stay. To delete them too: --answers\n",
      stderr: "",
    });
    const json = await project.run(
      "forget",
      "people",
      "--key",
      '["Bob@example.org",2]',
      "--answers",
      "--yes",
      "--json",
    );
    expect(JSON.parse(json.stdout)).toEqual({
      pipeline: "people",
      keys: ['["Bob@example.org", "2"]'],
      stillInTable: [],
      requestsErased: 1,
      pushedRowsDeleted: 1,
      triesErased: 0,
      answersDeleted: 1,
      batches: [{ id: expect.any(String), providerBatchId: expect.any(String), files: "deleted", endsBy: null }],
    });
    expect(await project.database.rows(sql`select mail from public.person_texts`)).toEqual([
      { mail: "Ann@example.org" },
    ]);
    await project.check();
  });

  it("stay at an uninstall, unless you drop them", async () => {
    await answerHere(project);
    await push([person("Ann", 1), person("Bob", 2)]);
    await answerHere(project);
    await project.writeConfig(people("persons"));
    const renamed = await project.run("doctor");
    expect(renamed.stdout).toContain("Rows were pushed to people, which has no source push() in the config");
    await project.writeConfig(people());
    const unasked = await project.run("uninstall");
    expect(unasked.status).toBe(0);
    expect(unasked.stderr).toContain("They stay, and a later rowmill up finds them.");
    const kept = await project.run("uninstall", "--purge", "--yes");
    expect(kept.status, kept.stderr).toBe(0);
    expect(kept.stderr).toMatch(/rowmill_data\."people" has 2 rows, \d+ kB: the only copy of what was pushed\./);
    await answerHere(project);
    expect(await project.database.rows(sql`select count(*)::int as n from rowmill.requests`)).toEqual([{ n: 2 }]);
    const gone = await project.run("uninstall", "people", "--pushed-rows");
    expect(gone.stdout).toContain('Dropped rowmill_data."people" with 2 pushed rows.');
    expect(gone.stdout).toContain("Dropped the schema rowmill_data, which is empty.");
  });

  it("come with tokens, of which you revoke one by its number", async () => {
    await answerHere(project);
    const created = await project.run("tokens", "create", "--scope", "push", "--pipeline", "people");
    expect(created.stdout).toMatch(/^rwm_[0-9a-f]{64}\n$/);
    const unknown = await project.run("tokens", "revoke", "99");
    expect(unknown).toMatchObject({ status: 2, stdout: "" });
    expect(unknown.stderr).toContain("There is no token 99, so nothing was revoked.");
    expect((await project.run("tokens")).stdout).toContain("valid");
    expect(await project.run("tokens", "revoke", "1")).toMatchObject({
      status: 0,
      stdout: "Token 1 is revoked. Calls with it are refused from now on.\n",
    });
    expect(await project.run("tokens", "revoke", "1")).toMatchObject({
      status: 0,
      stdout: "Token 1 was revoked before.\n",
    });
    expect((await project.run("tokens")).stdout).toContain("revoked");
  });

  it("have no answers among them", async () => {
    await project.writeConfig(people().replace("person_texts", "rowmill_data.answers"));
    const up = await project.run("up", "--once", "--yes");
    expect(up.status).toBe(2);
    expect(up.stderr).toContain("where Rowmill keeps pushed rows. Name a table in another schema.");
  });
});
