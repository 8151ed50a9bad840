import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { sql } from "../../src/postgres/database.js";
import { buildCli, filmsPipeline, serverKind, startCliProject, type CliProject } from "../support/cli.js";
import { countLabels, createFilms, insertFilms } from "../support/cli-films.js";
import { createTutorialBatch } from "../support/tutorial-batch.js";

beforeAll(buildCli, 150_000);

describe("rowmill adopt", { timeout: 120_000 }, () => {
  let project: CliProject;
  beforeEach(async () => {
    project = await startCliProject(serverKind);
    await createFilms(project);
    await insertFilms(project, 6);
    await project.writeConfig(filmsPipeline());
  });
  afterEach(async () => {
    await project.check().finally(() => project.close());
  });

  /** The batch of the films 0 to 3, of one that is not in the table, and of one that is named otherwise. */
  async function createBatch(): Promise<string> {
    const rows = await project.database.rows<{ id: string; text: string }>(
      sql`select id::text, description as text from films where id < 4 order by id`,
    );
    const lines = [...rows, { id: "77", text: "No one knows it." }].map(({ id, text }) => ({
      customId: `task-${id}`,
      text,
    }));
    const odd = { customId: "test", text: "A first attempt." };
    return (await createTutorialBatch(project.gateway.url, [...lines, odd])).batchId;
  }

  it("takes over before the first up what other code has asked already, and up asks only the rest", async () => {
    const batchId = await createBatch();
    const adopt = ["adopt", batchId, "--pipeline", "films", "--custom-id", "task-{id}"];
    const adopted = await project.run(...adopt, "--yes");
    expect(adopted.status).toBe(0);
    expect(adopted.stderr.replace(/is \w+:/, "is …:")).toBe(`films: 6 rows compared
${batchId} is …: 6 lines for films
  4 waiting for an answer: adopted
  1 not in films
  1 with a name that does not match the pattern, such as "test"
`);
    expect(adopted.stdout).toBe(`films: adopted 4 rows of ${batchId}. Nothing was sent or paid again.
Next, to collect the answers and send only what is left: rowmill up
`);
    expect(await project.run(...adopt, "--yes")).toEqual({
      status: 4,
      stdout: "",
      stderr: `rowmill: ${batchId} is already adopted, by the pipeline "films".
  Hint: See its progress: rowmill status
`,
    });
    expect((await project.run("up", "--until-idle", "--yes")).status).toBe(0);
    expect(await countLabels(project)).toBe(6);
    const journal = await project.gateway.journal.summary();
    expect(journal.executed).toBe(6 + 2);
    expect(await project.status()).toMatchObject({
      pipelines: [{ succeeded: 6, waiting: 0 }],
      batches: [
        { providerBatchId: batchId, requests: 4, succeeded: 4 },
        { requests: 2, succeeded: 2 },
      ],
    });
  });

  it("refuses what it cannot do, and says what to do instead", async () => {
    const films = ["--pipeline", "films", "--custom-id", "task-{id}"];
    expect(await project.run("adopt", "batch_1", ...films)).toEqual({
      status: 4,
      stdout: "",
      stderr: `rowmill: There is no terminal to ask on, so nothing was adopted.
  Hint: To adopt without a question: add --yes
`,
    });
    const other = await project.run("adopt", "batch_1", "--pipeline", "film", "--custom-id", "x");
    expect(other).toMatchObject({
      status: 2,
      stderr: `rowmill: There is no pipeline "film" in ${project.folder}/rowmill.config.mjs; did you mean "films"?\n  Hint: There are: films.\n  Hint: To set up new pipelines of the config: rowmill up\n`,
    });
    expect((await project.run("adopt", "batch_1", ...films, "--yes")).stderr).toContain(
      'rowmill: The provider has no batch "batch_1" in this account.\n',
    );
    const json = await project.run("adopt", await createBatch(), ...films, "--yes", "--json");
    expect(JSON.parse(json.stdout)).toMatchObject({
      pipeline: "films",
      lines: 6,
      adopted: 4,
      ended: 0,
      inFlight: 0,
      noRow: 1,
      repeated: 0,
      unreadable: 1,
    });
  });
});
