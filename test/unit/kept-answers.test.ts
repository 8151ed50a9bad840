import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { KeptAnswers } from "../../src/app/init/kept-answers.js";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "rowmill-kept-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

test("answers of an interrupted init are there for the next one, for the owner only, until its config is written", async () => {
  const first = await KeptAnswers.read(folder);
  expect(await first.keep("prompt", "Summarize it.")).toBe("Summarize it.");
  await first.keep("columns", ["title", "year"]);
  const file = join(folder, ".rowmill/init.json");
  expect((await stat(file)).mode & 0o777).toBe(0o600);
  const next = await KeptAnswers.read(folder);
  expect([next.text("prompt"), next.list("columns"), next.text("model")]).toEqual([
    "Summarize it.",
    ["title", "year"],
    undefined,
  ]);
  await next.forget();
  expect((await KeptAnswers.read(folder)).text("prompt")).toBeUndefined();
});

test("a kept file that was cut off, or holds something else, counts as none", async () => {
  const kept = await KeptAnswers.read(folder);
  await kept.keep("model", "m");
  const file = join(folder, ".rowmill/init.json");
  await writeFile(file, (await readFile(file, "utf8")).slice(0, 10));
  expect((await KeptAnswers.read(folder)).text("model")).toBeUndefined();
  await writeFile(file, '{ "model": 5, "columns": [1], "prompt": "p" }');
  const odd = await KeptAnswers.read(folder);
  expect([odd.text("model"), odd.list("columns"), odd.text("prompt")]).toEqual([undefined, undefined, "p"]);
});
