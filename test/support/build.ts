/**
 * `dist/`, as users have it: the command line runs from it, and so do the processes that tests start, since to
 * translate TypeScript in each of them costs more than what they do. Built once when it is older than `src/`.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, readdir, stat } from "node:fs/promises";
import { join, resolve } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { acquireLivingLock } from "../../src/embedded/living-lock.js";

const repository = resolve(import.meta.dirname, "../..");
export const cliScript = join(repository, "dist/cli/main.js");
const BUILD_MS_MAX = 120_000;
const LOOK_MS = 50;

/** Builds `dist/` unless it is newer than every source. Several test files may call it at once. */
export async function buildCli(): Promise<void> {
  const folder = join(repository, "node_modules/.cache/rowmill-test");
  await mkdir(folder, { recursive: true });
  const holder = { pid: process.pid, startedAt: new Date().toISOString(), command: "build of dist" };
  const deadlineMs = Date.now() + BUILD_MS_MAX;
  for (;;) {
    const attempt = await acquireLivingLock({
      folder,
      name: "build",
      holder,
      onConnection: (s) => s.destroy(),
    });
    if (attempt.kind === "acquired") {
      try {
        if (await isStale()) await build();
        return;
      } finally {
        attempt.lock.release();
      }
    }
    if (Date.now() > deadlineMs) throw new Error(`dist was not built in ${BUILD_MS_MAX} ms.`);
    await pause(LOOK_MS);
  }
}

async function isStale(): Promise<boolean> {
  const built = await stat(cliScript).catch(() => null);
  if (built === null) return true;
  const sources = await readdir(join(repository, "src"), { recursive: true, withFileTypes: true });
  const times = await Promise.all(
    sources
      .filter((entry) => entry.isFile())
      .map(async (entry) => (await stat(join(entry.parentPath, entry.name))).mtimeMs),
  );
  return Math.max(...times) > built.mtimeMs;
}

async function build(): Promise<void> {
  const compiler = join(repository, "node_modules/.bin/tsc");
  const child = spawn(compiler, ["-p", "tsconfig.build.json"], { cwd: repository, stdio: "inherit" });
  await once(child, "exit");
}
