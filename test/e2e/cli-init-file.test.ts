/** `rowmill init` for the rows of a file: the config that it writes, and what it refuses. */
import { mkdtemp, readdir, readFile, realpath, rm, writeFile } from "node:fs/promises";
import { gzipSync } from "node:zlib";
import { join } from "node:path";
import { afterEach, beforeAll, beforeEach, describe, expect, inject, it } from "vitest";
import { buildCli, cliScript, runCommand, startCliProject } from "../support/cli.js";
import { filmLines, readOutput, writeFilms } from "../support/film-file.js";
import { startOnScreen, tmuxMissingBecause } from "../support/screen.js";

const QUESTION = ["--model", "gpt-4o-mini", "--prompt", "Sum it up.", "--answer", "categories:string[],summary:string"];

beforeAll(buildCli, 150_000);

describe("rowmill init --csv", { timeout: 300_000 }, () => {
  let folder: string;
  beforeEach(async () => {
    folder = await realpath(await mkdtemp(join(inject("runFolder"), "cli-init-file-")));
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  const init = (...args: string[]) => runCommand(["init", ...args], { cwd: folder, env: { OPENAI_API_KEY: "sk-x" } });
  const put = (name: string, content: string | Buffer) => writeFile(join(folder, name), content);
  const config = () => readFile(join(folder, "rowmill.config.ts"), "utf8");

  it("makes a project of a file that up answers and export writes", async () => {
    const project = await startCliProject("embedded");
    try {
      await writeFilms(project, filmLines(20));
      const args = ["--csv", "films.csv", "--key", "column_1", "--columns", "Title,Description", ...QUESTION];
      const made = await project.run("init", ...args);
      expect(made).toMatchObject({ status: 0, stderr: expect.stringContaining("Column 1 has no name.") });
      expect(made.stdout).toContain("4. Write the answers to a file: rowmill export films --out films.answers.csv");
      const file = join(project.folder, "rowmill.config.ts");
      const text = await readFile(file, "utf8");
      expect(text).toContain('files("films.csv", { key: "column_1", columns: ["Title", "Description"] })');
      expect(text).toContain('defineConfig({ database: "embedded", pipelines: { films } })');
      await writeFile(file, text.replace("  request:", '  polling: { min: "20ms", max: "100ms" },\n  request:'));
      const ended = await project.run("up", "--until-idle", "--yes");
      expect(ended.status, ended.stderr).toBe(0);
      expect((await project.run("export", "films", "--out", "films.answers.csv")).status).toBe(0);
      expect((await readOutput(project, "films.answers.csv")).rows).toHaveLength(20);
      await project.check();
    } finally {
      await project.close();
    }
  });

  it("finds a column that identifies a row, and says which, in any format", async () => {
    await put("my films.v2.jsonl.gz", gzipSync('{"a":"x","b":"1","c":""}\n{"a":"x","b":"2","c":"3"}\n'));
    const ended = await init("--file", "my films.v2.jsonl.gz", "--columns", "a", ...QUESTION, "--function");
    expect(ended.stderr).toBe("my films.v2.jsonl.gz: b identifies a row. To name another column: --key\n");
    expect(ended.status).toBe(0);
    expect(await config()).toContain('source: files("my films.v2.jsonl.gz", { key: "b", columns: ["a"] })');
    expect(await config()).toMatch(/target: \{ table: "my_films_v2_answers"/);
  });

  it("takes several columns as the key, and writes long lists one a line", async () => {
    const names = Array.from({ length: 12 }, (_, at) => `question_${at}`);
    await put("a.csv", `day,shop,${names.join(",")}\n1,a${",x".repeat(12)}\n1,b${",y".repeat(12)}\n`);
    const ended = await init("--csv", "a.csv", "--key", "day,shop", "--columns", names.join(","), ...QUESTION);
    expect(ended).toMatchObject({ status: 0, stderr: "" });
    expect(await config()).toContain(
      'files("a.csv", {\n    key: ["day", "shop"],\n    columns: [\n      "question_0",\n',
    );
  });

  it.each<{ title: string; text: string; args: readonly string[]; says: string }>([
    {
      title: "a key that two lines have",
      text: "id,a\n1,x\n2,y\n1,x\n",
      args: ["--key", "id", "--columns", "a", ...QUESTION],
      says: '--key: "id" does not identify a row of a.csv: lines 2 and 4 have the same, "1".',
    },
    {
      title: "a key that is empty in a line",
      text: "id,a\n1,x\n,y\n",
      args: ["--key", "id", "--columns", "a", ...QUESTION],
      says: '--key: "id" does not identify a row of a.csv: it is empty in line 3.',
    },
    {
      title: "a file in which no column identifies a row",
      text: "id,a\n1,x\n1,x\n",
      args: ["--columns", "a", ...QUESTION],
      says: "No column of a.csv is different and not empty in each row.",
    },
    {
      title: "a key column that is not there",
      text: "id,a\n1,x\n",
      args: ["--key", "no", "--columns", "a", ...QUESTION],
      says: 'a.csv has no column "no".',
    },
    {
      title: "a column for the model that is not there",
      text: "id,a\n1,x\n",
      args: ["--key", "id", "--columns", "b", ...QUESTION],
      says: 'a.csv has no column "b".',
    },
    {
      title: "missing options without a terminal",
      text: "id,a\n1,x\n",
      args: [],
      says: "Missing options: --columns, --model, --prompt, --answer.",
    },
  ])("refuses $title, and writes nothing", async ({ text, args, says }) => {
    await put("a.csv", text);
    const ended = await init("--csv", "a.csv", ...args);
    expect(ended.status).toBe(2);
    expect(ended.stderr).toContain(says);
    expect(await readdir(folder)).toEqual(["a.csv"]);
  });

  it("asks for the rest at a terminal, with an example of each column", async ({ skip }) => {
    if (tmuxMissingBecause !== null) skip(tmuxMissingBecause);
    await put("films.csv", "id,Title,Year\n1,Dune,1984\n2,Heat,1995\n");
    const place = { cwd: folder, env: { OPENAI_API_KEY: "sk-x", NO_COLOR: "1" }, columns: 100, rows: 60 };
    const screen = await startOnScreen([process.execPath, cliScript, "init", "--csv", "films.csv"], place);
    try {
      await screen.shows("Which key identifies a row of films.csv?");
      await screen.press("Enter");
      await screen.shows("Which columns should the model see?");
      await screen.shows("Dune");
      await screen.press("Enter");
      await screen.shows("Which model?");
      await screen.press("Enter");
      await screen.shows("What should it do with each row?");
      await screen.press("Sum it up.", "Enter");
      await screen.shows("How should the columns be inserted");
      await screen.press("Enter");
      await screen.shows("Which fields should the answer have?");
      await screen.press("Enter");
      await screen.shows("What is the name of this pipeline?");
      await screen.press("Enter");
      await screen.shows("Which table should the answers go to?");
      await screen.press("Enter");
      await screen.shows("Wrote rowmill.config.ts.");
    } finally {
      await screen.close();
    }
    expect(await config()).toContain('files("films.csv", { key: "id", columns: ["Title", "Year"] })');
  });
});
