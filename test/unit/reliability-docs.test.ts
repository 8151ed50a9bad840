import { readdir, readFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { describe, expect, it } from "vitest";

const tests = join(import.meta.dirname, "..");
const page = await readFile(join(tests, "../docs/reliability.md"), "utf8");
const files = await readdir(tests, { recursive: true });
const [, faults = ""] = page.split("\n## Faults, and the tests that prove each\n");
/** Header and rule of each table are no faults. */
const rows = (faults.split("\n## ")[0] ?? "")
  .split("\n")
  .filter((line) => line.startsWith("| ") && !line.startsWith("| fault ") && !line.startsWith("| ---"));

/** `file.test.ts`: "its name, or a part of it" */
const reference = /`([\w-]+\.test\.ts)`: "([^"]+(?:"[^"|]+"[^"]*)?)"/;

describe("docs/reliability.md", () => {
  it("has faults", () => {
    expect(rows.length).toBeGreaterThan(40);
  });

  it.each(rows)("proves each fault by a test that is there: %s", async (row) => {
    const [, file = "", name = ""] = reference.exec(row) ?? [];
    const path = files.find((candidate) => basename(candidate) === file);
    expect(path, `no test is named in: ${row}`).toBeDefined();
    expect(await readFile(join(tests, path ?? ""), "utf8")).toContain(name);
  });
});
