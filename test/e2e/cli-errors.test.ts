import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeAll, beforeEach, describe, expect, inject, it } from "vitest";
import { sql } from "../../src/postgres/database.js";
import {
  buildCli,
  filmsPipeline,
  runCommand,
  serverKind,
  startCli,
  startCliProject,
  type CliProject,
} from "../support/cli.js";
import { createFilms, insertFilms } from "../support/cli-films.js";

beforeAll(buildCli, 150_000);

describe("A key over plain http", { timeout: 60_000 }, () => {
  it("is sent to no other machine: up and doctor say what to do, and a sweep, which sends nothing, is made", async () => {
    const project = await startCliProject(serverKind);
    try {
      await createFilms(project);
      await insertFilms(project, 1);
      await project.writeConfig(filmsPipeline());
      await project.run("up", "--once");
      // An address for documentation, which never answers.
      const at = { cwd: project.folder, env: { ...project.env, OPENAI_BASE_URL: "http://192.0.2.1:9/v1" } };
      const words = "OPENAI_BASE_URL uses plain http to 192.0.2.1:9: anyone on the network could read the API key";
      const up = await runCommand(["up", "--once"], at);
      expect(up).toMatchObject({ status: 2, stderr: expect.stringContaining(words) });
      expect(up.stderr).toContain("set ROWMILL_ALLOW_HTTP=1");
      const doctor = await runCommand(["doctor"], at);
      expect(doctor).toMatchObject({ status: 2, stdout: expect.stringContaining(`Key: ${words}`) });
      expect(await runCommand(["sweep"], at)).toMatchObject({ status: 0 });
    } finally {
      await project.close();
    }
  });
});

describe("The command line", { timeout: 60_000 }, () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(inject("runFolder"), "cli-errors-"));
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  const rowmill = (...args: string[]) => runCommand(args, { cwd: folder, env: {} });

  it("names the command that was probably meant", async () => {
    expect(await rowmill("stauts")).toEqual({
      status: 2,
      stdout: "",
      stderr:
        "rowmill: unknown command 'stauts'\n  Hint: Did you mean status?\n  Hint: See all commands: rowmill --help\n  Hint: See the options of one: rowmill help COMMAND\n",
    });
  });

  it("refuses unknown options, options that exclude each other, and superfluous arguments", async () => {
    expect((await rowmill("up", "--untilidle")).stderr).toContain("  Hint: Did you mean --until-idle?\n");
    const both = await rowmill("up", "--once", "--until-idle");
    expect(both).toMatchObject({ status: 2, stderr: expect.stringContaining("cannot be used with option") });
    expect((await rowmill("status", "movies")).status).toBe(2);
    expect((await rowmill("gateway", "--port", "many")).stderr).toContain("A port is a whole number from 0 to 65535.");
  });

  it("shows every command in its help", async () => {
    const help = await rowmill("--help");
    expect(help).toMatchObject({ status: 0, stderr: "" });
    for (const command of [
      "up",
      "status",
      "show",
      "flush",
      "sweep",
      "pause",
      "resume",
      "approve",
      "uninstall",
      "gateway",
      "demo",
    ])
      expect(help.stdout).toMatch(new RegExp(`^  ${command}\\b`, "m"));
  });

  it("says where it looked for a config", async () => {
    const ended = await rowmill("status");
    expect(ended.status).toBe(2);
    expect(ended.stderr).toMatch(/^rowmill: There is no config in .* \(looked for rowmill\.config\.ts, /);
  });

  it("reports every mistake of a config at once", async () => {
    const file = join(folder, "rowmill.config.ts");
    await writeFile(
      file,
      `import { defineConfig, pipeline } from "rowmill";
       export default defineConfig({ database: "embedded", pipelines: { films: pipeline({
         source: { table: "films", key: "id", columns: ["title"] }, when: { maxwait: "10m" },
         request: { model: "gpt-4o-mini", user: "{{ titel }}" }, target: { table: "labels" } } as never) } });`,
    );
    expect(await rowmill("up", "--until-idle")).toEqual({
      status: 2,
      stdout: "",
      stderr: `rowmill: ${file}: 2 mistakes
  pipelines.films.when.maxwait: unknown key (known here: rows, maxWait); did you mean "maxWait"?
  pipelines.films.request.user: the template names "titel", which is not a declared column; did you mean "title"?
`,
    });
    expect(await readdir(folder)).toEqual(["rowmill.config.ts"]);
  });

  it("does not take a missing DATABASE_URL for an empty database", async () => {
    const file = join(folder, "rowmill.config.ts");
    await writeFile(
      file,
      `import { defineConfig, pipeline } from "rowmill";
       export default defineConfig({ database: process.env.DATABASE_URL, pipelines: { films: pipeline({
         source: { table: "films", key: "id", columns: ["title"] },
         request: { model: "gpt-4o-mini", user: "{{ title }}" }, target: { table: "labels" } }) } });`,
    );
    for (const command of [["up"], ["status"]]) {
      expect(await rowmill(...command)).toEqual({
        status: 2,
        stdout: "",
        stderr: `rowmill: ${file}: one mistake
  database: found nothing (and DATABASE_URL is not set), expected a URL such as "postgres://user@host:5432/database", or "embedded", here or in DATABASE_URL
`,
      });
    }
  });

  it.each([
    ["SIGINT", 130],
    ["SIGTERM", 143],
    ["SIGHUP", 129],
  ] as const)("ends with one message at %s before it works, with %i", async (signal, status) => {
    await writeFile(
      join(folder, "rowmill.config.ts"),
      `console.error("The config is run."); await new Promise((resolve) => setTimeout(resolve, 25_000));`,
    );
    const up = startCli(["up"], { cwd: folder, env: {} });
    try {
      await up.says("The config is run.");
    } finally {
      up.child.kill(signal);
    }
    expect(await up.ended).toEqual({ status, stdout: "", stderr: "The config is run.\nStopped.\n" });
  });

  it("never shows the password of a database that cannot be reached", async () => {
    await writeFile(
      join(folder, "rowmill.config.ts"),
      `import { defineConfig, pipeline } from "rowmill";
       export default defineConfig({ database: process.env.DATABASE_URL, pipelines: { films: pipeline({
         source: { table: "films", key: "id", columns: ["title"] },
         request: { model: "gpt-4o-mini", user: "{{ title }}" }, target: { table: "labels" } }) } });`,
    );
    const env = {
      DATABASE_URL: "postgres://somebody:a-long-password@127.0.0.1:1/nowhere",
      PGSSLMODE: "disable",
    };
    const ended = await runCommand(["status", "--log-level", "debug"], { cwd: folder, env });
    expect(ended.status).toBe(1);
    expect(ended.stderr).toContain("rowmill: Cannot use 127.0.0.1:1/nowhere.");
    expect(ended.stderr).toContain("    at ");
    expect(ended.stderr).not.toContain("a-long-password");
  });
});

