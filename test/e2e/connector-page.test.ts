/** What docs/internals/adding-a-connector.md tells a reader to write, in a project of its own that has the package. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { beforeAll, expect, it } from "vitest";
import { buildCli } from "../support/cli.js";

const ROOT = resolve(import.meta.dirname, "../..");
const RUN_MS_MAX = 120_000;

beforeAll(buildCli, 150_000);

it("the source of the page for new connectors passes the suite of the package", { timeout: RUN_MS_MAX }, async () => {
  const page = await readFile(join(ROOT, "docs/internals/adding-a-connector.md"), "utf8");
  const codeAfter = (words: string) => page.split(words)[1]?.split("```ts\n")[1]?.split("```")[0] ?? "";
  const folder = await mkdtemp(join(tmpdir(), "rowmill-connector-"));
  try {
    await mkdir(join(folder, "node_modules"));
    await symlink(ROOT, join(folder, "node_modules/rowmill"));
    await symlink(join(ROOT, "node_modules/vitest"), join(folder, "node_modules/vitest"));
    await writeFile(join(folder, "package.json"), JSON.stringify({ type: "module" }));
    await writeFile(join(folder, "tickets.ts"), codeAfter("`tickets.ts`"));
    await writeFile(join(folder, "tickets.test.ts"), codeAfter("`tickets.test.ts`"));
    const vitest = join(ROOT, "node_modules/vitest/vitest.mjs");
    const args = [vitest, "run", "--testTimeout", "60000", "--reporter", "json", "tickets.test.ts"];
    const run = spawn(process.execPath, args, { cwd: folder, timeout: RUN_MS_MAX });
    let printed = "";
    run.stdout.on("data", (chunk: Buffer) => (printed += chunk.toString()));
    await once(run, "close");
    const report = JSON.parse(printed) as { success: boolean; numPassedTests: number };
    expect(report.success).toBe(true);
    expect(report.numPassedTests).toBeGreaterThan(10);
  } finally {
    await rm(folder, { recursive: true });
  }
});
