import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdir, readFile, symlink, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { GatewayFaults } from "../../src/gateway/engine/faults.js";
import { sql } from "../../src/postgres/database.js";
import {
  buildCli,
  cliScript,
  filmsPipeline,
  runCommand,
  serverKind,
  startCli,
  startCliProject,
  until,
  type CliProject,
} from "../support/cli.js";
import { countLabels, createFilms, insertFilms } from "../support/cli-films.js";

const repository = resolve(import.meta.dirname, "../..");
const terminalProgram = "script";
const scriptMissingBecause = String(spawnSync(terminalProgram, ["--version"]).stdout).includes("util-linux")
  ? null
  : "script of util-linux is not installed, which gives a program a terminal";
const LEAVES_SCREEN = "\u001b[?7h\u001b[?25h\u001b[?1049l";

beforeAll(buildCli, 150_000);

describe("Watching", { timeout: 120_000 }, () => {
  let project: CliProject;
  let isHeld = false;
  let deletes = true;
  beforeEach(async () => {
    isHeld = false;
    deletes = true;
    const faults: Partial<GatewayFaults> = {
      hold: ({ status }) => isHeld && status === "in_progress",
      beforeEffect: ({ method }) =>
        deletes || method !== "DELETE"
          ? undefined
          : { kind: "reply", status: 400, body: { error: { message: "not now" } } },
    };
    project = await startCliProject(serverKind, { gateway: { faults } });
    await createFilms(project);
    await project.writeConfig(filmsPipeline());
  });
  afterEach(() => project.close());

  const two = () =>
    project.writeConfig(
      `${filmsPipeline()}, others: pipeline({ source, polling, request, answer, target: { table: "other_labels" } })`,
    );
  const filesAtProvider = async (): Promise<number> => {
    const reply = await fetch(`${project.gateway.url}/files`, {
      headers: { authorization: `Bearer ${project.env["OPENAI_API_KEY"] ?? ""}` },
    });
    const { data }: { data: unknown[] } = JSON.parse(await reply.text());
    return data.length;
  };

  it("up reports each finished batch and where the answers are, and leaves no file at the provider", async () => {
    await insertFilms(project, 30);
    await project.database.run(sql`update films set description = '[[demo:error 400]] never' where id = 2`);
    const ended = await project.run("up", "--until-idle");
    expect(ended.status, ended.stderr).toBe(3);
    expect(ended.stderr).toMatch(
      /^films: batch [0-9a-f]{8} is done: 29 rows succeeded, 1 failed; \$0\.\d+; took \d+ s$/m,
    );
    expect(ended.stderr).toMatch(
      /^films: 29 succeeded, 1 failed; \$0\.\d+ spent so far\n {2}Answers: select \* from film_labels limit 10;\n/m,
    );
    expect(await filesAtProvider()).toBe(0);
    await project.check();
  });

  it("up --until-idle says which files at the provider are left, and the next one deletes them", async () => {
    await insertFilms(project, 3);
    deletes = false;
    const first = await project.run("up", "--until-idle", "--log-level", "error");
    expect(first.status, first.stderr).toBe(0);
    expect(first.stderr).toMatch(
      /^The files of 1 batch at the provider could not be deleted yet\. The next rowmill up deletes them\.$/m,
    );
    expect(await filesAtProvider()).toBe(2);
    deletes = true;
    const second = await project.run("up", "--until-idle");
    expect(second.status, second.stderr).toBe(0);
    expect(second.stderr).not.toContain("could not be deleted");
    expect(await filesAtProvider()).toBe(0);
  });

  it("status and up say of a batch that someone cancels that it is canceling, and then what became of it", async () => {
    await insertFilms(project, 3);
    isHeld = true;
    const up = project.start("up", "--yes");
    await up.says("Working.");
    await project.run("flush", "films");
    const batch = async () => (await project.status()).batches[0];
    await until("the batch at the provider", async () => (await batch())?.state === "running");
    expect(await batch()).toMatchObject({ cancelWanted: false });
    expect((await project.run("status")).stdout).toMatch(
      /^films [0-9a-f]{8}: (?:validating|in_progress) at openai(?:, 0 of 3 done)?; sent (?:just now|\d+ s ago)$/m,
    );
    // Under a pause of the account, the provider is not asked to cancel it.
    await project.database.run(
      sql`update rowmill.pipelines set pause_kind = 'account', pause_reason = 'Wrong key.', paused_at = now()`,
    );
    expect((await project.run("cancel", "films", "--yes")).status).toBe(0);
    expect(await batch()).toMatchObject({ state: "running", cancelWanted: true });
    const { stdout } = await project.run("status");
    expect(stdout).toMatch(/^[0-9a-f]{8} {2}films {5}canceling +3 /m);
    expect(stdout).toMatch(/^films [0-9a-f]{8}: canceling for (?:now|\d+ s); (?:validating|in_progress) at openai/m);
    expect(stdout).toContain("films: paused: Wrong key. To try now: rowmill resume films\n");
    expect((await project.run("resume", "films")).status).toBe(0);
    await up.says(" was canceled: ");
    expect(up.stderr()).toMatch(
      /^films: batch [0-9a-f]{8} was canceled: 0 rows succeeded, 0 failed, 3 wait again; \$0\.00; took \d+ s$/m,
    );
    expect((await project.run("status")).stdout).toMatch(/^[0-9a-f]{8} {2}films {5}canceled +3 /m);
    await project.check();
  });

  it("status and flush name the limit or the budget that keeps waiting rows from the next batch", async () => {
    await insertFilms(project, 5);
    await project.writeConfig(filmsPipeline("limit: 3"));
    expect((await project.run("up", "--until-idle")).status).toBe(0);
    const limited =
      "films: its limit is reached (limit: 3), so the other rows are not sent. To send more, raise " +
      "pipelines.films.limit and restart rowmill up\n";
    expect((await project.run("status")).stdout).toContain(`\n${limited}`);
    expect((await project.run("flush")).stdout).toContain(
      "2 waiting rows will be sent once this is resolved: its limit",
    );

    isHeld = true;
    await project.writeConfig(filmsPipeline("limit: 4"));
    const up = project.start("up", "--yes");
    await until("the fourth row at the provider", async () => (await project.status()).batches[1]?.state === "running");
    const nanoUsd = await project.database.number(sql`
      select sum(cost_nano_usd + reserved_nano_usd)::float8 as "nanoUsd" from rowmill.batches`);
    up.child.kill("SIGTERM");
    await up.ended;
    await project.writeConfig(filmsPipeline(`budget: { usd: ${nanoUsd / 1e9}, per: "total" }`));
    const { stdout } = await project.run("status");
    expect(stdout).toMatch(
      /^films: the budget of \$0\.\d+ in total has no room for all waiting rows now: \$0\.\d+ spent, /m,
    );
    expect((await project.status()).pipelines[0]).toMatchObject({ heldBack: expect.stringContaining("in total") });
    await project.check();
  });

  it("a connection that fails explains an unquoted # in .env, and shows nothing of the password", async () => {
    const hint =
      `  Hint: In ${join(project.folder, ".env")} the value of DATABASE_URL ends at its first #, because it has no ` +
      "quotes. Put the value in double quotes, and write a # of the password as %23.\n";
    const status = async (url: string) => {
      await writeFile(join(project.folder, ".env"), `DATABASE_URL=${url}\n`);
      return project.run("status");
    };
    Object.assign(project.env, { DATABASE_URL: undefined });
    const file = join(project.folder, "rowmill.config.mjs");
    expect(await status("postgres://app:9#s3cret@127.0.0.1:5432/app")).toEqual({
      status: 2,
      stdout: "",
      stderr: `rowmill: ${file}: DATABASE_URL has no host after the user and password, because it is cut off.\n` + hint,
    });
    const inQuery = await status("postgres://app@127.0.0.1:9/app?password=secret9#s3cret");
    expect(inQuery).toMatchObject({ status: 1, stdout: "" });
    expect(inQuery.stderr).toContain("connect ECONNREFUSED 127.0.0.1:9");
    expect(inQuery.stderr).toContain(hint);
    expect(inQuery.stderr).not.toContain("secret9");
  });

  it("up with names works on these pipelines and leaves the others alone", async () => {
    await two();
    await insertFilms(project, 3);
    const ended = await project.run("up", "films", "--until-idle");
    expect(ended.status, ended.stderr).toBe(0);
    expect(ended.stderr).not.toContain("others");
    expect((await project.status()).pipelines.map(({ name }) => name)).toEqual(["films"]);
    expect((await project.run("up", "--until-idle")).status).toBe(0);
    await insertFilms(project, 2, 4);
    const later = await project.run("up", "--until-idle", "others");
    expect(later.status, later.stderr).toBe(0);
    expect(later.stderr).not.toContain("films");
    expect((await project.status()).pipelines).toMatchObject([
      { name: "films", succeeded: 3 },
      { name: "others", succeeded: 5 },
    ]);
    const unknown = await project.run("up", "film");
    expect(unknown).toEqual({
      status: 2,
      stdout: "",
      stderr: `rowmill: There is no pipeline "film" in ${join(project.folder, "rowmill.config.mjs")}; did you mean "films"?
  Hint: There are: films, others.
  Hint: To set up new pipelines of the config: rowmill up
`,
    });
    await project.check();
  });

  it("up --log-format json writes nothing but records with dates in UTC to stderr", async () => {
    await insertFilms(project, 3);
    const ended = await project.run("up", "--until-idle", "--log-format", "json", "--log-level", "debug");
    expect(ended).toMatchObject({ status: 0, stdout: "" });
    const records = ended.stderr
      .trimEnd()
      .split("\n")
      .map((line): { level: string; time: string; msg: string } => JSON.parse(line));
    for (const { level, time, msg } of records) {
      expect(["debug", "info", "warn", "error"]).toContain(level);
      expect(new Date(time).toISOString()).toBe(time);
      expect(msg).not.toMatch(/^[✓!✗]/);
    }
    expect(records.map(({ msg }) => msg).join("\n")).toMatch(/^films: batch .* is done: 3 rows succeeded, 0 failed; /m);
    const wrong = await project.run("up", "nothing", "--log-format", "json");
    expect(JSON.parse(wrong.stderr.split("\n")[0] ?? "")).toMatchObject({
      level: "error",
      msg: expect.stringMatching(/^There is no pipeline "nothing" in /),
    });
  });

  it("dates the lines of a log", async () => {
    await insertFilms(project, 1);
    const ended = await project.run("up", "--until-idle", "--log-level", "info");
    expect(ended.stderr).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z info: batch planned /m);
  });

  it("notices in log and status that the config is edited while up runs, and that it is as it was again", async () => {
    const file = join(project.folder, "rowmill.config.mjs");
    const before = await readFile(file, "utf8");
    const up = project.start("up");
    await up.says("Working.");
    await writeFile(file, before.slice(0, 60));
    await writeFile(file, `${before}// edited\n`);
    await up.says("The config changed at ");
    expect(up.stderr()).toMatch(/^The config changed at [\d-]+ [\d:]+ UTC\. Restart rowmill up to apply it\.$/m);
    const changed = async () => (await project.run("status")).stdout;
    await until("the change in status", async () =>
      /^The config changed at [\d-]+ [\d:]+ UTC; process \d+ on \S+ still uses the previous one\. Restart it to apply the change: rowmill up$/m.test(
        await changed(),
      ),
    );
    await writeFile(file, before);
    await up.says("The config is again as this worker read it.");
    await until("the end of the change", async () => !(await changed()).includes("The config changed"));
  });

  it("status names a provider that cannot be reached, with the last error and since when", async () => {
    await insertFilms(project, 3);
    const env = { ...project.env, OPENAI_BASE_URL: "http://127.0.0.1:9/v1" };
    const up = startCli(["up", "--yes", "--log-level", "silent"], { cwd: project.folder, env });
    try {
      await up.says("Working.");
      await project.run("flush", "films");
      const status = async () => (await runCommand(["status"], { cwd: project.folder, env })).stdout;
      await until("the trouble in status", async () => / tries in a row failed, for /.test(await status()));
      expect(await status()).toMatch(
        /^films [0-9a-f]{8} is uploading\. \d+ tries in a row failed, for [^:]+: .*127\.0\.0\.1:9.* (?:Next try in .*|The next try is due)\.$/m,
      );
      const { stdout } = await runCommand(["status", "--json"], { cwd: project.folder, env });
      const { batches }: { batches: unknown[] } = JSON.parse(stdout);
      expect(batches).toMatchObject([
        {
          state: "uploading",
          since: expect.stringMatching(/Z$/),
          sentAt: null,
          usualMs: null,
          providerStatus: null,
          providerCounts: null,
          trouble: {
            message: expect.stringContaining("127.0.0.1:9"),
            since: expect.stringMatching(/Z$/),
            tries: expect.any(Number),
          },
        },
      ]);
    } finally {
      up.child.kill("SIGTERM");
      await up.ended;
    }
  });

  it.each([1, 2])("status --watch --json ends when its reader has taken %i lines", async (many) => {
    await insertFilms(project, 1);
    expect((await project.run("up", "--until-idle")).status).toBe(0);
    const env = { ...project.env, PATH: process.env["PATH"], NODE: process.execPath, CLI: cliScript };
    const shell = spawn("sh", ["-c", `"$NODE" "$CLI" status --watch --json | head -n ${many}`], {
      cwd: project.folder,
      env,
    });
    let text = "";
    shell.stdout.on("data", (chunk: Buffer) => (text += String(chunk)));
    const [status] = await once(shell, "close");
    expect(status).toBe(0);
    const lines = text.trimEnd().split("\n");
    expect(lines).toHaveLength(many);
    for (const line of lines) expect(JSON.parse(line)).toMatchObject({ pipelines: [{ name: "films" }] });
  });

  it("status --watch gives the terminal back at SIGTERM, and draws no line beyond it", async ({ skip }) => {
    if (scriptMissingBecause !== null) skip(scriptMissingBecause);
    expect((await project.run("up", "--once")).status).toBe(0);
    const command = `stty cols 60 rows 20; exec "$NODE" "$CLI" status --watch`;
    const shell = spawn(terminalProgram, ["-qfec", command, "/dev/null"], {
      cwd: project.folder,
      env: { ...project.env, PATH: process.env["PATH"], TERM: "xterm", NODE: process.execPath, CLI: cliScript },
    });
    let text = "";
    shell.stdout.on("data", (chunk: Buffer) => (text += String(chunk)));
    await until("a second frame", () => Promise.resolve(text.split("\u001b[H").length > 2));
    const processes = String(spawnSync("ps", ["-A", "-o", "pid=,ppid="]).stdout).split("\n");
    const [child = ""] = processes.flatMap((line) => {
      const [pid = "", parent] = line.trim().split(/\s+/);
      return parent === String(shell.pid) ? [pid] : [];
    });
    process.kill(Number(child), "SIGTERM");
    await once(shell, "close");
    expect(text).toContain("\u001b[?1049h\u001b[?25l\u001b[?7l");
    expect(text.slice(text.indexOf(LEAVES_SCREEN))).not.toContain("\u001b[H");
    expect(text.slice(text.lastIndexOf(LEAVES_SCREEN))).toMatch(/Stopped\.\s*$/);
    const [, frame = ""] = text.split("\u001b[H");
    expect(frame.split("\n").length).toBeLessThanOrEqual(20);
  });

  it.each(["SIGTERM", "SIGKILL"] as const)(
    "a worker that npm started stops cleanly when npm ends by %s",
    async (signal) => {
      const bin = join(project.folder, "node_modules/.bin");
      await mkdir(bin, { recursive: true });
      await symlink(repository, join(project.folder, "node_modules/rowmill"), "dir");
      // As npm would link it, which also makes it executable.
      const start = `#!/bin/sh\nexec "${process.execPath}" ../node_modules/rowmill/dist/cli/main.js "$@"\n`;
      await writeFile(join(bin, "rowmill"), start.replace("../", `${project.folder}/`), { mode: 0o755 });
      await writeFile(join(project.folder, "package.json"), '{ "name": "films", "private": true }');
      const npm = spawn("npm", ["exec", "--offline", "--", "rowmill", "up"], {
        cwd: project.folder,
        env: { ...project.env, PATH: process.env["PATH"], HOME: process.env["HOME"] },
        stdio: ["ignore", "ignore", "pipe"],
      });
      let said = "";
      npm.stderr.on("data", (chunk: Buffer) => (said += String(chunk)));
      const workers = async () => (await project.status()).workers.map(({ pid }) => pid);
      await until("the worker", async () => said.includes("Working.") && (await workers()).length === 1);
      const [pid = 0] = await workers();
      expect(pid).not.toBe(npm.pid);
      npm.kill(signal);
      await until("the worker's end", async () => (await workers()).length === 0 && !isAlive(pid));
    },
  );

  function isAlive(pid: number): boolean {
    try {
      return process.kill(pid, 0);
    } catch {
      return false;
    }
  }

  it("counts nothing of this against the ledger", async () => {
    await insertFilms(project, 5);
    expect((await project.run("up", "--until-idle")).status).toBe(0);
    expect(await countLabels(project)).toBe(5);
    await project.check();
  });
});
