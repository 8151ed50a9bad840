/**
 * Owns one process's attachment to the server of an embedded database: a connection to the server's lock, which keeps
 * the server alive and closes at its death. Starts the server if there is none, and again if it dies.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { open, type FileHandle } from "node:fs/promises";
import type { Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import type { EmbeddedPaths } from "./embedded-paths.js";
import { connectToHolder } from "./living-lock.js";
import { CLOSING_LINE, READY_LINE, SERVER_LOCK_NAME, type ServerOptions } from "./server-options.js";
import { RowmillError } from "../model/errors.js";

/** Between looks whether the started server has its lock. */
const LOOK_MS = 25;
/** A larger log is emptied when a server starts. */
const LOG_BYTES_MAX = 1024 * 1024;
const LOG_TAIL_BYTES = 4_000;
/** Restarts in a row after deaths; then the clients get their own errors. */
const REVIVALS_MAX = 5;
/** A server that lived this long ends the row. */
const LIVED_MS = 60_000;
/** All that the server needs. Other variables may hold secrets, or options of Node that are not for it. */
const PASSED_ENVIRONMENT = ["PATH", "HOME", "TMPDIR", "TEMP", "TMP", "LANG"];

interface AttachmentOptions {
  readonly paths: EmbeddedPaths;
  readonly timeoutMs: number;
  /** For a server that this process starts. */
  readonly server: ServerOptions;
}

interface StartedServer {
  readonly process: ChildProcess;
  readonly log: FileHandle;
  /** Where this server's output begins. */
  readonly logStart: number;
}

export class Attachment {
  readonly #options: AttachmentOptions;
  #socket: Socket | null = null;
  #closed = false;
  #revivals = 0;

  constructor(options: AttachmentOptions) {
    this.#options = options;
  }

  /** Resolves when the server is ready. */
  async open(): Promise<void> {
    const deadline = performance.now() + this.#options.timeoutMs;
    let started: StartedServer | null = null;
    try {
      while (performance.now() < deadline) {
        const socket = await connectToHolder(this.#options.paths.socketDir, SERVER_LOCK_NAME);
        if (socket !== null) {
          if ((await readiness(socket, deadline)) === "gone") continue;
          this.#keep(socket);
          return;
        }
        started = await this.#ensureStarted(started);
        await sleep(LOOK_MS);
      }
    } finally {
      await started?.log.close();
    }
    throw this.#timedOut();
  }

  close(): void {
    this.#closed = true;
    this.#socket?.destroy();
  }

  /** A server that ended with status 0 lost the race for the lock, or was stopped: starts the next one. */
  async #ensureStarted(started: StartedServer | null): Promise<StartedServer> {
    if (started !== null && isRunning(started.process)) return started;
    if (started !== null) {
      if (started.process.exitCode !== 0) throw await this.#didNotStart(started);
      await started.log.close();
    }
    return this.#start();
  }

  async #start(): Promise<StartedServer> {
    const { paths, server } = this.#options;
    const log = await open(paths.log, "a+", 0o600);
    if ((await log.stat()).size > LOG_BYTES_MAX) await log.truncate(0);
    const logStart = (await log.stat()).size;
    // `.js` in a build, `.ts` from source (tests, development), which needs jiti's hooks.
    const script = new URL(`./server-process${import.meta.url.endsWith(".ts") ? ".ts" : ".js"}`, import.meta.url);
    const child = spawn(process.execPath, [...execArgvFor(script), fileURLToPath(script), JSON.stringify(server)], {
      cwd: paths.dataDir,
      // Its own session, so that Ctrl-C and the end of the terminal do not reach the database.
      detached: true,
      stdio: ["ignore", "ignore", log.fd],
      env: Object.fromEntries(PASSED_ENVIRONMENT.map((name) => [name, process.env[name]])),
    });
    // Without a listener the error would be thrown. `exitCode` stays null, so `open` times out.
    child.on("error", (error) => process.emitWarning(`The embedded database could not be started: ${error.message}`));
    child.unref();
    return { process: child, log, logStart };
  }

  #keep(socket: Socket): void {
    this.#socket = socket;
    const since = performance.now();
    let told = "";
    socket.unref();
    socket.on("data", (chunk) => (told += chunk.toString()));
    socket.on("close", () => {
      this.#socket = null;
      if (performance.now() - since > LIVED_MS) this.#revivals = 0;
      if (!this.#closed && !told.includes(CLOSING_LINE)) void this.#revive();
    });
  }

  /** The clients of this process reconnect automatically, so they need a server again. */
  async #revive(): Promise<void> {
    if (this.#revivals >= REVIVALS_MAX) return;
    this.#revivals += 1;
    try {
      await this.open();
      if (this.#closed) this.close();
    } catch (error) {
      process.emitWarning(error instanceof Error ? error : String(error));
    }
  }

  async #didNotStart(started: StartedServer): Promise<RowmillError> {
    const { size } = await started.log.stat();
    const from = Math.max(started.logStart, size - LOG_TAIL_BYTES);
    const { buffer, bytesRead } = await started.log.read(Buffer.alloc(size - from), 0, size - from, from);
    const words = buffer.toString("utf8", 0, bytesRead).trim();
    const { exitCode, signalCode } = started.process;
    return new RowmillError(
      "database_unreachable",
      `The embedded database in ${this.#options.paths.dataDir} did not start ` +
        `(${signalCode ?? `exit status ${exitCode}`}): ${words}`,
      {
        hints: [
          "If its files are damaged, restore the folder from a backup, or move it away to start an empty database.",
        ],
      },
    );
  }

  #timedOut(): RowmillError {
    const { paths, timeoutMs } = this.#options;
    return new RowmillError(
      "database_timeout",
      `The embedded database in ${paths.dataDir} was not ready after ${timeoutMs} ms.`,
      { hints: [`See ${paths.log}.`] },
    );
  }
}

function isRunning(child: ChildProcess): boolean {
  return child.exitCode === null && child.signalCode === null;
}

/** Waits for the server's first line. `gone`: it ended, or the time is over; then the socket is closed. */
async function readiness(socket: Socket, deadline: number): Promise<"ready" | "gone"> {
  return new Promise((resolve) => {
    let told = "";
    const timer = setTimeout(() => socket.destroy(), deadline - performance.now());
    socket.on("close", () => settle("gone"));
    socket.on("data", listen);
    function listen(chunk: Buffer): void {
      told += chunk.toString();
      if (told.startsWith(READY_LINE)) settle("ready");
    }
    function settle(outcome: "ready" | "gone"): void {
      clearTimeout(timer);
      socket.off("data", listen);
      resolve(outcome);
    }
  });
}

/** Node's options for that script: for `spawn` before the path, for a `Worker` as `execArgv`. */
export function execArgvFor(script: URL): string[] {
  if (!script.pathname.endsWith(".ts")) return [];
  // By path: Node looks up the name `jiti/register` from the child's working directory.
  const jiti = dirname(createRequire(import.meta.url).resolve("jiti/package.json"));
  return ["--import", pathToFileURL(join(jiti, "lib", "jiti-register.mjs")).href];
}
