/**
 * A connection to a SQLite database, by a process of its own (`driver-process.mjs`). One that is free again waits a
 * moment for the next reading or write. Each call has a time-out, after which its process is killed.
 */
import { fork, type ChildProcess } from "node:child_process";
import { stat } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { hasCode } from "../../model/file-errors.js";
import { ConnectorError } from "../../model/connector.js";
import { loadPeer } from "../load-peer.js";
import { DriverError, explain, type DriverFailure } from "./failure.js";
import { driverUrl, type Place } from "./place.js";

/** How long the driver waits for a lock. */
const BUSY_MS = 3_000;
const OPEN_MS_MAX = 20_000;
const IDLE_MS = 5_000;
const IDLE_MAX = 4;

export interface Statement {
  readonly sql: string;
  readonly values: readonly unknown[];
}

/** The texts of a row's cells, and the first letter of each one's type: `i`, `r`, `t`, `b` or `n`. */
export type TypedTexts = readonly [types: string, texts: readonly (string | null)[]];

export interface EachRun {
  /** For each that fails; the others: null. */
  readonly errors: readonly (DriverFailure | null)[];
  /** False: the last error ended the transaction, so nothing is written. */
  readonly isOpen: boolean;
}

export interface Access {
  readonly place: Place;
  readonly authToken: string;
  /** `create`: a file that is missing is made. */
  readonly mode: "read" | "write" | "create";
  readonly callMsMax: number;
  readonly signal: AbortSignal;
}

class Driver {
  readonly #child: ChildProcess;
  readonly #calls = new Map<number, { resolve: (value: never) => void; reject: (error: Error) => void }>();
  #id = 0;

  constructor() {
    this.#child = fork(fileURLToPath(new URL("./driver-process.mjs", import.meta.url)), {
      serialization: "advanced",
      execArgv: [],
      stdio: ["ignore", "ignore", "ignore", "ipc"],
    });
    this.#child.on("message", (message) => this.#answered(message as Answer));
    this.#child.on("error", () => this.#ended());
    this.#child.on("exit", () => this.#ended());
    this.#rest();
  }

  get isAlive(): boolean {
    return this.#child.connected;
  }

  async run(statement: Statement, access: Access): Promise<readonly (readonly unknown[])[]> {
    return this.#call("run", wireOf(statement), access);
  }

  /** Of a statement that gives the type and the value of each cell. */
  async read(statement: Statement, access: Access): Promise<readonly TypedTexts[]> {
    return this.#call("read", wireOf(statement), access);
  }

  /** In the open transaction. */
  async runEach(statements: readonly Statement[], access: Access): Promise<EachRun> {
    return this.#call("runEach", { statements: statements.map(wireOf) }, access);
  }

  /** With the lock for writing. @throws what `work` throws, after a rollback */
  async transaction<T>(access: Access, work: () => Promise<T>): Promise<T> {
    await this.#call("begin", {}, access);
    try {
      const result = await work();
      await this.#call("commit", {}, access);
      return result;
    } catch (error) {
      if (this.isAlive) await this.#call("rollback", {}, access).catch(() => this.end());
      throw error;
    }
  }

  async open({ place, authToken, mode, ...access }: Access): Promise<void> {
    const token = authToken !== "" || place.kind === "file" ? authToken : (place.token ?? "");
    const url = driverUrl(place, mode);
    await loadPeer("@libsql/client", () =>
      this.#call<void>(
        "open",
        { url, authToken: token, busyMs: BUSY_MS, isFile: place.kind === "file" },
        {
          ...access,
          callMsMax: OPEN_MS_MAX,
        },
      ),
    );
  }

  /** It ends after its present call. */
  end(): void {
    if (this.#child.connected) this.#child.disconnect();
  }

  async #call<T>(call: string, of: object, { signal, callMsMax }: Pick<Access, "signal" | "callMsMax">): Promise<T> {
    if (signal.aborted) throw stopped();
    const id = ++this.#id;
    this.#work();
    let leave = () => {};
    try {
      return await new Promise<T>((resolve, reject) => {
        this.#calls.set(id, { resolve, reject });
        leave = onEnd(signal, callMsMax, (error) => {
          // What it had begun is rolled back.
          if (!signal.aborted) this.#child.kill("SIGKILL");
          this.end();
          reject(error);
        });
        if (this.#child.connected) this.#child.send({ id, call, of }, (error) => error && reject(gone()));
        else reject(gone());
      });
    } finally {
      leave();
      this.#calls.delete(id);
      if (this.#calls.size === 0) this.#rest();
    }
  }

  #answered({ id, error, value }: Answer): void {
    const call = this.#calls.get(id);
    if (error === undefined) call?.resolve(value as never);
    else
      call?.reject(
        error.code === "ERR_MODULE_NOT_FOUND" ? Object.assign(new Error(error.message), error) : new DriverError(error),
      );
  }

  #ended(): void {
    for (const { reject } of this.#calls.values()) reject(gone());
  }

  /** Between its calls, it does not keep this process alive. */
  #rest(): void {
    this.#child.unref();
    this.#child.channel?.unref();
  }

  #work(): void {
    this.#child.ref();
    this.#child.channel?.ref();
  }
}