describe("Commands before the first up", { timeout: 60_000 }, () => {
  let project: CliProject;
  beforeEach(async () => {
    project = await startCliProject(serverKind);
    await createFilms(project);
    await project.writeConfig(filmsPipeline());
  });
  afterEach(() => project.close());

  it("report that nothing is set up, and set nothing up", async () => {
    expect(await project.status()).toEqual({
      pipelines: [],
      batches: [],
      workers: [],
      overdue: [],
      waits: [],
      refusedPushes: [],
      syncs: [],
      providers: [],
    });
    for (const command of ["status", "flush", "sweep"]) {
      const ended = await project.run(command);
      expect(ended.status, command).toBe(2);
      expect(ended.stderr).toContain("Rowmill is not set up in this database yet");
      expect(ended.stderr).toContain("rowmill up");
    }
    const schemas = await project.database.rows(sql`select nspname from pg_namespace where nspname like 'rowmill%'`);
    expect(schemas).toEqual([]);
  });

  it("have nothing to uninstall, and say so", async () => {
    expect(await project.run("uninstall")).toEqual({
      status: 0,
      stdout: "Rowmill is not set up in this database: there is nothing to remove.\n",
      stderr: "",
    });
  });

  it("create no embedded database when they look for one, nor when up lacks its key", async () => {
    const env = { ...project.env, DATABASE_URL: "embedded" };
    const ended = await runCommand(["status", "--json"], { cwd: project.folder, env });
    expect(ended).toMatchObject({
      status: 0,
      stdout:
        '{"pipelines":[],"batches":[],"workers":[],"overdue":[],"waits":[],"refusedPushes":[],"syncs":[],"providers":[]}\n',
    });
    expect((await runCommand(["uninstall"], { cwd: project.folder, env })).status).toBe(0);
    const keyless = { cwd: project.folder, env: { ...env, OPENAI_API_KEY: undefined } };
    const up = await runCommand(["up", "--until-idle"], keyless);
    expect(up.status).toBe(2);
    expect(up.stderr).toMatch(/^rowmill: OPENAI_API_KEY is not set/);
    expect(await readdir(project.folder)).not.toContain(".rowmill");
  });

  it("leave nothing of the first pipeline when up refuses the second one", async () => {
    await project.writeConfig(
      `${filmsPipeline()}, others: pipeline({ source, polling, request, answer, target: { table: "notes" } })`,
    );
    await project.database.run(sql`create table notes (id bigint)`);
    const refused = await project.run("up", "--until-idle");
    expect(refused).toMatchObject({
      status: 2,
      stderr: expect.stringContaining("rowmill: pipelines.others: target: the table notes exists, but has no"),
    });
    const made = sql`select nspname::text as name from pg_namespace where nspname like 'rowmill%'
      union select tablename::text from pg_tables where tablename = 'film_labels'`;
    expect(await project.database.rows(made)).toEqual([]);
  });

  it("name the pipeline that was probably meant", async () => {
    expect((await project.run("up", "--once")).status).toBe(0);
    const env = { ...project.env, OPENAI_API_KEY: undefined };
    const ended = await runCommand(["pause", "flims"], { cwd: project.folder, env });
    expect(ended.status).toBe(2);
    expect(ended.stderr).toContain('rowmill: There is no pipeline "flims" in this database; did you mean "films"?');
  });

  it("end without an error when their reader has gone", async () => {
    await insertFilms(project, 3);
    const up = project.start("up", "--until-idle");
    up.child.stdout?.destroy();
    up.child.stderr?.destroy();
    expect((await up.ended).status).toBe(0);
    const running = project.start("show", "films", "1");
    running.child.stdout?.destroy();
    expect(await running.ended).toMatchObject({ status: 0, stdout: "", stderr: "" });
  });
});
