import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { sql } from "../../src/postgres/database.js";
import { buildCli, filmsPipeline, serverKind, startCliProject, type CliProject } from "../support/cli.js";
import { createFilms, insertFilms } from "../support/cli-films.js";
import { answerHere } from "../support/work-here.js";

const composite = `pairs: pipeline({
  source: { table: "pairs", key: ["shelf", "place"], columns: ["description"], where: "place <> 0" }, polling, request, answer,
  target: { table: "pair_labels" } })`;

describe("rowmill show", { timeout: 60_000 }, () => {
  let project: CliProject;
  beforeAll(async () => {
    await buildCli();
    project = await startCliProject(serverKind);
    await createFilms(project);
    await project.database.run(
      sql`create table pairs ("shelf" text, "place" bigint, description text, primary key ("shelf", "place"))`,
    );
    await project.writeConfig(`${filmsPipeline()}, ${composite}`);
    await insertFilms(project, 2);
    await project.database.run(sql`update films set description = 'Bad. [[demo:mismatch-once]]' where id = 1`);
    await project.database.run(
      sql`insert into pairs values ('a', 1, 'A ghost story.'), ('a "b"', 2, 'A war film.'), ('c', 0, 'Left out.')`,
    );
    await answerHere(project);
    await project.database.run(sql`insert into films values (500, 'New', 'Not looked at yet.')`);
  }, 150_000);
  afterAll(() => project.close());

  it("shows a row's whole story: cells, request, every attempt with its answer and cost, batches, result", async () => {
    const shown = await project.run("show", "films", "1");
    expect(shown).toMatchObject({ status: 0, stderr: "" });
    expect(shown.stdout).toMatch(/^films 1\n {2}succeeded\n {2}2 attempts; 1 unusable answer for this content/);
    expect(shown.stdout).toContain("description  Bad. [[demo:mismatch-once]]");
    expect(shown.stdout).toMatch(/attempt 1\n {2}returned \(invalid\) /);
    expect(shown.stdout).toMatch(/unusable answer: {2}\{/);
    expect(shown.stdout).toMatch(/attempt 2\n {2}succeeded \(answered\) /);
    expect(shown.stdout).toMatch(/gpt-4o-mini.*: \d+ input and \d+ output tokens, \$0\.\d+/);
    expect(shown.stdout).toMatch(/at openai: batch_/);
    expect(shown.stdout).toMatch(/collecting → settled/);
    expect(shown.stdout).toMatch(/result\n {2}categories +\[/);
  });

  it("gives the same as JSON, on one line", async () => {
    const shown = await project.run("show", "films", "1", "--json");
    expect(shown).toMatchObject({ status: 0, stderr: "" });
    expect(shown.stdout.trimEnd().split("\n")).toHaveLength(1);
    expect(JSON.parse(shown.stdout)).toMatchObject({
      pipeline: "films",
      key: "1",
      row: { state: "present", matchesWhere: true, cells: { description: "Bad. [[demo:mismatch-once]]" } },
      request: { state: "succeeded", attempt: 2, answeredVersion: 1 },
      attempts: [
        { attempt: 1, ending: "returned", outcome: "invalid", batchId: expect.any(String) },
        { attempt: 2, ending: "succeeded", costNanoUsd: expect.any(Number), version: 1 },
      ],
      result: {
        state: "present",
        cells: { summary: expect.any(String), rowmill_model: expect.any(String), rowmill_version: 1 },
      },
    });
  });

  it.each([
    ["its parts", ["a", "1"]],
    ["a JSON array", ['["a", 1]']],
    ["another spelling of a number", ["a", "001"]],
  ])("takes a composite key as %s", async (_, key) => {
    const shown = await project.run("show", "pairs", ...key);
    expect(shown.status, shown.stderr).toBe(0);
    expect(shown.stdout).toMatch(/^pairs \["a", "1"\]\n {2}succeeded\n/);
    expect(shown.stdout).toMatch(/summary/);
  });

  it("takes a key with quotes in it", async () => {
    expect((await project.run("show", "pairs", 'a "b"', "2")).stdout).toContain("succeeded");
  });

  it.each([
    ["no row has this key", ["films", "9"]],
    ["the row exists, but Rowmill has not seen it yet", ["films", "500"]],
    ["the row exists, but source.where excludes it", ["pairs", "c", "0"]],
  ])("says of an unknown key: %s", async (words, args) => {
    const shown = await project.run("show", ...args);
    expect(shown.status).toBe(2);
    expect(shown.stdout).toContain(words);
  });

  it("refuses what cannot be a key", async () => {
    expect(await project.run("show", "films", "many")).toEqual({
      status: 2,
      stdout: "",
      stderr: 'rowmill: This is not a key of "public"."films", whose key is id (bigint).\n',
    });
    expect((await project.run("show", "pairs", "a")).stderr).toContain(
      "The key of this pipeline has 2 columns, but 1 was given.",
    );
  });
});
