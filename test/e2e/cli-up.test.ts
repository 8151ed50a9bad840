import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { sql } from "../../src/postgres/database.js";
import { pipelineOverviews } from "../../src/store/ledger/overview.js";
import {
  buildCli,
  cliScript,
  filmsPipeline,
  runCli,
  serverKind,
  startCliProject,
  until,
  type CliProject,
} from "../support/cli.js";
import { countLabels, createFilms, insertFilms } from "../support/cli-films.js";
import { answerHere } from "../support/work-here.js";

/** Gives a program a terminal; part of util-linux. */
const terminalProgram = "script";
const hasScript = String(spawnSync(terminalProgram, ["--version"]).stdout).includes("util-linux");
const unlessScript = hasScript
  ? ""
  : " (skipped: util-linux's program script, which gives a program a terminal, is not installed)";

beforeAll(buildCli, 150_000);

describe("rowmill up", { timeout: 90_000 }, () => {
  let project: CliProject;
  beforeEach(async () => {
    project = await startCliProject(serverKind);
    await createFilms(project);
    await project.writeConfig(filmsPipeline());
  });
  afterEach(() => project.close());

  it("sends what waits, waits for the answers and exits with 0 when all succeeded", async () => {
    await insertFilms(project, 30);
    const ended = await project.start("up", "--until-idle").ended;
    expect(ended.status, ended.stderr).toBe(0);
    expect(ended.stdout).toBe("");
    expect(ended.stderr).toMatch(
      /films: 30 rows, about [\d,]+ input and 2,\d+ output tokens; estimated \$[\d.]+ \(cap \$/,
    );
    expect(ended.stderr).toContain("films: 30 succeeded, 0 failed");
    expect(await countLabels(project)).toBe(30);
    await project.check();
  });

  it("exits with 3 when rows failed, and names some of them", async () => {
    await insertFilms(project, 5);
    await project.database.run(sql`update films set description = '[[demo:error 400]] never' where id = 2`);
    const ended = await project.start("up", "--until-idle").ended;
    expect(ended.status, ended.stderr).toBe(3);
    expect(ended.stderr).toContain("films: 4 succeeded, 1 failed");
    expect(ended.stderr).toMatch(/^ {2}2: permanent/m);
    await project.check();
  });

  it("exits with 3 for a key that cannot name its row, until that row is gone", async () => {
    await project.database.run(sql`create table words (word text primary key, description text)`);
    await project.database.run(
      sql`insert into words values ('short', 'A war film.'), (repeat('long ', 300), 'A love story.')`,
    );
    await project.writeConfig(`words: pipeline({ source: { table: "words", key: "word", columns: ["description"] },
      polling, request, answer, target: { table: "word_labels" } })`);
    const ended = await project.run("up", "--until-idle");
    expect(ended.status, ended.stderr).toBe(3);
    expect(ended.stderr).toMatch(
      /^words: 1 succeeded, 1 failed; .*\n {2}Answers: .*\n {2}1 row cannot be sent because of the key, such as (long )+l?o?n?g?…: A key may have at most 1024 bytes\./m,
    );
    expect((await project.status()).pipelines).toMatchObject([{ succeeded: 1, failed: 1 }]);
    await project.database.run(sql`delete from words where word <> 'short'`);
    expect((await project.run("sweep")).status).toBe(0);
    expect((await project.status()).pipelines).toMatchObject([{ succeeded: 1, failed: 0 }]);
  });

  it("exits with 4 when rows wait for approval, sends none of them, and continues with the others", async () => {
    await project.writeConfig(
      `${filmsPipeline("approveAboveUsd: 0")}, cheap: pipeline({ source,
        polling, request, answer, target: { table: "cheap_labels" } })`,
    );
    await insertFilms(project, 3);
    const ended = await project.run("up", "--until-idle");
    expect(ended.status, ended.stderr).toBe(4);
    expect(ended.stderr).toContain("films: waits for approval. Approve it: rowmill approve films");
    expect(ended.stderr).toContain("cheap: 3 succeeded, 0 failed");
    expect((await project.gateway.journal.summary()).executed).toBe(3);
    const { pipelines } = await project.status();
    expect(pipelines.find((pipeline) => pipeline.name === "films")).toMatchObject({
      waiting: 3,
      paused: expect.stringMatching(/^waits for approval: 3 rows, .*\. Approve it: rowmill approve films$/),
    });
  });

  it("sends after `approve`, which shows the estimate and needs --yes without a terminal", async () => {
    await project.writeConfig(filmsPipeline("approveAboveUsd: 0, budget: { usd: 0.00005, per: 'day' }"));
    await insertFilms(project, 3);
    const first = await project.run("up", "--until-idle");
    expect(first.status).toBe(4);
    expect(first.stderr).toMatch(/^films: 3 rows, .*; your budget of \$0\.00005 per day stops it there$/m);
    await project.writeConfig(filmsPipeline("approveAboveUsd: 0"));
    const asked = await project.run("approve", "films");
    expect(asked).toMatchObject({
      status: 4,
      stderr:
        "rowmill: There is no terminal to ask on, so nothing was approved.\n  Hint: To approve without a question: rowmill approve films --yes\n",
    });
    expect(asked.stdout).toMatch(
      /^films: 3 rows, about \d+ input and \d+ output tokens; estimated \$0\.\d+ \(cap \$0\.\d+ with up to 3 tries per row; live requests/,
    );
    const approved = await project.run("approve", "films", "--yes");
    expect(approved).toMatchObject({ status: 0, stdout: expect.stringContaining("films is approved.") });
    const ended = await project.run("up", "--until-idle");
    expect(ended.status, ended.stderr).toBe(0);
    expect(await countLabels(project)).toBe(3);
  });

  it("approves with --yes, also when the cost is unknown", async () => {
    await project.writeConfig(
      `films: pipeline({ source,
        polling, answer, request: { ...request, model: "a-model-of-our-own" }, target: { table: "film_labels" } })`,
    );
    await insertFilms(project, 2);
    const ended = await project.run("up", "--until-idle", "--yes");
    expect(ended.status, ended.stderr).toBe(0);
    expect(ended.stderr).toContain("the price of a-model-of-our-own is unknown");
    expect(ended.stderr).toContain("films: approved (--yes)");
    expect(await countLabels(project)).toBe(2);
  });

  it("exits with 4 when the provider refuses the account, and says what to fix", async () => {
    await project.close();
    project = await startCliProject(serverKind, { gateway: { apiKeys: ["another key"] } });
    await createFilms(project);
    await project.writeConfig(filmsPipeline());
    await insertFilms(project, 2);
    const ended = await project.run("up", "--until-idle");
    expect(ended.status, ended.stderr).toBe(4);
    expect(ended.stderr).toContain("rowmill resume films");
    expect(ended.stderr).not.toContain("sk-test-key-of-the-command-line");
  });

  it("takes rows from arrival to answer when it is run repeatedly with --once", async () => {
    await project.writeConfig(filmsPipeline("when: { rows: 5, maxWait: '24h' }"));
    await insertFilms(project, 7);
    await until("7 labels", async () => {
      const round = await project.run("up", "--once");
      expect(round.status, round.stderr).toBe(0);
      return (await countLabels(project)) === 7;
    });
    expect((await project.gateway.journal.summary()).executed).toBe(7);
    expect(await project.database.rows(sql`select key from rowmill_worker.jobs`)).toEqual([]);
    await project.check();
  });

  it("loads nothing that only a permanent worker needs, with --once", async () => {
    const script = `import M from "node:module"; process.on("exit", () => console.error(Object.keys(M._cache).some((file) => file.includes("graphile-worker")) ? "loaded" : "left alone"));`;
    const env = {
      ...project.env,
      NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(script)}`,
    };
    await insertFilms(project, 1);
    const lastWord = async () => {
      const { stderr } = await runCli(["up", "--once"], { cwd: project.folder, env });
      return stderr.trim().split("\n").at(-1);
    };
    // The first one makes the schema of the queue.
    expect(await lastWord()).toBe("loaded");
    expect(await lastWord()).toBe("left alone");
  });

  it("does not send below the threshold with --once", async () => {
    await project.writeConfig(filmsPipeline("when: { rows: 5, maxWait: '24h' }"));
    await insertFilms(project, 4);
    expect((await project.run("up", "--once")).status).toBe(0);
    expect((await project.status()).pipelines).toMatchObject([
      { name: "films", waiting: 4, batched: 0, succeeded: 0, failed: 0, cancelled: 0, gone: 0, paused: null },
    ]);
  });

  it.each([
    ["SIGINT", 130],
    ["SIGTERM", 143],
  ] as const)("stops cleanly at %s with %i, and leaves nothing held", async (signal, status) => {
    const up = project.start("up");
    await up.says("Working.");
    await insertFilms(project, 2);
    await until("2 rows waiting", async () => {
      const [films] = await pipelineOverviews(project.database);
      return films?.waiting === 2;
    });
    up.child.kill(signal);
    const ended = await up.ended;
    expect(ended.status, ended.stderr).toBe(status);
    expect(ended.stderr).toMatch(/Stopping .*\n(.*\n)*Stopped\.\n$/);
    expect(await project.database.rows(sql`select id from rowmill.workers`)).toEqual([]);
    await answerHere(project);
    expect(await countLabels(project)).toBe(2);
  });

  it.skipIf(!hasScript)(`stops cleanly with 129 when its terminal is closed${unlessScript}`, async () => {
    const ended = join(project.folder, "ended");
    // The shell passes the hang-up on, as every shell does, and outlives it to tell how rowmill ended. It waits for a
    // minute at most.
    const command = `trap 'kill -HUP $pid' HUP; timeout -s KILL 60 "${process.execPath}" "${cliScript}" up & pid=$!
      wait $pid; wait $pid; echo $? >${ended}.part; mv ${ended}.part ${ended}`;
    const terminal = spawn(terminalProgram, ["-qefc", command, "/dev/null"], {
      cwd: project.folder,
      env: { PATH: process.env["PATH"], SHELL: "/bin/sh", ...project.env },
      stdio: ["pipe", "pipe", "inherit"],
    });
    let shown = "";
    terminal.stdout.on("data", (chunk: Buffer) => (shown += chunk.toString()));
    try {
      await until("a worker at work", () => Promise.resolve(shown.includes("Working.")));
    } finally {
      terminal.kill("SIGKILL");
    }
    await until("the end", () => Promise.resolve(existsSync(ended)));
    expect(await readFile(ended, "utf8")).toBe("129\n");
    expect(await project.database.rows(sql`select id from rowmill.workers`)).toEqual([]);
  });

  describe("asks at its start also for rows that came since all was compared", () => {
    const config = (where: string) =>
      `films: pipeline({ source: { ...source, where: "${where}" },
        polling, request, answer, target: { table: "film_labels" }, approveAboveUsd: 0 })`;

    async function expectToBeAsked(): Promise<void> {
      const command = `stty cols 200; timeout --foreground -s KILL 60 "${process.execPath}" "${cliScript}" up --until-idle`;
      const terminal = spawn(terminalProgram, ["-qefc", command, "/dev/null"], {
        cwd: project.folder,
        env: { PATH: process.env["PATH"], SHELL: "/bin/sh", ...project.env },
        stdio: ["pipe", "pipe", "inherit"],
      });
      let shown = "";
      terminal.stdout.on("data", (chunk: Buffer) => (shown += chunk.toString()));
      const ended = once(terminal, "close");
      try {
        await until("the question, or work without it", () =>
          Promise.resolve(/Send the rows|waits for approval/.test(shown)),
        );
        expect(shown).toMatch(/films: 3 rows[^]*Send the rows of films\?/);
        terminal.stdin.write("y");
        await ended;
      } finally {
        terminal.kill("SIGKILL");
      }
      expect(shown).toContain("films: 3 succeeded");
      await project.check();
    }

    it.skipIf(!hasScript)(`where there are few${unlessScript}`, async () => {
      await project.writeConfig(config("true"));
      await project.run("up", "--once");
      await insertFilms(project, 3);
      await expectToBeAsked();
    });

    it.skipIf(!hasScript)(`where many others came first${unlessScript}`, async () => {
      await project.writeConfig(config("id < 3"));
      await project.run("up", "--once");
      await project.database.run(
        sql`insert into films select id, 'Another', 'An other film.' from generate_series(10, 12000) id`,
      );
      await insertFilms(project, 3);
      await expectToBeAsked();
    });
  });

  it("works the same on the embedded database", async () => {
    await project.close();
    project = await startCliProject("embedded");
    await createFilms(project);
    await project.writeConfig(filmsPipeline());
    await insertFilms(project, 20);
    const ended = await project.run("up", "--until-idle");
    expect(ended.status, ended.stderr).toBe(0);
    expect(await countLabels(project)).toBe(20);
    await project.check();
  });
});
