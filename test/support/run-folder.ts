/**
 * Owns the temporary folder of one test run, for the data of embedded databases. It goes with the run, also when
 * the run is killed: a shell removes it when the pipe to this process closes without a word.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { stopEmbedded } from "../../src/embedded/embedded.js";

/** Folders of embedded databases: the servers of those that are left are ended with the run. */
export const EMBEDDED_PREFIX = "embedded-";

/** Embedded servers that lost their clients with the run write until their grace is over. */
const watchdogScript = `read -r word; [ "$word" = removed ] && exit; rm -rf "$1"; sleep 5; rm -rf "$1"`;

export interface RunFolder {
  readonly path: string;
  remove(): Promise<void>;
}

export async function makeRunFolder(): Promise<RunFolder> {
  const path = await mkdtemp(join(tmpdir(), "rowmill-test-run-"));
  const watchdog = spawn("/bin/sh", ["-c", watchdogScript, "rowmill-test-watchdog", path], {
    cwd: "/",
    detached: true,
    stdio: ["pipe", "ignore", "ignore"],
  });
  watchdog.unref();
  const remove = async (): Promise<void> => {
    const databases = (await readdir(path)).filter((name) => name.startsWith(EMBEDDED_PREFIX));
    await Promise.all(databases.map((name) => stopEmbedded({ dataDir: join(path, name) })));
    await rm(path, { recursive: true, force: true, maxRetries: 5 });
    const ended = once(watchdog, "exit");
    watchdog.ref();
    watchdog.stdin.end("removed\n");
    await ended;
  };
  return { path, remove };
}
