/** `rowmill run`: a file in, the same file with answers out. Each line is asked once, whatever happens in between. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdir, readdir, readFile, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { buildCli, cliScript, runCli, startCliProject, type CliProject } from "../support/cli.js";
import { filmLines, QUESTION, readOutput, writeFilms } from "../support/film-file.js";

const LONG_MS = 300_000;
const RUN = ["run", "films.csv", ...QUESTION, "--out", "labelled.csv"] as const;

beforeAll(buildCli, 150_000);

describe("rowmill run", { timeout: LONG_MS }, () => {
  let project: CliProject;
  beforeEach(async () => {
    project = await startCliProject("embedded");
  });
  afterEach(() => project.close());

  const executed = async () => (await project.gateway.journal.summary()).executed;
  const run = async (...args: string[]) => project.run("run", "films.csv", ...args);

  it("writes every line with its answer and every input column as it was, and a second run pays nothing", async () => {
    const lines = filmLines(1_000);
    await writeFilms(project, lines);
    const ended = await project.run(...RUN, "--json");
    expect(ended.status, ended.stderr).toBe(0);
    expect(JSON.parse(ended.stdout)).toMatchObject({ lines: 1_000, answered: 1_000, failed: 0, open: 0 });
    expect(ended.stderr).toContain("Column 1 has no name. It is read as column_1.");
    expect(ended.stderr).toMatch(/films\.csv: 1,000 rows, about .*; estimated \$[\d.]+ \(cap \$/);
    const { text, header, rows } = await readOutput(project);
    expect(header).toEqual(["", "Title", "Description", "categories", "summary"]);
    expect(
      text
        .split("\n")
        .slice(1, -1)
        .every((line, at) => line.startsWith(`${lines[at] ?? ""},`)),
    ).toBe(true);
    expect(rows.every(([, , , categories = "", summary = ""]) => categories.startsWith("[") && summary !== "")).toBe(
      true,
    );
    expect(await executed()).toBe(1_000);
    await project.check();

    const again = await run();
    expect(again.status, again.stderr).toBe(0);
    expect((await readOutput(project)).text).toBe(text);
    expect(await executed()).toBe(1_000);
    expect(await readFile(join(project.folder, ".rowmill/.gitignore"), "utf8")).toBe("*\n");
    expect((await project.run("status")).stdout).toMatch(/films-[0-9a-f]{8} +0 +0 +1,000/);
    expect((await project.run("run", "--list")).stdout).toContain("films.csv: 1,000 answered, 0 failed");
  });

  it("asks changed and new lines, and neither moved nor equal ones; lines that are gone keep their answers", async () => {
    const [first = "", second = "", third = "", ...rest] = filmLines(20);
    await writeFilms(project, [first, second, third, third, ...rest]);
    expect((await project.run(...RUN)).status).toBe(0);
    expect(await executed()).toBe(20);
    const { rows } = await readOutput(project);
    expect(rows[2]).toEqual(rows[3]);

    await writeFilms(project, [...rest.toReversed(), second.replace(/.$/s, ' A heist."'), first]);
    expect((await run()).status).toBe(0);
    expect(await executed()).toBe(21);
    await writeFilms(project, [first, second, third, third, ...rest]);
    expect((await run()).status).toBe(0);
    expect((await readOutput(project)).rows).toEqual(rows);
    expect(await executed()).toBe(21);
    await project.check();
  });

  it("with --key asks a line again when the columns that are asked about change, and not when others do", async () => {
    const lines = filmLines(5);
    await writeFilms(project, lines);
    expect((await project.run(...RUN, "--key", "column_1")).status).toBe(0);
    const [first = "", second = "", ...rest] = lines;
    const retitled = first.replace(/,"[^"]*",/, ',"Another title",');
    await writeFilms(project, [retitled, second.replace(/.$/s, ' A heist."'), ...rest]);
    const ended = await run("--key", "column_1");
    expect(ended.status, ended.stderr).toBe(0);
    expect(await executed()).toBe(6);
    expect((await readOutput(project)).rows[0]?.[1]).toBe("Another title");

    await writeFilms(project, [first, second, ...rest, second.replace(/.$/s, ' A wedding."')]);
    const twice = await run("--key", "column_1");
    expect(twice.status).not.toBe(0);
    expect(twice.stderr).toContain('Lines 3 and 7 of films.csv have the same column_1, "1", and are not equal.');
    expect(await executed()).toBe(6);
    await writeFilms(project, lines);
    expect((await run("--key", "column_1")).status).toBe(0);
  });

  it("writes why a line has no answer, exits with 3, and asks it again with --retry", async () => {
    const lines = filmLines(4);
    await writeFilms(project, [...lines, `4,"Broken","[[demo:error 400]] never"`, "5,too few"]);
    const ended = await project.run(...RUN);
    expect(ended.status, ended.stderr).toBe(3);
    expect(ended.stderr).toContain("6 lines, 4 answered, 2 failed");
    expect(ended.stderr).toContain("rowmill run films.csv --retry");
    const { header, rows } = await readOutput(project);
    expect(header.at(-1)).toBe("error");
    expect(rows.map((row) => row.at(-1) !== "")).toEqual([false, false, false, false, true, true]);
    const asked = await executed();
    expect((await run()).status).toBe(3);
    expect(await executed()).toBe(asked);
    expect((await run("--retry")).status).toBe(3);
    expect(await executed()).toBeGreaterThan(asked);
    await project.check();
  });

  it("asks before a changed prompt costs anything, and asks all lines again with --yes", async () => {
    await writeFilms(project, filmLines(10));
    expect((await project.run(...RUN)).status).toBe(0);
    const { text } = await readOutput(project);
    const wider = await run("--prompt", "Sum up: {{ Title }}: {{ Description }}");
    expect(wider.status).toBe(4);
    expect(wider.stderr).toContain(
      "The prompt now reads Title too, so 10 answered lines of films.csv would be asked again.",
    );
    const changed = await run("--prompt", "Sum up: {{ Description }}");
    expect(changed.status).toBe(4);
    expect(changed.stderr).toContain("films.csv: the config changed. To ask its answered rows again: 10 rows");
    expect(await executed()).toBe(10);
    expect((await readOutput(project)).text).toBe(text);
    const agreed = await run("--yes");
    expect(agreed.status, agreed.stderr).toBe(0);
    expect(await executed()).toBe(20);
    expect((await run("--prompt", "Sum up: {{ Title }}: {{ Description }}", "--yes")).status).toBe(0);
    expect(await executed()).toBe(30);
    await project.check();
  });

  it("says what is missing or wrong in an option, with the columns of the file", async () => {
    await writeFilms(project, filmLines(2));
    const nothing = await run();
    expect(nothing.status).toBe(2);
    expect(nothing.stderr).toContain("Missing options: --prompt, --model, --answer.");
    expect(nothing.stderr).toContain("Description");
    const misspelt = await run("--prompt", "{{ Descriptoin }}", "--model", "gpt-4o-mini", "--answer", "text");
    expect(misspelt.stderr).toContain(
      '--prompt: the template names "Descriptoin", which the file does not have; did you mean "Description"?',
    );
    const noType = await run("--prompt", "{{ Title }}", "--model", "gpt-4o-mini", "--answer", "a:strin");
    expect(noType.stderr).toContain('did you mean "string"?');
    const onItself = await project.run(...RUN.slice(0, -1), "films.csv");
    expect(onItself.stderr).toContain("--out names the file itself");
    expect((await run("--key", "nothing", ...QUESTION)).stderr).toContain('--key: the file has no column "nothing".');
    expect((await project.run("run", "absent.csv")).status).toBe(2);
    const before = "someone's own";
    await writeFile(join(project.folder, "labelled.csv"), before);
    const refused = await project.run(...RUN);
    expect(refused.status).toBe(4);
    expect(refused.stderr).toContain("labelled.csv already exists, and this run did not write it.");
    expect(await readFile(join(project.folder, "labelled.csv"), "utf8")).toBe(before);
    expect(await executed()).toBe(0);
    expect((await project.run(...RUN, "--force")).status).toBe(0);
    expect((await readOutput(project)).rows).toHaveLength(2);
  });

  it("finds out that the output cannot be written before anything is paid", async () => {
    await writeFilms(project, filmLines(2));
    const inNoFolder = await run(...QUESTION, "--out", "absent/labelled.csv");
    expect(inNoFolder.status).toBe(4);
    expect(inNoFolder.stderr).toContain("cannot be written: its folder does not exist.");
    expect((await run(...QUESTION, "--out", ".", "--force")).stderr).toContain("is a folder. Name a file in it.");
    await symlink("films.csv", join(project.folder, "link.csv"));
    const linked = await run(...QUESTION, "--out", "link.csv", "--force");
    expect(linked.stderr).toContain("is the input. The output must be another file.");
    expect(await executed()).toBe(0);
  });

  it("does not export over a file that was run", async () => {
    await writeFilms(project, filmLines(2));
    expect((await project.run(...RUN)).status).toBe(0);
    const { runs } = JSON.parse((await project.run("run", "--list", "--json")).stdout) as { runs: { name: string }[] };
    const before = await readFile(join(project.folder, "films.csv"), "utf8");
    const over = await project.run("export", runs[0]?.name ?? "", "--out", "films.csv");
    expect(over.stderr).toContain("films.csv is the input. The output must be another file.");
    expect(await readFile(join(project.folder, "films.csv"), "utf8")).toBe(before);
    expect((await project.run("export", runs[0]?.name ?? "", "--out", "exported.csv")).status).toBe(0);
  });

  it("writes the format that the output's name says, and names an output by its format and question", async () => {
    await writeFilms(project, filmLines(2));
    expect((await run(...QUESTION, "--format", "jsonl")).status).toBe(0);
    expect(await readFile(join(project.folder, "films.answers.jsonl"), "utf8")).toMatch(/^\{"column_1":"0",/);
    expect((await run("--out", "labelled.csv")).status).toBe(0);
    expect((await readOutput(project)).rows).toHaveLength(2);
    expect((await run(...QUESTION, "--name", "second")).status).toBe(0);
    expect((await readOutput(project, "films.second.answers.csv")).rows).toHaveLength(2);
  });

  it("forgets only the file that was named where two have one name", async () => {
    const state = { XDG_STATE_HOME: join(project.folder, "state") };
    const at = (args: readonly string[]) => runCli(args, { cwd: project.folder, env: { ...project.env, ...state } });
    for (const folder of ["one", "two"]) {
      await mkdir(join(project.folder, folder));
      await writeFilms(project, filmLines(1), `${folder}/films.csv`);
      expect((await at(["run", `${folder}/films.csv`, ...QUESTION, "--global"])).status).toBe(0);
    }
    expect((await at(["run", "films.csv", "--global", "--forget", "--yes"])).stderr).toContain(
      "2 files are called films.csv: one/films.csv, two/films.csv.",
    );
    expect((await at(["run", "one/films.csv", "--global", "--forget", "--yes"])).status).toBe(0);
    expect((await at(["run", "--list", "--global"])).stdout).toContain("two/films.csv: 1 answered");
  });

  it("asks only the first lines with --limit, and the others later", async () => {
    await writeFilms(project, filmLines(10));
    expect((await project.run(...RUN, "--limit", "3")).status).toBe(0);
    expect((await readOutput(project)).rows).toHaveLength(3);
    expect(await executed()).toBe(3);
    expect((await run()).status).toBe(0);
    expect((await readOutput(project)).rows).toHaveLength(10);
    expect(await executed()).toBe(10);
  });

  it("takes a file from a pipe, gives its output to stdout, and knows the same bytes again", async () => {
    const { folder, env } = project;
    await writeFilms(project, filmLines(3));
    const pipe = `cat films.csv | ${process.execPath} ${cliScript} run - "$@"`;
    const piped = async () => {
      const child = spawn("sh", ["-c", pipe, "sh", ...QUESTION], { cwd: folder, env: { ...process.env, ...env } });
      let stdout = "";
      child.stdout.on("data", (chunk: Buffer) => (stdout += chunk.toString()));
      const [status]: unknown[] = await once(child, "close");
      return { status, stdout };
    };
    const first = await piped();
    expect(first.status).toBe(0);
    expect(first.stdout.split("\n")).toHaveLength(5);
    expect((await piped()).stdout).toBe(first.stdout);
    expect(await executed()).toBe(3);
    expect(await readdir(folder)).not.toContain("-");
  });

  it("uses request and answer of a pipeline of the config with --pipeline", async () => {
    await writeFilms(project, filmLines(3));
    await writeFile(
      join(project.folder, "rowmill.config.mjs"),
      `import { defineConfig, pipeline, z } from "rowmill";
       export default defineConfig({ database: "embedded", pipelines: { films: pipeline({
         source: { table: "films", key: "id", columns: ["Title"] },
         request: { model: "gpt-4o-mini", user: (row) => "Name a mood for " + row.Title },
         answer: z.object({ mood: z.string() }), target: { table: "moods" } }) } });`,
    );
    const ended = await run("--pipeline", "films", "--out", "moods.csv");
    expect(ended.status, ended.stderr).toBe(0);
    expect((await readOutput(project, "moods.csv")).header).toEqual(["", "Title", "Description", "mood"]);
    expect((await run("--pipeline", "film")).stderr).toContain('did you mean "films"?');
  });

  it("forgets a file on request, and asks its lines again after that", async () => {
    await writeFilms(project, filmLines(3));
    await writeFilms(project, filmLines(2), "others.csv");
    expect((await project.run(...RUN)).status).toBe(0);
    expect((await project.run("run", "others.csv", ...QUESTION)).status).toBe(0);
    expect(existsSync(join(project.folder, "others.answers.csv"))).toBe(true);
    const unasked = await run("--forget");
    expect(unasked.status).toBe(4);
    expect((await run("--forget", "--yes")).stdout).toContain("Forgot 1 run of films.csv.");
    expect((await project.run("run", "--list")).stdout).not.toContain("films.csv");
    await project.check();
    expect((await project.run(...RUN, "--force")).status).toBe(0);
    expect(await executed()).toBe(8);
    expect((await project.run("run", "others.csv")).status).toBe(0);
    expect(await executed()).toBe(8);
  });

  it("shows some answers first with --try, and does not pay for them again", async () => {
    await writeFilms(project, filmLines(6));
    const tried = await project.run(...RUN, "--try", "2");
    expect(tried.status, tried.stderr).toBe(0);
    expect(tried.stdout).toContain("summary");
    expect(existsSync(join(project.folder, "labelled.csv"))).toBe(false);
    expect((await run("--try", "2", "--yes")).status).toBe(0);
    expect(await executed()).toBe(4);
  });

  it("takes the answers of a try before, and mixes nothing into an output on stdout", async () => {
    await writeFilms(project, filmLines(6));
    const mixed = await run(...QUESTION, "--out", "-", "--try", "2");
    expect(mixed.status).toBe(2);
    expect(mixed.stderr).toContain("--try prints to stdout, where the output goes.");
    expect((await project.run(...RUN, "--try", "2")).status).toBe(0);
    const ended = await run();
    expect(ended.status, ended.stderr).toBe(0);
    expect(ended.stderr).toContain("2 answers of the previous try used at no further cost");
    expect(await executed()).toBe(4);
    expect((await readOutput(project)).rows.every((row) => row[4] !== "")).toBe(true);
    expect((await run("--columns", "Title")).stderr).toContain("--columns is for a prompt that names no columns");
    await project.check();
  });
});

describe("rowmill run, interrupted", { timeout: LONG_MS }, () => {
  let project: CliProject;
  let held = true;
  beforeEach(async () => {
    held = true;
    const faults = { hold: () => held };
    project = await startCliProject("embedded", { run: runCli, gateway: { faults } });
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
