/** The pages that name a test for each fault or attack: it is there, by that name. */
import { readdir, readFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { describe, expect, it } from "vitest";

const tests = join(import.meta.dirname, "..");
const files = await readdir(tests, { recursive: true });

/** `file.test.ts`: "its name, or a part of it" */
const reference = /`([\w-]+\.test\.ts)`: "([^"]+(?:"[^"|]+"[^"]*)?)"/;

/** Header and rule of each table prove nothing. */
async function rowsOf(page: string, heading: string): Promise<readonly string[]> {
  const text = await readFile(join(tests, "../docs", page), "utf8");
  const [, section = ""] = text.split(`\n## ${heading}\n`);
  return (section.split("\n## ")[0] ?? "")
    .split("\n")
    .filter((line) => line.startsWith("| ") && !/^\| (fault|attack|---)/.test(line));
}

const pages = [
  { page: "internals/reliability.md", heading: "Faults, and the tests that prove each", rowsMin: 41 },
  { page: "security.md", heading: "What an attacker may try", rowsMin: 20 },
];

for (const { page, heading, rowsMin } of pages) {
  const rows = await rowsOf(page, heading);
  describe(`docs/${page}`, () => {
    it("has rows", () => {
      expect(rows.length).toBeGreaterThanOrEqual(rowsMin);
    });

    it.each(rows.map((row) => ({ row, what: row.split("|")[1]?.trim() })))(
      "names a test for: $what",
      async ({ row }) => {
        const [, file = "", name = ""] = reference.exec(row) ?? [];
        const path = files.find((candidate) => basename(candidate) === file);
        expect(path, `no test is named in: ${row}`).toBeDefined();
        expect(await readFile(join(tests, path ?? ""), "utf8")).toContain(name);
      },
    );
  });
}
