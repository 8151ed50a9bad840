/** What `rowmill run` shows on a terminal. */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { buildCli, cliScript, startCliProject, type CliProject } from "../support/cli.js";
import { QUESTION } from "../support/film-file.js";
import { startOnScreen, tmuxMissingBecause } from "../support/screen.js";

const LINES = 60_000;
const unlessTmux = tmuxMissingBecause === null ? "" : ` (skipped: ${tmuxMissingBecause})`;

beforeAll(buildCli, 150_000);

describe("rowmill run on a terminal", { timeout: 300_000 }, () => {
  let project: CliProject;
  let held = true;
  beforeEach(async () => {
    held = true;
    project = await startCliProject("embedded", { gateway: { faults: { hold: () => held } }, prepared: true });
  });
  afterEach(() => project.close());

  it.skipIf(tmuxMissingBecause !== null)(
    `says what it does from the first moment: the database, the lines, the cost, the rows${unlessTmux}`,
    async () => {
      const folder = join(project.folder, "first");
      await mkdir(folder);
      const lines = Array.from({ length: LINES }, (_, at) => `${at},Title ${at},A film of kind ${at % 5}`);
      await writeFile(join(folder, "films.csv"), ["id,Title,Description", ...lines, ""].join("\n"));
      const size = { columns: 120, rows: 30 };
      const command = [process.execPath, cliScript, "run", "films.csv", ...QUESTION];
      const screen = await startOnScreen(command, { cwd: folder, env: project.env, ...size });
      try {
        await screen.shows("Making the database, which only the first run here does");
        await screen.shows(/Reading films\.csv: [\d,]+ lines, \d+%/);
        await screen.shows("films.csv: 60,000 lines");
        await screen.shows("Send them?");
        await screen.press("y");
        await screen.shows(/films\.csv ░+ 0% \| 0 of 5 rows \| batches: 1 running \| [^|]+ \| \$[\d.]+ spent/);
        held = false;
        project.gateway.release();
        await screen.shows("60,000 lines, 60,000 answered, 0 failed");
        expect(await screen.ended()).toBe(0);
      } finally {
        await screen.close();
      }
    },
  );
});
