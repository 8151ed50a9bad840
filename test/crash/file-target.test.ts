/** A file of answers, whose worker is killed before and after each of its changes of the file system. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { files } from "../../src/connectors/files/files.js";
import { exists } from "../../src/model/file-errors.js";
import { buildCli } from "../support/cli.js";
import { deliverAll, KEYS, ROUNDS } from "./file-target-deliveries.js";

const script = resolve(import.meta.dirname, "file-target-worker.mjs");
/** More than a run has. */
const KILLS_MAX = 200;

beforeAll(buildCli, 150_000);

/** The file after the first round, and after both. */
const [FIRST = "", BOTH = ""] = ROUNDS.map((_, last) => {
  const held = new Map<string, unknown>();
  for (const change of ROUNDS.slice(0, last + 1).flat(2)) {
    if ("deleted" in change) held.delete(change.key);
    else held.set(change.key, change.cells["label"]);
  }
  return KEYS.filter((key) => held.has(key))
    .map((id) => `${JSON.stringify({ id, label: held.get(id) })}\n`)
    .join("");
});

async function killed(path: string, at: string): Promise<boolean> {
  const child = spawn(process.execPath, [script], {
    env: { PATH: process.env["PATH"], PATH_OF_FILE: path, KILL_AT: at },
    stdio: ["ignore", "ignore", "inherit"],
  });
  const [status, signal] = (await once(child, "exit")) as [number | null, string | null];
  if (signal === null) expect(status).toBe(0);
  return signal === "SIGKILL";
}

describe("A file of answers", { timeout: 600_000 }, () => {
  it.each(["before", "after"])(
    "is whole, and never older than it was, if its worker is killed %s any change of the file system",
    async (when) => {
      const root = await mkdtemp(join(tmpdir(), "rowmill-killed-"));
      const seen = new Set<string | null>();
      let kills = 0;
      for (let last: string | null = null; kills < KILLS_MAX; kills++) {
        const path = join(root, `${kills}`, "labels.jsonl");
        await rm(join(root, `${kills - 1}`), { recursive: true, force: true });
        await mkdir(join(root, `${kills}`));
        if (!(await killed(path, `${when} ${kills + 1}`))) break;
        const text = (await exists(path)) ? await readFile(path, "utf8") : null;
        expect([null, FIRST, BOTH]).toContain(text);
        // A later kill finds it at least as new.
        if (last !== null) expect(text).not.toBeNull();
        if (last === BOTH) expect(text).toBe(BOTH);
        seen.add(text);
        last = text;

        await deliverAll(files(path));
        expect(await readFile(path, "utf8")).toBe(BOTH);
        const parts = await readdir(join(root, `${kills}`, ".labels.jsonl.parts"));
        expect(parts.filter((name) => !/^(?:base-\d+\.jsonl|published\.json)$/.test(name))).toEqual([]);
        expect(parts.filter((name) => name.startsWith("base-"))).toHaveLength(1);
      }
      expect(seen).toEqual(new Set([null, FIRST, BOTH]));
      expect(kills).toBeGreaterThan(30);
      expect(kills).toBeLessThan(KILLS_MAX);
      await rm(root, { recursive: true });
    },
  );
});
