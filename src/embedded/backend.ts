/**
 * Owns PGlite: one PostgreSQL session in this process, over the files of one data folder. Runs one cycle of the
 * protocol at a time, synchronously inside WebAssembly, while nothing else happens in the process. A crash is safe for
 * the data: what was acknowledged is in the write-ahead log, and the next start recovers it.
 */
import { mkdir, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { setFlagsFromString } from "node:v8";
import { PGlite } from "@electric-sql/pglite";
import { durable, SMALL_BUFFERS, syncTree } from "./durable-files.js";
import { exists } from "../model/file-errors.js";
import { syncFolder } from "../model/file-sync.js";
import {
  dataRowCells,
  errorFields,
  message,
  messagesIn,
  queryMessage,
  SYNC_MESSAGE,
  textAt,
  type TransactionStatus,
} from "./wire-messages.js";

/** The answer of one cycle is held in memory until its client has read it. */
const ANSWER_BYTES_MAX = 512 * 1024 * 1024;
const START_LINES_MAX = 50;

export interface Answer {
  /** For the client that asked: everything but notifications. */
  readonly bytes: Buffer;
  /** Null: the cycle ended without ReadyForQuery (a Flush), so the client has not finished. */
  readonly status: TransactionStatus | null;
  /** The tag of each command that succeeded, e.g. `SELECT 1`, `SET`, `LISTEN`. */
  readonly tags: readonly string[];
  /** NotificationResponse messages, for all clients that listen. */
  readonly notifications: readonly Buffer[];
  /** The answer was too long and its rest is lost; the client must get an error. */
  readonly cut: boolean;
}

/** Sent after each cycle: PostgreSQL ignores it, but it ends a waiting COPY FROM STDIN with an error. */
const REFUSE_COPY = message(
  "f",
  "the embedded database does not support COPY FROM STDIN; insert rows, or use a PostgreSQL server",
);

export class Backend {
  readonly #db: PGlite;

  private constructor(db: PGlite) {
    this.#db = db;
  }

  /** Opens the cluster. Only the holder of the folder's lock may call this: two openers destroy the data. */
  static async open(cluster: string): Promise<Backend> {
    return new Backend(await openCluster(cluster));
  }

  /** Runs the messages up to a Sync, Query, FunctionCall or Flush. Joins them only here: one may hold megabytes. */
  async run(cycle: readonly Buffer[]): Promise<Answer> {
    const first = await this.#exchange(Buffer.concat([...cycle, REFUSE_COPY]));
    if (first.status !== null || first.cut || !first.copyRefused) return first;
    // The error makes PostgreSQL skip to a Sync, but it read the client's own as a part of the COPY.
    const rest = await this.#exchange(SYNC_MESSAGE);
    return { ...rest, bytes: Buffer.concat([first.bytes, rest.bytes]) };
  }

  /** For our own statements, outside transactions. @throws Error of the database */
  async query(sql: string): Promise<{ rows: (string | null)[][]; notifications: readonly Buffer[] }> {
    const answer = await this.#exchange(queryMessage(sql));
    const rows: (string | null)[][] = [];
    for (const { type, start, end } of messagesIn(answer.bytes)) {
      const bytes = answer.bytes.subarray(start, end);
      if (type === "E") throw new Error(errorFields(bytes).get("M") ?? "unknown error");
      if (type === "D") rows.push(dataRowCells(bytes));
    }
    return { rows, notifications: answer.notifications };
  }

  /** Writes a checkpoint and closes the files. */
  async close(): Promise<void> {
    await this.#db.close();
  }

  async #exchange(bytes: Buffer): Promise<Answer & { readonly copyRefused: boolean }> {
    const chunks: Buffer[] = [];
    let length = 0;
    const onRawData = (data: Uint8Array): void => {
      length += data.length;
      // The next chunk overwrites this memory of WebAssembly.
      if (length <= ANSWER_BYTES_MAX) chunks.push(Buffer.from(data));
    };
    await this.#db.runExclusive(() => this.#db.execProtocolRawStream(bytes, { onRawData }));
    const [only] = chunks;
    return readAnswer(only && chunks.length === 1 ? only : Buffer.concat(chunks), length > ANSWER_BYTES_MAX);
  }
}

function readAnswer(bytes: Buffer, cut: boolean): Answer & { readonly copyRefused: boolean } {
  const tags: string[] = [];
  const notifications: Buffer[] = [];
  const kept: Buffer[] = [];
  let keptUpTo = 0;
  let status: TransactionStatus | null = null;
  let copyRefused = false;
  for (const { type, start, end } of messagesIn(bytes)) {
    if (type === "Z") status = statusOf(bytes.toString("latin1", start + 5, end));
    if (type === "C") tags.push(textAt(bytes, start + 5));
    if (type !== "A" && type !== "G") continue;
    kept.push(bytes.subarray(keptUpTo, start));
    keptUpTo = end;
    if (type === "A") notifications.push(bytes.subarray(start, end));
    // Not for the client: it would begin to send data after the refusal.
    else copyRefused = true;
  }
  const forClient = kept.length === 0 ? bytes : Buffer.concat([...kept, bytes.subarray(keptUpTo)]);
  return { bytes: forClient, status, tags, notifications, cut, copyRefused };
}

function statusOf(letter: string): TransactionStatus {
  return letter === "T" || letter === "E" ? letter : "I";
}

/** Errors have PostgreSQL's own output from the start. Later output may hold statements with users' data. */
async function openCluster(cluster: string): Promise<PGlite> {
  const words: string[] = [];
  let starting = true;
  const onStderr = (text: string): boolean => {
    if (starting && words.length < START_LINES_MAX) words.push(text);
    return false;
  };
  try {
    return await PGlite.create({ ...durable(cluster), onStderr });
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new Error([reason, ...words].join("\n"), { cause: error });
  } finally {
    starting = false;
  }
}

/**
 * Creates the cluster if there is none, and then returns true. Only the holder of the folder's lock may call this. It
 * gets its name by one rename once it is on the disk, so what a killed process left is removed first. PGlite keeps the
 * 600 MB that it needs for this, so the process should end afterwards.
 */
export async function makeMissingCluster(cluster: string): Promise<boolean> {
  const unfinished = `${cluster}.new`;
  await rm(unfinished, { recursive: true, force: true });
  if (await exists(cluster)) return false;
  await mkdir(unfinished, { recursive: true, mode: 0o700 });
  // Without optimized code this short process needs a third less time, and 100 MB less.
  setFlagsFromString("--liftoff-only");
  const db = await PGlite.create(unfinished, { startParams: [...PGlite.defaultStartParams, ...SMALL_BUFFERS] });
  await db.close();
  await syncTree(unfinished);
  await rename(unfinished, cluster);
  await syncFolder(dirname(cluster));
  return true;
}
