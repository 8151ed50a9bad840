import { beforeAll, beforeEach, afterEach, describe, expect, it } from "vitest";
import { sql } from "../../src/postgres/database.js";
import { buildCli, filmsPipeline, serverKind, startCliProject, type CliProject } from "../support/cli.js";
import { countLabels, createFilms, insertFilms } from "../support/cli-films.js";
import { answerHere } from "../support/work-here.js";

beforeAll(buildCli, 150_000);

const seen = `This ledger was in the database "previous" of another server (its identifier was 1, and is …). It was restored from a backup, moved, or copied. Rowmill sends, collects and deletes nothing until you say which. If the previous database is gone: rowmill deployment --restored. If it is still in use: rowmill deployment --copy`;

describe("rowmill deployment", { timeout: 120_000 }, () => {
  let project: CliProject;
  beforeEach(async () => {
    project = await startCliProject(serverKind);
    await createFilms(project);
    await insertFilms(project, 3);
    await project.writeConfig(filmsPipeline());
  });
  afterEach(async () => {
    await project.check().finally(() => project.close());
  });

  const said = (text: string) => text.replaceAll(/and is \d+\)/g, "and is …)");

  it("reports the suspicion in every command, and continues after you confirm it", async () => {
    await answerHere(project);
    expect(await project.run("deployment")).toMatchObject({
      status: 0,
      stdout: expect.stringMatching(/^Ledger [0-9a-f-]{36}, in .*\nThis is the database that sent its batches\.\n$/),
    });
    // As a dump of another server's database brings it.
    await project.database.run(sql`update rowmill.deployment set system_identifier = '1', database_name = 'previous'`);
    await insertFilms(project, 2, 3);
    const up = await project.run("up", "--until-idle", "--yes");
    expect(up.status).toBe(4);
    expect(said(up.stderr)).toContain(`films: ${seen}\n`);
    expect(said((await project.run("status")).stdout).replaceAll(/\s+/g, " ")).toContain(`films: paused: ${seen}`);
    const doctor = await project.run("doctor", "--json");
    expect(said(doctor.stdout)).toContain("All pipelines are paused: This ledger was in the database");
    const resumed = await project.run("resume", "films");
    expect({ ...resumed, stderr: said(resumed.stderr) }).toEqual({
      status: 4,
      stdout: "",
      stderr: `rowmill: ${seen}\n  Hint: What each answer would do: rowmill help deployment\n`,
    });
    const look = await project.run("deployment");
    expect({ status: look.status, said: said(look.stdout) }).toEqual({
      status: 4,
      said: expect.stringContaining(`\n${seen}\n`),
    });
    expect(await project.run("deployment", "--restored")).toEqual({
      status: 4,
      stdout: "",
      stderr: `rowmill: There is no terminal to ask on, so nothing was changed.
  Hint: To confirm without a question: rowmill deployment --restored --yes
`,
    });
    expect((await project.run("deployment", "--restored", "--copy", "--yes")).status).toBe(2);
    expect(await project.run("deployment", "--restored", "--yes")).toEqual({
      status: 0,
      stdout: `This database takes the place of the previous one. There was nothing to adopt.
Next: rowmill up
`,
      stderr: `This database takes the place of the previous one, which must be gone: two of them would pay twice.
  every batch of this ledger at the provider is known here
`,
    });
    await answerHere(project);
    expect(await countLabels(project)).toBe(5);
    const copy = await project.run("deployment", "--copy", "--yes", "--json");
    expect(JSON.parse(copy.stdout)).toMatchObject({
      decision: "copy",
      sharedBatches: 0,
      withdrawnBatches: 0,
      waitingRows: 0,
    });
  });
});
