/**
 * The process of an embedded database: takes the lock of its data folder, opens the database, listens, and ends after
 * its last client. Exit status 0: it served and closed, another server holds the folder, or it created the database:
 * then the next server, which needs a fifth of the memory, takes over. It may be killed at any instant: the lock dies
 * with it, and the next server recovers or recreates the data.
 */
import { rm } from "node:fs/promises";
import { createServer, type Server, type Socket } from "node:net";
import { once } from "node:events";
import { setFlagsFromString } from "node:v8";
import { Backend, makeMissingCluster } from "./backend.js";
import { ClientConnection } from "./client-connection.js";
import { embeddedPaths, type EmbeddedPaths } from "./embedded-paths.js";
import { Housekeeper } from "./housekeeping.js";
import { acquireLivingLock, type LivingLock } from "./living-lock.js";
import { Mux } from "./mux.js";
import {
  CLOSING_LINE,
  parseServerOptions,
  READY_LINE,
  SERVER_LOCK_NAME,
  type ServerOptions,
} from "./server-options.js";
import { readReported } from "./session-settings.js";
import { errorResponse } from "./wire-messages.js";

const CLIENTS_MAX = 500;
/** Half of autovacuum's interval: a round without work takes 2 ms. */
const HOUSEKEEPING_MS = 30_000;

/**
 * V8 optimizes a WebAssembly function after this many bytes of work. Its default of 1.8 million does not pay off in a
 * server that lives for seconds: with this, a run over 1,000 lines needs 2.3 s of the server's processor time instead
 * of 3.4; over 30,000 lines both need 12 s.
 */
const WASM_TIERING_BUDGET = 2_000_000_000;

class EmbeddedServer {
  readonly #options: ServerOptions;
  readonly #paths: EmbeddedPaths;
  readonly #attached = new Set<Socket>();
  readonly #clients = new Set<ClientConnection>();
  #ready = false;
  #closing = false;
  #graceTimer: NodeJS.Timeout | undefined;
  #lock: LivingLock | null = null;
  #backend: Backend | null = null;
  #service: Server | null = null;
  #nextId = 1;

  constructor(options: ServerOptions, paths: EmbeddedPaths) {
    this.#options = options;
    this.#paths = paths;
  }

  /** False: another server holds the data folder, or this one has created the database for the next. */
  async start(): Promise<boolean> {
    const attempt = await acquireLivingLock({
      folder: this.#paths.socketDir,
      name: SERVER_LOCK_NAME,
      holder: { pid: process.pid, startedAt: new Date().toISOString(), command: "embedded database" },
      onConnection: (socket) => this.#attach(socket),
    });
    if (attempt.kind === "held") return false;
    this.#lock = attempt.lock;
    for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, () => void this.close());
    if (await makeMissingCluster(this.#paths.cluster)) return false;
    this.#backend = await Backend.open(this.#paths.cluster);
    await this.#listen(this.#backend);
    this.#ready = true;
    for (const socket of this.#attached) socket.write(READY_LINE);
    this.#watchForIdleness();
    return true;
  }

  /** Ends the process. */
  async close(): Promise<void> {
    if (this.#closing || !this.#ready) {
      // A second signal, or one during the start: the next start recovers.
      process.exit(this.#closing ? 1 : 0);
    }
    this.#closing = true;
    // They stay open until the process ends, which a waiting successor needs to know.
    for (const socket of this.#attached) socket.write(CLOSING_LINE);
    for (const client of this.#clients) {
      client.fail({ severity: "FATAL", code: "57P01", message: "the embedded database is closing" });
    }
    this.#service?.close();
    await this.#backend?.close();
    this.#lock?.release();
    process.exit(0);
  }

  async #listen(backend: Backend): Promise<void> {
    const reported = await readReported(backend);
    const mux = new Mux(backend, {
      transactionIdleMs: this.#options.transactionIdleMs,
      housekeeper: new Housekeeper(),
      onBroken: (error) => {
        console.error("The embedded database failed:", error);
        process.exit(1);
      },
    });
    setInterval(() => mux.keepHouse(), HOUSEKEEPING_MS).unref();
    // We hold the lock, so the process that bound it is dead.
    await rm(this.#paths.serviceSocket, { force: true });
    this.#service = createServer((socket) => this.#accept(socket, mux, reported));
    this.#service.listen(this.#paths.serviceSocket);
    await once(this.#service, "listening");
  }

  #accept(socket: Socket, mux: Mux, reported: ReadonlyMap<string, string>): void {
    if (this.#closing || this.#clients.size >= CLIENTS_MAX) {
      socket.on("error", () => socket.destroy());
      const message = this.#closing ? "the embedded database is closing" : `more than ${CLIENTS_MAX} clients`;
      socket.end(errorResponse({ severity: "FATAL", code: "53300", message }));
      return;
    }
    const id = this.#nextId;
    this.#nextId += 1;
    const client = new ClientConnection({
      socket,
      id,
      mux,
      reported,
      onGone: () => {
        this.#clients.delete(client);
        this.#watchForIdleness();
      },
    });
    this.#clients.add(client);
    this.#watchForIdleness();
  }

  /** A connection to the lock keeps the server alive and learns when it is ready. */
  #attach(socket: Socket): void {
    this.#attached.add(socket);
    socket.on("error", () => socket.destroy());
    socket.on("close", () => {
      this.#attached.delete(socket);
      this.#watchForIdleness();
    });
    socket.resume();
    if (this.#closing) socket.write(CLOSING_LINE);
    else if (this.#ready) socket.write(READY_LINE);
    this.#watchForIdleness();
  }

  #watchForIdleness(): void {
    clearTimeout(this.#graceTimer);
    if (!this.#ready || this.#closing || this.#attached.size + this.#clients.size > 0) return;
    this.#graceTimer = setTimeout(() => void this.close(), this.#options.graceMs);
  }
}

try {
  setFlagsFromString(`--wasm-tiering-budget=${WASM_TIERING_BUDGET}`);
  const options = parseServerOptions(process.argv[2] ?? "");
  const server = new EmbeddedServer(options, await embeddedPaths(options.dataDir));
  if (!(await server.start())) process.exit(0);
} catch (error) {
  // For the process that started this one. Without the stack: PGlite's is one line of a megabyte.
  console.error(error instanceof Error ? error.message : String(error));
  process.exit(1);
}
