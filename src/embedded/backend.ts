/**
 * Owns PGlite: one PostgreSQL session in this process, over the files of one data folder. Answers one cycle of the
 * protocol at a time; who may speak when is decided by the mux.
 *
 * A cycle runs synchronously inside WebAssembly: nothing else happens in the process meanwhile. A crash at any
 * instant is safe for the data: what was acknowledged is in the write-ahead log, and the next start recovers.
 */
import { mkdir, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { setFlagsFromString } from "node:v8";
import { PGlite } from "@electric-sql/pglite";
import { durable, SMALL_BUFFERS, syncFolder, syncTree } from "./durable-files.js";
import { exists } from "./file-errors.js";
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
  /** Null: the cycle ended without ReadyForQuery (a Flush), so the client is still in the middle of something. */
  readonly status: TransactionStatus | null;
  /** The tag of each command that succeeded, e.g. `SELECT 1`, `SET`, `LISTEN`. */
  readonly tags: readonly string[];
  /** NotificationResponse messages, for whoever listens. */
  readonly notifications: readonly Buffer[];
  /** The answer was longer than can be held and its rest is lost; the client must be told so. */
  readonly cut: boolean;
}

/** Sent after each cycle: ignored by PostgreSQL, but a COPY FROM STDIN that waits for data it ends with an error. */
const REFUSE_COPY = message(
  "f",
  "the embedded database does not take COPY FROM STDIN; insert rows, or use a PostgreSQL server",
);

export class Backend {
  readonly #db: PGlite;

  private constructor(db: PGlite) {
    this.#db = db;
  }

  /** Opens the cluster in that folder. Only the holder of the folder's lock may call this: two openers destroy the data. */
  static async open(cluster: string): Promise<Backend> {
    return new Backend(await openCluster(cluster));
  }

  /** Runs messages, joined here and nowhere else since one may hold megabytes, up to and with a Sync, Query, FunctionCall or Flush. */
  async run(cycle: readonly Buffer[]): Promise<Answer> {
    const first = await this.#exchange(Buffer.concat([...cycle, REFUSE_COPY]));
    if (first.status !== null || first.cut || !first.copyRefused) return first;
    // In the extended protocol the refusal's error makes PostgreSQL skip to a Sync, and the client's own was read
    // as a part of the COPY.
    const rest = await this.#exchange(SYNC_MESSAGE);
    return { ...rest, bytes: Buffer.concat([first.bytes, rest.bytes]) };
  }

  /** For statements of our own, while no client is in a transaction. Throws on an error of the database. */
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
      // The data lies in the memory of WebAssembly and is overwritten by the next chunk.
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
    // The client is not told that COPY has begun: it would begin to send data after the refusal.
    else copyRefused = true;
  }
  const forClient = kept.length === 0 ? bytes : Buffer.concat([...kept, bytes.subarray(keptUpTo)]);
  return { bytes: forClient, status, tags, notifications, cut, copyRefused };
}

function statusOf(letter: string): TransactionStatus {
  return letter === "T" || letter === "E" ? letter : "I";
}

/** PostgreSQL's own words on a failure. Later ones are not kept: they hold statements, and with them users' data. */
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
 * Makes the cluster of that folder where there is none; true when it did. Only the holder of the folder's lock may call this. What a
 * killed process left half made is removed first: a cluster gets its name by one rename, once all of it is on the disk. PGlite needs
 * 600 MB for this and gives none of it back, so the process should end afterwards.
 */
export async function makeMissingCluster(cluster: string): Promise<boolean> {
  const unfinished = `${cluster}.new`;
  await rm(unfinished, { recursive: true, force: true });
  if (await exists(cluster)) return false;
  await mkdir(unfinished, { recursive: true, mode: 0o700 });
  // Optimised code pays off in a process that lives on: without, a third less of processor time, and 100 MB.
  setFlagsFromString("--liftoff-only");
  const db = await PGlite.create(unfinished, {
    startParams: [...PGlite.defaultStartParams, ...SMALL_BUFFERS],
  });
  await db.close();
  await syncTree(unfinished);
  await rename(unfinished, cluster);
  await syncFolder(dirname(cluster));
  return true;
}
