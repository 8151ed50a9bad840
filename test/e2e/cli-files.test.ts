/** Files as the source of a config, and `rowmill export`. */
import { mkdir, rename, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { raw } from "../../src/postgres/database.js";
import { buildCli, serverKind, startCliProject, type CliProject } from "../support/cli.js";
import { filmLines, readOutput } from "../support/film-file.js";

const CONFIG = `import { defineConfig, files, pipeline, z } from "rowmill";

export default defineConfig({ database: process.env.DATABASE_URL, pipelines: { films: pipeline({
  source: files("inbox/*.csv", { key: "id", columns: ["Title", "Description"], every: "1h", fullEvery: "1d" }),
  polling: { min: "20ms", max: "100ms" },
  request: { model: "gpt-4o-mini", user: "{{ Title }}: {{ Description }}" },
  answer: z.object({ categories: z.array(z.string()), summary: z.string() }),
  target: { table: "film_labels" },
}) } });
`;

beforeAll(buildCli, 150_000);

describe("Files as a source", { timeout: 300_000 }, () => {
  let project: CliProject;
  const inbox = (name: string) => join(project.folder, "inbox", name);
  const put = (name: string, lines: readonly string[]) =>
    writeFile(inbox(name), `${["id,Title,Description", ...lines].join("\n")}\n`);
  beforeEach(async () => {
    project = await startCliProject(serverKind);
    await writeFile(join(project.folder, "rowmill.config.mjs"), CONFIG);
    await mkdir(join(project.folder, "inbox"));
  });
  afterEach(() => project.close());

  const executed = async () => (await project.gateway.journal.summary()).executed;
  const up = async () => {
    const ended = await project.run("up", "--until-idle", "--yes");
    expect(ended.status, ended.stderr).toBe(0);
    await project.check();
  };

  it("asks the rows of new and changed files, and none of a file that was only touched or renamed", async () => {
    const lines = filmLines(30);
    await put("a.csv", lines.slice(0, 10));
    await up();
    expect(await executed()).toBe(10);
    await put("b.csv", lines.slice(10, 20));
    await up();
    expect(await executed()).toBe(20);
    await utimes(inbox("a.csv"), new Date(), new Date());
    await rename(inbox("b.csv"), inbox("c.csv"));
    await up();
    expect(await executed()).toBe(20);
    await put("a.csv", [...lines.slice(1, 10), (lines[0] ?? "").replace(/.$/s, ' A heist."'), lines[25] ?? ""]);
    await up();
    expect(await executed()).toBe(22);
  });

  it("takes the row of the newer file where two have a key, also when all files are read again", async () => {
    const [first = ""] = filmLines(1);
    await put("a.csv", [first]);
    await up();
    await put("b.csv", [first.replace(/.$/s, ' A heist."')]);
    await up();
    expect(await executed()).toBe(2);
    await project.run("sync", "--full");
    await up();
    expect(await executed()).toBe(2);
  });

  it("leaves out a line that cannot be read, and says where it is", async () => {
    const [first = "", second = ""] = filmLines(2);
    await put("a.csv", [first, "99,a line of two cells", second]);
    await up();
    expect(await executed()).toBe(2);
    expect((await project.run("status")).stdout).toContain(
      'films: 1 row of its source refused, such as "a.csv, line 3: It has 2 cells, and the header has 3. ' +
        'Add the missing separators.": a line cannot be read.',
    );
  });

  it("pauses where one file has two different lines of one key, with both numbers", async () => {
    const [first = ""] = filmLines(1);
    await put("a.csv", [first, first.replace(/.$/s, ' A heist."')]);
    const ended = await project.run("up", "--until-idle", "--yes");
    expect(ended.status).toBe(4);
    expect(ended.stderr).toMatch(/Lines 2 and 3 of a\.csv have the same key/);
    expect(await executed()).toBe(0);
  });

  it.each(["csv", "jsonl", "parquet", "tsv.gz"])("can be exported as %s, with a condition", async (format) => {
    await put("a.csv", filmLines(12));
    await up();
    const whole = await project.run("export", "films", "--out", `all.${format}`);
    expect(whole.stdout).toContain(`Wrote all.${format}: 12 answered rows of films`);
    const some = await project.run("export", "films", "--out", "some.csv", "--where", "id::int < 3");
    expect(some.stdout).toContain("3 answered rows");
    const { header, rows } = await readOutput(project, "some.csv");
    expect(header).toEqual(["id", "Title", "Description", "categories", "summary"]);
    expect(rows.map(([id]) => Number(id)).toSorted((a, b) => a - b)).toEqual([0, 1, 2]);
    if (format !== "csv") return;
    expect((await readOutput(project, "all.csv")).rows).toHaveLength(12);
    const asSource = await project.run("export", "films", "--out", "inbox/all.csv");
    expect(asSource.status).toBe(4);
    expect(asSource.stderr).toContain('films would read inbox/all.csv as new rows: it matches files("inbox/*.csv").');
    const wrong = await project.run("export", "films", "--out", "none.csv", "--where", "nothing = 1");
    expect(wrong.status).toBe(2);
    expect(wrong.stderr).toContain("--where:");
  });

  it("exports a table with a composite key", async () => {
    await project.database.run(raw("create table notes (a int, b text, body text, primary key (a, b))"));
    await project.database.run(raw("insert into notes values (1, 'x,\"y', 'A war film.'), (2, 'é', 'A love story.')"));
    await project.writeConfig(`notes: pipeline({ source: { table: "notes", key: ["a", "b"], columns: ["body"] },
      polling, answer, request: { ...request, user: "{{ body }}" }, target: { table: "note_labels" } })`);
    expect((await project.run("up", "--until-idle", "--yes")).status).toBe(0);
    expect((await project.run("export", "notes", "--out", "notes.csv")).status).toBe(0);
    const { rows } = await readOutput(project, "notes.csv");
    expect(rows.map((row) => row.slice(0, 3)).toSorted(([a], [b]) => Number(a) - Number(b))).toEqual([
      ["1", 'x,"y', "A war film."],
      ["2", "é", "A love story."],
    ]);
  });
});
