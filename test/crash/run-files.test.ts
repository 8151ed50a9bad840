/** `rowmill run`, killed at its steps: the same command writes the same output, and each line is asked once. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { Call } from "../../src/gateway/engine/faults.js";
import { buildCli, runCli, startCliProject, until, type CliProject } from "../support/cli.js";
import { filmLines, QUESTION, readOutput, writeFilms } from "../support/film-file.js";

const RUN = ["run", "films.csv", ...QUESTION, "--out", "labelled.csv"] as const;

beforeAll(buildCli, 150_000);

describe("rowmill run", { timeout: 300_000 }, () => {
  let project: CliProject;
  /** The call whose effect stays, while its reply is lost with the process that made it. */
  let killedAt = "";
  let kill: () => void = () => undefined;
  let undisturbed: string | null = null;
  beforeEach(async () => {
    killedAt = "";
    const afterEffect = async ({ method, route }: Call) => {
      if (killedAt !== `${method} ${route}`) return undefined;
      killedAt = "";
      kill();
      return { kind: "drop" } as const;
    };
    project = await startCliProject("embedded", { run: runCli, gateway: { faults: { afterEffect } } });
    await writeFilms(project, filmLines(200));
  });
  afterEach(() => project.close());

  it.each([
    ["it opens the database", null],
    ["it reads the file", "Column 1 has no name"],
    ["it shows the cost", "estimated"],
    ["it works", "of 200 rows"],
    ["a batch is done", "is done"],
    ["it uploads a file", "POST /v1/files"],
    ["it creates the batch", "POST /v1/batches"],
    ["it looks at the batch", "GET /v1/batches/:id"],
    ["it fetches the answers", "GET /v1/files/:id/content"],
    ["it deletes a file", "DELETE /v1/files/:id"],
  ] as const)(
    "killed by kill -9 when %s writes the same by the same command, and asks each line once",
    async (_, moment) => {
      const running = project.start(...RUN);
      const state = join(project.folder, ".rowmill");
      if (moment === null) await until("the run makes its folder", async () => existsSync(state));
      else if (moment.includes("/")) killedAt = moment;
      else await running.says(moment);
      kill = () => running.child.kill("SIGKILL");
      if (killedAt === "") kill();
      expect((await running.ended).status).toBeNull();
      const ended = await project.run(...RUN);
      expect(ended.status, ended.stderr).toBe(0);
      const { text } = await readOutput(project);
      undisturbed ??= text;
      expect(text).toBe(undisturbed);
      expect((await readOutput(project)).rows.every((row) => (row[4] ?? "") !== "")).toBe(true);
      const { executed, executedByContent } = await project.gateway.journal.summary();
      expect([executed, executedByContent.size]).toEqual([200, 200]);
      await project.check();
    },
  );
});
