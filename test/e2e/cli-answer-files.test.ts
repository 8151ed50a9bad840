/** Films in files, answered, and delivered into a file, by the built command. */
import { mkdir, readFile, readdir, rm, rmdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { parse } from "csv-parse/sync";
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { buildCli, serverKind, startCliProject, unlessServer, until, type CliProject } from "../support/cli.js";
import { filmLines } from "../support/film-file.js";

const FILMS = 1_000;

const configOf = (target: string) => `import { defineConfig, files, pipeline, z } from "rowmill";

export default defineConfig({ database: process.env.DATABASE_URL, pipelines: { films: pipeline({
  source: files("inbox/*.csv", { key: "id", columns: ["Title", "Description"], every: "1s", fullEvery: "1d" }),
  when: { rows: 250, maxWait: "0s" },
  polling: { min: "20ms", max: "100ms" },
  request: { model: "gpt-4o-mini", user: "{{ Title }}: {{ Description }}" },
  answer: z.object({ categories: z.array(z.string()), summary: z.string() }),
  target: files(${JSON.stringify(target)}),
}) } });
`;

beforeAll(buildCli, 150_000);

describe("Answers in a file", { timeout: 300_000 }, () => {
  let project: CliProject;
  const at = (...names: string[]) => join(project.folder, ...names);
  const put = (name: string, lines: readonly string[]) =>
    writeFile(at("inbox", name), `${["id,Title,Description", ...lines].join("\n")}\n`);
  const config = (target: string) => writeFile(at("rowmill.config.mjs"), configOf(target));
  beforeEach(async () => {
    project = await startCliProject(serverKind);
    await mkdir(at("inbox"));
    await mkdir(at("out"));
  });
  afterEach(() => project.check().finally(() => project.close()));

  const up = () => project.run("up", "--until-idle", "--yes");
  const labels = async () =>
    (await readFile(at("out", "labels.jsonl"), "utf8"))
      .split("\n")
      .slice(0, -1)
      .map((line) => JSON.parse(line) as { id: string; categories: string[]; summary: string });
  const executed = async () => (await project.gateway.journal.summary()).executed;

  it(`has the newest answer of each of ${FILMS} films, and follows changes and erased answers`, async () => {
    await config("out/labels.jsonl");
    const lines = filmLines(FILMS);
    await put("a.csv", lines.slice(0, FILMS / 2));
    await put("b.csv", lines.slice(FILMS / 2));
    expect(await project.run("doctor")).toMatchObject({ stdout: expect.stringContaining("rowmill up creates") });
    const ended = await up();
    expect(ended.status, ended.stderr).toBe(0);
    const first = await labels();
    expect(new Set(first.map(({ id }) => id)).size).toBe(FILMS);
    expect(Object.keys(first[0] ?? {})).toEqual(["id", "categories", "summary"]);
    expect(first.map(({ id }) => id)).toEqual(first.map(({ id }) => id).toSorted());
    expect(await executed()).toBe(FILMS);
    // One part is left; its number says how often the file was published while answers came.
    expect((await readdir(at("out", ".labels.jsonl.parts"))).toSorted()).toEqual([
      expect.stringMatching(/^base-\d+\.jsonl$/),
      "published.json",
    ]);

    const [changed = "", erased = ""] = lines;
    await put("c.csv", [changed.replace(/.$/s, ' A heist."')]);
    const erasedKey = erased.split(",")[0] ?? "";
    const forgotten = await project.run("forget", "films", "--answers", "--key", erasedKey, "--yes");
    expect(forgotten.status, forgotten.stderr).toBe(0);
    await project.run("sync");
    expect((await up()).status).toBe(0);
    expect(await executed()).toBe(FILMS + 1);
    const second = new Map((await labels()).map(({ id, ...cells }) => [id, cells]));
    const before = new Map(first.map(({ id, ...cells }) => [id, cells]));
    const changedKey = changed.split(",")[0] ?? "";
    expect(second.get(changedKey)).not.toEqual(before.get(changedKey));
    expect(second.has(erasedKey)).toBe(false);
    expect(second.size).toBe(FILMS - 1);
    expect((await project.run("status")).stdout).toContain("answers delivered to files");
  });

  it("is made again if it was removed, and another format sends nothing again", async () => {
    await config("out/labels.jsonl");
    await put("a.csv", filmLines(20));
    expect((await up()).status).toBe(0);
    const before = await readFile(at("out", "labels.jsonl"), "utf8");
    await rm(at("out", "labels.jsonl"));
    expect((await up()).status).toBe(0);
    expect(await readFile(at("out", "labels.jsonl"), "utf8")).toBe(before);

    await config("out/labels.csv");
    expect((await project.run("deliver", "films", "--replay", "--all")).status).toBe(0);
    expect((await up()).status).toBe(0);
    const [header, ...rows] = parse(await readFile(at("out", "labels.csv"), "utf8")) as string[][];
    expect(header).toEqual(["id", "categories", "summary"]);
    expect(rows).toHaveLength(20);
    expect(await executed()).toBe(20);
  });

  it("does not replace a file of yours, and continues when you moved it away", async () => {
    await config("out/labels.jsonl");
    await put("a.csv", filmLines(5));
    await writeFile(at("out", "labels.jsonl"), "mine\n");
    const ended = await up();
    expect(ended.status).not.toBe(0);
    expect(ended.stdout + ended.stderr).toContain("is there already, and Rowmill did not make it");
    expect(await readFile(at("out", "labels.jsonl"), "utf8")).toBe("mine\n");
    const doctor = await project.run("doctor");
    expect(doctor.stdout).toContain("Move it away, or name another file.");
    await rm(at("out", "labels.jsonl"));
    expect((await project.run("resume", "films")).status).toBe(0);
    expect((await up()).status).toBe(0);
    expect(await labels()).toHaveLength(5);
  });

  it("waits for its folder, and is complete when the folder is there", async () => {
    await config("away/labels.jsonl");
    await put("a.csv", filmLines(5));
    const ended = await up();
    expect(ended.stdout + ended.stderr).toContain("its folder does not exist");
    expect((await project.run("doctor")).stdout).toContain("its folder does not exist");
    await mkdir(at("away"));
    expect((await project.run("deliver", "films", "--replay")).status).toBe(0);
    const second = await up();
    expect(second.status, second.stderr + second.stdout).toBe(0);
    expect((await readFile(at("away", "labels.jsonl"), "utf8")).split("\n")).toHaveLength(6);
    expect(await executed()).toBe(5);
  });

  it.each(["its folder was emptied", "it has another path"])(
    "pauses where %s, until all answers are delivered again at no cost",
    async (what) => {
      await config("out/labels.jsonl");
      await put("a.csv", filmLines(5));
      expect((await up()).status).toBe(0);
      if (what === "it has another path") await config("out/others.jsonl");
      else await rm(at("out"), { recursive: true });
      await mkdir(at("out"), { recursive: true });
      const ended = await up();
      expect(ended.status, ended.stderr).toBe(4);
      expect(ended.stderr).toMatch(
        /\.jsonl has 0 of the 5 answers that were delivered\..* --replay --all\. Then: rowmill/,
      );
      expect((await readdir(at("out"))).filter((name) => !name.startsWith("."))).toEqual(
        what === "it has another path" ? ["labels.jsonl"] : [],
      );
      expect((await project.run("deliver", "films", "--replay", "--all")).status).toBe(0);
      expect((await project.run("resume", "films")).status).toBe(0);
      const second = await up();
      expect(second.status, second.stderr).toBe(0);
      const name = what === "it has another path" ? "others.jsonl" : "labels.jsonl";
      expect((await readFile(at("out", name), "utf8")).trim().split("\n")).toHaveLength(5);
      expect(await executed()).toBe(5);
    },
  );

  it(`has each answer after kill -9 of one of two workers while they deliver${unlessServer}`, async ({ skip }) => {
    if (unlessServer !== "") skip();
    await config("out/labels.jsonl");
    await put("a.csv", filmLines(FILMS));
    const [killed, other] = [1, 2].map(() => project.start("up", "--until-idle", "--yes"));
    const parts = () => readdir(at("out", ".labels.jsonl.parts")).catch(() => [] as string[]);
    await until("a part", async () => (await parts()).some((name) => name.startsWith("part-")));
    killed?.child.kill("SIGKILL");
    expect((await killed?.ended)?.status).toBeNull();
    const left = await other?.ended;
    expect(left?.status, left?.stderr).toBe(0);
    expect(new Set((await labels()).map(({ id }) => id)).size).toBe(FILMS);
    expect(await labels()).toHaveLength(FILMS);
    expect(await executed()).toBe(FILMS);
    expect((await parts()).filter((name) => !/^(?:base-\d+\.jsonl|published\.json)$/.test(name))).toEqual([]);
  });

  it("that cannot get its name is not silent: up ends with the reason, and status shows it", async () => {
    await config("out/labels.jsonl");
    await put("a.csv", filmLines(5));
    expect((await up()).status).toBe(0);
    await rm(at("out", "labels.jsonl"));
    await mkdir(at("out", "labels.jsonl"));
    const reason = /films: files could not finish, next try .*: .*a folder has its name\. Move that away\./;
    const ended = await up();
    expect(ended.status, ended.stderr).toBe(4);
    expect(ended.stderr).toMatch(reason);
    expect((await project.run("status")).stdout).toMatch(reason);
    expect((await project.run("doctor")).stdout).toMatch(/✗? *.*labels\.jsonl: a folder has its name\./);
    await rmdir(at("out", "labels.jsonl"));
    // It does not wait for the next try.
    const second = await up();
    expect(second.status, second.stderr).toBe(0);
    expect(await labels()).toHaveLength(5);
    expect(await executed()).toBe(5);
  });
});
