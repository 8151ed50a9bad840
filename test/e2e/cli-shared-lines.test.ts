/** What `dedupe` does for you, as the commands say it: before, while and after equal questions are asked once. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { sql } from "../../src/postgres/database.js";
import { buildCli, filmsPipeline, startCliProject, type CliProject } from "../support/cli.js";
import { createFilms } from "../support/cli-films.js";
import { databaseKinds, newestKinds } from "../support/databases.js";

describe.each(newestKinds.filter((kind) => databaseKinds.includes(kind)))(
  "Equal questions of a batch on %s",
  { timeout: 120_000 },
  (kind) => {
    let project: CliProject;
    let up: { stdout: string; stderr: string };
    let plan: string;
    beforeAll(async () => {
      await buildCli();
      project = await startCliProject(kind);
      await createFilms(project);
      await project.database.run(sql`
      insert into films
      select n, 'T', 'A heist film, number ' || n % 7 from generate_series(1, 10) n`);
      await project.writeConfig(filmsPipeline("dedupe: true,"));
      plan = (await project.run("plan", "--requests", "0")).stdout;
      up = await project.run("up", "--until-idle", "--yes");
    }, 150_000);
    afterAll(() => project.close());

    it("are announced by plan, by the rows that it read", () => {
      expect(plan).toContain(
        "  Equal questions: 3 of 10 rows ask the same as another one; a batch sends such rows once, for less (dedupe)\n",
      );
    });

    it("are reported by up with its batch, and what they saved", () => {
      expect(`${up.stdout}${up.stderr}`).toMatch(
        /^films: batch [0-9a-f]{8} is done: 10 rows succeeded, 0 failed; \$0\.\d+ \(3 of 10 requests shared the line of an equal one, \$0\.0+\d+ saved\); took \d+ s$/m,
      );
    });

    it("are summed up by costs and log, in dollars for programs", async () => {
      const text = await project.run("costs");
      expect(text.stdout).toMatch(/\n\n3 of 10 requests shared the line of an equal one, \$0\.0+\d+ saved\n$/);
      const json = JSON.parse((await project.run("costs", "--json")).stdout) as { total: Record<string, number> };
      const { total } = json;
      expect(total).toMatchObject({ requests: 10, succeeded: 10, sharedRequests: 3 });
      const [due] = await project.database.rows<{ usd: number }>(sql`
      select sum(l.cost_nano_usd)::float8 / 1e9 as usd
      from rowmill.attempts a
      join rowmill.attempts l on l.request_id = a.shared_from and l.batch = a.batch`);
      expect(total["sharingSavedUsd"]).toBe(due?.usd);
      const [batch] = await project.database.rows<{ id: string }>(sql`select id from rowmill.batches`);
      const log = await project.run("log", batch?.id ?? "");
      expect(log.stdout).toMatch(/^ {2}shared {4}3 of 10 requests shared the line of an equal one, \$0\.0+\d+ saved$/m);
      expect(log.stdout).toMatch(/planned → uploading: 7 lines for 10 requests, [\d,]+ bytes$/m);
      const object: unknown = JSON.parse((await project.run("log", batch?.id ?? "", "--json")).stdout);
      expect(object).toMatchObject({ requests: 10, lines: 7, sharedRequests: 3, sharingSavedUsd: due?.usd });
    });

    it("are told of each row, with the one that has the line", async () => {
      const shown = await project.run("show", "films", "8");
      expect(shown.stdout).toMatch(/^ {2}shared the line of row 1, which asked the same, at no cost$/m);
      expect((await project.run("show", "films", "1")).stdout).not.toContain("shared the line");
    });

    it("leave records that pass the audit", async () => {
      expect(await project.run("doctor", "--audit")).toMatchObject({ status: 0 });
    });
  },
);