/** Calls `end` when the time is over, or the signal aborts. What it returns takes that back. */
function onEnd(signal: AbortSignal, ms: number, end: (error: Error) => void): () => void {
  const stop = () => end(stopped());
  const timer = setTimeout(
    () => end(new DriverError({ message: `no answer in ${ms / 1_000} s`, code: "TIMEOUT" })),
    ms,
  );
  signal.addEventListener("abort", stop, { once: true });
  return () => {
    clearTimeout(timer);
    signal.removeEventListener("abort", stop);
  };
}

interface Answer {
  readonly id: number;
  readonly value?: unknown;
  readonly error?: DriverFailure;
}

function wireOf({ sql, values }: Statement): object {
  // The driver takes every number for a fractional one.
  return { sql, args: values.map((value) => (Number.isSafeInteger(value) ? BigInt(value as number) : value)) };
}

function gone(): DriverError {
  return new DriverError({ message: "the process of the driver ended", code: "GONE" });
}

function stopped(): ConnectorError {
  return new ConnectorError("again", "sqlite(): the call was stopped.");
}

interface Idle {
  readonly key: string;
  readonly driver: Driver;
  readonly timer: NodeJS.Timeout;
}

const IDLE: Idle[] = [];

export interface OpenDriver {
  readonly run: (statement: Statement) => Promise<readonly (readonly unknown[])[]>;
  readonly read: (statement: Statement) => Promise<readonly TypedTexts[]>;
  readonly runEach: (statements: readonly Statement[]) => Promise<EachRun>;
  readonly transaction: <T>(work: () => Promise<T>) => Promise<T>;
  /** A number that another file of the same path does not have. Null: of a server. */
  readonly file: string | null;
  /** @throws ConnectorError where another file took its place */
  readonly requireSameFile: () => Promise<void>;
  /** After an error: a statement that found a lock stays open there, so that the connection commits no more. */
  readonly end: () => void;
  /** For the next use. */
  readonly release: () => void;
}

/** @throws ConnectorError */
export async function openDriver(access: Access): Promise<OpenDriver> {
  const { place, mode } = access;
  const found = await fileOf(place, mode);
  const taken = IDLE.findIndex(({ key, driver }) => found !== null && key === keyOf(access, found) && driver.isAlive);
  const [kept] = taken === -1 ? [] : IDLE.splice(taken, 1);
  if (kept !== undefined) clearTimeout(kept.timer);
  const driver = kept?.driver ?? new Driver();
  try {
    if (kept === undefined) await driver.open(access);
    // It may be made only now.
    const file = await fileOf(place, mode === "create" ? "write" : mode);
    if (found !== null && file !== found) throw replaced(place);
    return {
      run: (statement) => driver.run(statement, access),
      read: (statement) => driver.read(statement, access),
      runEach: (statements) => driver.runEach(statements, access),
      transaction: (work) => driver.transaction(access, work),
      file,
      requireSameFile: async () => {
        if ((await fileOf(place, "write")) !== file) throw replaced(place);
      },
      end: () => driver.end(),
      release: () => release({ key: keyOf(access, file), driver }),
    };
  } catch (error) {
    driver.end();
    throw explain(error, place, { isReading: mode === "read" });
  }
}

function release({ key, driver }: Omit<Idle, "timer">): void {
  if (!driver.isAlive) return;
  const timer = setTimeout(() => {
    driver.end();
    IDLE.splice(
      IDLE.findIndex((one) => one.driver === driver),
      1,
    );
  }, IDLE_MS).unref();
  IDLE.push({ key, driver, timer });
  if (IDLE.length > IDLE_MAX) {
    const oldest = IDLE.shift();
    clearTimeout(oldest?.timer);
    oldest?.driver.end();
  }
}

function keyOf({ place, mode, authToken }: Access, file: string | null): string {
  return JSON.stringify([place, mode === "read", authToken, file]);
}

/** Null: a server, or a file that will be made. @throws ConnectorError */
async function fileOf(place: Place, mode: Access["mode"]): Promise<string | null> {
  if (place.kind === "server") return null;
  try {
    const found = await stat(place.path, { bigint: true });
    if (found.isFile()) return `${found.dev}:${found.ino}`;
  } catch (error) {
    if (!hasCode(error, "ENOENT") && !hasCode(error, "ENOTDIR"))
      throw new ConnectorError("again", `${place.shown} cannot be opened.`, { cause: error });
    if (mode === "create") return null;
    if (mode === "read")
      throw new ConnectorError("stop", `There is no file ${place.shown}.`, {
        cause: error,
        hints: [`A relative path starts in the folder where Rowmill runs: ${process.cwd()}`],
      });
    throw replaced(place);
  }
  throw new ConnectorError("stop", `${place.shown} is not a file.`);
}

function replaced(place: Place): ConnectorError {
  return new ConnectorError("again", `${place.shown} was removed or replaced while Rowmill used it.`);
}
