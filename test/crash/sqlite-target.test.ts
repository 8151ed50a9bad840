/** A SQLite file of answers, whose worker is killed at any time, also in the middle of a transaction. */
import { fork } from "node:child_process";
import { once } from "node:events";
import { resolve } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { beforeAll, expect, it } from "vitest";
import { buildCli } from "../support/cli.js";
import { openSqliteFile, type SqliteFile } from "../support/sqlite-file.js";

const script = resolve(import.meta.dirname, "sqlite-target-worker.mjs");
const KILLS = 20;
const LIFE_MS_MAX = 60;

beforeAll(buildCli, 150_000);

/** The greatest fence that it was told is written. */
async function killed(file: SqliteFile, fence: number): Promise<number> {
  const child = fork(script, [], { env: { ...process.env, PATH_OF_FILE: file.path, FENCE: String(fence) } });
  let written = fence;
  child.on("message", (message) => (written = Number(message)));
  await once(child, "message");
  await pause(Math.random() * LIFE_MS_MAX);
  child.kill("SIGKILL");
  await once(child, "exit");
  return written;
}

it.each(["delete", "wal"])(
  `holds whole answers, none older than what was confirmed, after ${KILLS} kills (journal mode %s)`,
  async (journal) => {
    const file = await openSqliteFile(`pragma journal_mode = ${journal}`);
    try {
      let fence = 0;
      for (let kill = 0; kill < KILLS; kill++) {
        fence = await killed(file, fence + 1);
        const [state] = await file.rows<{ rows: number; oldest: number; fences: number; torn: number }>(`
          select count(*) as rows, min(rowmill_fence_films) as oldest, count(distinct rowmill_fence_films) as fences,
            count(*) filter (where label not like rowmill_fence_films || ' x%') as torn
          from labels`);
        // Another write may have taken effect, as a whole, without its confirmation.
        expect(state).toMatchObject({ rows: 200, fences: 1, torn: 0 });
        expect(state?.oldest).toBeGreaterThanOrEqual(fence);
        fence = Number(state?.oldest);
      }
      expect(await file.rows("pragma integrity_check")).toEqual([{ integrity_check: "ok" }]);
    } finally {
      await file.close();
    }
  },
  120_000,
);
