/**
 * Pages and pictures that scripts write are as they would write them. What needs a database is checked by
 * scripts/run-docs.mjs.
 */
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { beforeAll, describe, expect, it } from "vitest";
import { buildCli } from "../support/cli.js";

const run = promisify(execFile);
const repository = join(import.meta.dirname, "../..");

beforeAll(buildCli, 150_000);

describe("What scripts write", { timeout: 60_000 }, () => {
  it.each([
    [
      "write-reference.mjs",
      "docs/cli.md is as the code says\ndocs/configuration.md is as the code says\ndocs/internals/state-machine.md is as the code says\ndocs/providers.md is as the code says\n",
    ],
    [
      "picture-flow.mjs",
      "docs/pictures/flow.svg is as its script makes it\ndocs/pictures/flow-dark.svg is as its script makes it\n",
    ],
  ])("is there as %s writes it", async (script, words) => {
    const { stdout } = await run(process.execPath, [join("scripts", script), "--check"], { cwd: repository });
    expect(stdout).toBe(words);
  });
});
