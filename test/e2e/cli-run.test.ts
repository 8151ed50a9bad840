/** `rowmill run`: a file in, the same file with answers out. Each line is asked once, whatever happens in between. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdir, readdir, readFile, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import {
  buildCli,
  cliScript,
  linkSharedDatabase,
  runCommand,
  startCliProject,
  type CliProject,
} from "../support/cli.js";
import { raw } from "../../src/postgres/database.js";
import { filmLines, QUESTION, readOutput, writeFilms } from "../support/film-file.js";

const LONG_MS = 300_000;
const RUN = ["run", "films.csv", ...QUESTION, "--out", "labelled.csv"] as const;

beforeAll(buildCli, 150_000);

describe("rowmill run", { timeout: LONG_MS }, () => {
  let project: CliProject;
  beforeEach(async () => {
    project = await startCliProject("embedded", { prepared: true });
  });
  afterEach(() => project.close());

  const executed = async () => (await project.gateway.journal.summary()).executed;
  const run = async (...args: string[]) => project.run("run", "films.csv", ...args);

  it("makes its database where there is none", async () => {
    await mkdir(join(project.folder, "fresh"));
    await writeFilms(project, filmLines(2), "fresh/films.csv");
    const ended = await project.run("run", "fresh/films.csv", ...QUESTION);
    expect(ended.status, ended.stderr).toBe(0);
    expect((await readOutput(project, "fresh/films.answers.csv")).rows).toHaveLength(2);
    expect(await readFile(join(project.folder, "fresh/.rowmill/.gitignore"), "utf8")).toBe("*\n");
  });

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
    expect((await project.run("status")).stdout).toMatch(/^films\.csv +0 +0 +1,000/m);
    expect((await project.run("run", "--list")).stdout).toContain("films.csv: 1,000 answered, 0 failed");

    // No export over a file that was run.
    const { runs } = JSON.parse((await project.run("run", "--list", "--json")).stdout) as { runs: { name: string }[] };
    const before = await readFile(join(project.folder, "films.csv"), "utf8");
    const over = await project.run("export", runs[0]?.name ?? "", "--out", "films.csv");
    expect(over.stderr).toContain("films.csv is the input. The output must be another file.");
    expect(await readFile(join(project.folder, "films.csv"), "utf8")).toBe(before);
    expect((await project.run("export", "films.csv", "--out", "exported.csv")).status).toBe(0);
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

  it("with --key sends a line again when the columns that are asked about change, and not when others do", async () => {
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

  it("writes why a line has no answer, exits with 3, and sends it again with --retry", async () => {
    const lines = filmLines(4);
    await writeFilms(project, [...lines, `4,"Broken","[[demo:error 400]] never"`, "5,too few"]);
    const ended = await project.run(...RUN);
    expect(ended.status, ended.stderr).toBe(3);
    expect(ended.stderr).toContain("6 lines, 4 answered, 2 failed");
    expect(ended.stderr).toContain("rowmill run films.csv --retry");
    const { header, rows } = await readOutput(project);
    expect(header.at(-1)).toBe("error");
    expect(rows.map((row) => row.at(-1) !== "")).toEqual([false, false, false, false, true, true]);
    const { stdout } = await project.run("failures", "films.csv");
    expect(stdout).toMatch(/^films\.csv: .*permanent/m);
    expect(stdout).toContain("rowmill run films.csv --retry");
    expect(stdout).not.toMatch(/(?<!rowmill show )films-[0-9a-f]{8}|pipelines\./);
    const asked = await executed();
    expect((await run()).status).toBe(3);
    expect(await executed()).toBe(asked);
    expect((await run("--retry")).status).toBe(3);
    expect(await executed()).toBeGreaterThan(asked);
    await project.check();
  });

  it("asks only the first lines with --limit, and before a changed prompt costs anything", async () => {
    await writeFilms(project, filmLines(10));
    expect((await project.run(...RUN, "--limit", "3")).status).toBe(0);
    expect((await readOutput(project)).rows).toHaveLength(3);
    expect(await executed()).toBe(3);
    expect((await run()).status).toBe(0);
    const { text, rows } = await readOutput(project);
    expect(rows).toHaveLength(10);
    const wider = await run("--prompt", "Sum up: {{ Title }}: {{ Description }}");
    expect(wider.status).toBe(4);
    expect(wider.stderr).toContain(
      "The question now reads Title too, so every line of films.csv is sent again. 10 answers to the previous question",
    );
    const prompt = ["--prompt", "Sum up: {{ Description }}"];
    const changed = await run(...prompt);
    expect(changed.status).toBe(4);
    expect(changed.stderr).toContain("films.csv: the question changed. To send its answered rows again: 10 rows");
    expect(changed.stderr).toContain("until you decide: rowmill run films.csv --yes");
    // What was not agreed to is not the question of the file.
    const asBefore = await run();
    expect(asBefore.status, asBefore.stderr).toBe(0);
    expect(await executed()).toBe(10);
    expect((await readOutput(project)).text).toBe(text);
    const agreed = await run(...prompt, "--yes");
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
    const inNoFolder = await run(...QUESTION, "--out", "absent/labelled.csv");
    expect(inNoFolder.status).toBe(4);
    expect(inNoFolder.stderr).toContain("cannot be written: its folder does not exist.");
    expect((await run(...QUESTION, "--out", ".", "--force")).stderr).toContain("is a folder. Name a file in it.");
    await symlink("films.csv", join(project.folder, "link.csv"));
    const linked = await run(...QUESTION, "--out", "link.csv", "--force");
    expect(linked.stderr).toContain("is the input. The output must be another file.");
    expect(await executed()).toBe(0);
    expect((await project.run(...RUN, "--force")).status).toBe(0);
    expect((await readOutput(project)).rows).toHaveLength(2);
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
    const at = (args: readonly string[]) =>
      runCommand(args, { cwd: project.folder, env: { ...project.env, ...state } });
    await linkSharedDatabase(join(project.folder, "state/rowmill"));
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

  it("forgets a file on request, and sends its lines again after that", async () => {
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

  it("shows some answers first with --try, which are paid once, and mixes nothing into an output on stdout", async () => {
    await writeFilms(project, filmLines(6));
    const live = async () => project.database.number(raw("select count(*)::float8 as count from rowmill.try_answers"));
    const mixed = await run(...QUESTION, "--out", "-", "--try", "2");
    expect(mixed.status).toBe(2);
    expect(mixed.stderr).toContain("--try prints to stdout, where the output goes.");
    const tried = await project.run(...RUN, "--try", "2");
    expect(tried.status, tried.stderr).toBe(0);
    expect(tried.stdout).toContain("summary");
    expect(existsSync(join(project.folder, "labelled.csv"))).toBe(false);
    const again = await run("--try", "2");
    expect(again.status, again.stderr).toBe(0);
    expect(again.stderr).toContain("2 answers of the previous try, at no further cost");
    expect(again.stdout).toContain("summary");
    expect([await live(), await executed()]).toEqual([2, 0]);
    const ended = await run();
    expect(ended.status, ended.stderr).toBe(0);
    expect(ended.stderr).toContain("2 answers of the previous try used at no further cost");
    expect((await readOutput(project)).rows.every((row) => row[4] !== "")).toBe(true);
    const nothing = await run("--try", "2");
    expect(nothing.status, nothing.stderr).toBe(0);
    expect(nothing.stderr).toContain("All lines are answered, so there is nothing to try.");
    expect([await live(), await executed()]).toEqual([2, 4]);
    await writeFilms(project, filmLines(9));
    expect((await run("--try", "1", "--yes")).status).toBe(0);
    expect([await live(), await executed()]).toEqual([3, 6]);
    expect((await run("--columns", "Title")).stderr).toContain("--columns is for a prompt that names no columns");
    await project.check();
  });

  it("carries a column that the prompt does not read to the output, and sends no line again for it", async () => {
    const lines = filmLines(4);
    await writeFilms(project, lines);
    const prompt = ["--prompt", "Sum up the film.", ...QUESTION.slice(2)];
    expect((await project.run(...RUN)).status).toBe(0);
    expect((await run(...prompt, "--name", "all")).status).toBe(0);
    expect(await executed()).toBe(8);
    const noted = lines.map((line, at) => `${line},note ${at}`);
    await writeFile(join(project.folder, "films.csv"), [",Name,Description,Notes", ...noted, ""].join("\n"));
    const carried = await run();
    expect(carried.status, carried.stderr).toBe(0);
    const { header, rows } = await readOutput(project);
    expect(header).toEqual(["", "Name", "Description", "Notes", "categories", "summary"]);
    expect(rows.map((row) => row[3])).toEqual(["note 0", "note 1", "note 2", "note 3"]);
    const all = await run("--name", "all");
    expect(all.status).toBe(4);
    expect(all.stderr).toContain("The question now reads Name, Notes instead of Title, so every line");
    await writeFile(join(project.folder, "films.csv"), [",Title,Description,Notes", ...noted, ""].join("\n"));
    const wider = await run("--name", "all");
    expect(wider.status).toBe(4);
    expect(wider.stderr).toContain("The question now reads Notes too, so every line of films.csv is sent again.");
    expect(wider.stderr).toContain('add --columns "column_1,Title,Description"');
    const asBefore = await run("--name", "all", "--columns", "column_1,Title,Description");
    expect(asBefore.status, asBefore.stderr).toBe(0);
    expect(await executed()).toBe(8);
    await project.check();
  });
});
