/** `rowmill run`, interrupted or beside another run: the same command continues, and pays for nothing twice. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { buildCli, runCli, startCliProject, type CliProject } from "../support/cli.js";
import { filmLines, QUESTION, readOutput, writeFilms } from "../support/film-file.js";

const LONG_MS = 300_000;
const RUN = ["run", "films.csv", ...QUESTION, "--out", "labelled.csv"] as const;

beforeAll(buildCli, 150_000);

describe("rowmill run, interrupted", { timeout: LONG_MS }, () => {
  let project: CliProject;
  let held = true;
  let refuses = false;
  beforeEach(async () => {
    held = true;
    refuses = false;
    const error = { message: "Incorrect API key provided.", code: "invalid_api_key" };
    const reply = { kind: "reply", status: 401, body: { error } } as const;
    const faults = { hold: () => held, beforeEffect: () => (refuses ? reply : undefined) };
    project = await startCliProject("embedded", { run: runCli, gateway: { faults }, prepared: true });
    await writeFilms(project, filmLines(200));
  });
  afterEach(() => project.close());

  const release = () => {
    held = false;
    project.gateway.release();
  };

  const expectWhole = async () => {
    const ended = await project.run("run", "films.csv");
    expect(ended.status, ended.stderr).toBe(0);
    expect((await readOutput(project)).rows.every((row) => (row[4] ?? "") !== "")).toBe(true);
    const { executed, executedByContent } = await project.gateway.journal.summary();
    expect(executed).toBe(200);
    expect(executedByContent.size).toBe(200);
    await project.check();
  };

  it("by a key that the provider refuses, continues with another one, and names nothing that you did not type", async () => {
    refuses = true;
    release();
    const refused = await project.run(...RUN);
    expect(refused.status).toBe(4);
    expect(refused.stderr).toContain("Fix the key, organization, project or billing. Then: rowmill run films.csv\n");
    expect(refused.stderr).not.toMatch(/films-[0-9a-f]{8}|rowmill (?!run films\.csv)/);
    refuses = false;
    await expectWhole();
  });

  it("by Ctrl-C, writes nothing, and the same command continues", async () => {
    const running = project.start(...RUN);
    await running.says("1 running");
    running.child.kill("SIGINT");
    const { status, stderr } = await running.ended;
    expect(status).toBe(130);
    expect(stderr).toContain("The same command continues where it stops.");
    expect(existsSync(join(project.folder, "labelled.csv"))).toBe(false);
    release();
    await expectWhole();
  });

  it("refuses a second run beside the first, which --partial only looks at", async () => {
    const running = project.start(...RUN);
    await running.says("1 running");
    const second = await project.run(...RUN);
    expect(second.status).toBe(1);
    expect(second.stderr).toContain("Another run or worker is at work");
    const partial = await project.run("run", "films.csv", "--partial", "--out", "partial.csv");
    expect(partial.status, partial.stderr).toBe(0);
    expect(partial.stderr).toContain("200 lines, 0 answered, 0 failed, 200 without an answer yet");
    release();
    expect((await running.ended).status).toBe(0);
    await project.run(...RUN);
    await expectWhole();
  });

  it("leaves with --detach when everything is sent, and the same command fetches the answers", async () => {
    const left = await project.run(...RUN, "--detach");
    expect(left.status, left.stderr).toBe(0);
    expect(left.stderr).toContain("Everything is sent.");
    expect((await project.status()).pipelines[0]).toMatchObject({ batched: 200 });
    release();
    await expectWhole();
  });

  it("gives no answer to a line that changed under its key while it was asked", async () => {
    const lines = filmLines(3);
    await writeFilms(project, lines);
    const keyed = [...RUN, "--key", "column_1"];
    const running = project.start(...keyed);
    await running.says("1 running");
    const [first = "", second = "", third = ""] = lines;
    const swapped = [first, second.replace(/^\d+/, "2"), third.replace(/^\d+/, "1")];
    await writeFilms(project, swapped);
    const partial = await project.run(...keyed.slice(0, 2), "--key", "column_1", "--partial", "--out", "partial.csv");
    expect(partial.stderr).toContain("3 lines, 0 answered, 0 failed, 3 without an answer yet");
    release();
    const { status, stderr } = await running.ended;
    expect(status).toBe(4);
    expect(stderr).toContain("changed during the run: 2 lines have no answer yet.");
    expect(existsSync(join(project.folder, "labelled.csv"))).toBe(false);
    expect((await project.run(...keyed)).status).toBe(0);
    const cells = async (of: readonly string[]) => {
      await writeFilms(project, of, "alone.csv");
      const alone = await project.run("run", "alone.csv", ...QUESTION, "--force", "--out", "alone.out.csv");
      expect(alone.status, alone.stderr).toBe(0);
      return (await readOutput(project, "alone.out.csv")).rows.map((row) => row.slice(2));
    };
    expect((await readOutput(project)).rows.map((row) => row.slice(2))).toEqual(await cells(swapped));
  });

  it("is not forgotten while it reads the file, before anything is in flight", async () => {
    const running = project.start(...RUN);
    await running.says("Column 1 has no name");
    const forgotten = await project.run("run", "--forget", "--yes");
    expect(forgotten.status).toBe(1);
    expect(forgotten.stderr).toContain("Another run or worker is at work");
    release();
    expect((await running.ended).status).toBe(0);
    await expectWhole();
  });
});
