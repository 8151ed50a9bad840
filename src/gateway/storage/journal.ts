/**
 * Owns `journal.jsonl`: all calls with a key and all effects, one JSON object per line, only appended, and the
 * questions of tests about it. An entry is written before the reply is sent; a crash may cut the last line, which the
 * next start removes. It holds names, numbers and hashes, but no key or message text. It grows: delete it while the
 * gateway is stopped.
 */
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { AppendFile } from "./append-file.js";
import { readLineChunks } from "../protocol/input-lines.js";
import { journalPathOf } from "./state-dir.js";
import { RowmillError } from "../../model/errors.js";
import type { BatchStatus } from "../protocol/wire.js";

const READ_LINES = 1_000;
/** A summary has a counter per custom id. Above this, read the entries instead. */
const SUMMARY_ENTRIES_MAX = 5_000_000;

/** `at` is milliseconds since the epoch by the gateway's clock. */
export type JournalEntry =
  | {
      readonly kind: "call";
      readonly at: number;
      readonly requestId: string;
      readonly method: string;
      readonly route: string;
      /** Its first 200 characters. */
      readonly path: string;
      /** Null: no reply was sent (a scripted drop). */
      readonly status: number | null;
    }
  | {
      readonly kind: "file";
      readonly at: number;
      readonly fileId: string;
      readonly filename: string;
      readonly bytes: number;
    }
  | { readonly kind: "fileDeleted"; readonly at: number; readonly fileId: string }
  | {
      readonly kind: "batch";
      readonly at: number;
      readonly batchId: string;
      readonly inputFileId: string;
      /** Null if that file does not exist. */
      readonly inputFilename: string | null;
      readonly metadata: Readonly<Record<string, string>> | null;
    }
  | { readonly kind: "status"; readonly at: number; readonly batchId: string; readonly status: BatchStatus }
  | ExecutedEntry;

/** One request that the model executed. `contentHash` is of its user message (`contentHashOf`). */
export interface ExecutedEntry {
  readonly kind: "executed";
  readonly at: number;
  /** Null: a live call. */
  readonly batchId: string | null;
  readonly customId: string | null;
  readonly model: string;
  readonly contentHash: string;
  readonly status: number;
  /** The special text that chose the ending, such as `invalid-once`, or null. */
  readonly behaviour: string | null;
}

type CreatedBatch = Omit<Extract<JournalEntry, { kind: "batch" }>, "kind" | "at">;

export interface JournalSummary {
  /** Calls by `METHOD route`, such as `POST /v1/batches`, with any answer. */
  readonly calls: ReadonlyMap<string, number>;
  /** In order of creation. */
  readonly batches: readonly CreatedBatch[];
  /** Requests executed in batches. */
  readonly executed: number;
  readonly executedByCustomId: ReadonlyMap<string, number>;
  /** Keys are `contentHashOf(user message)`. */
  readonly executedByContent: ReadonlyMap<string, number>;
}

export interface JournalReader {
  /** All entries, oldest first, streamed. */
  entries(): AsyncGenerator<JournalEntry>;
  /** @throws RowmillError `refused` above five million entries */
  summary(): Promise<JournalSummary>;
}

/** The hash in `ExecutedEntry.contentHash`: 32 hex digits of the SHA-256 of the user message's text. */
export function contentHashOf(userMessage: string): string {
  return createHash("sha256").update(userMessage, "utf8").digest("hex").slice(0, 32);
}

/** Reads the journal of a present or past gateway on this folder, also of another process. */
export function readJournal(dataDir: string): JournalReader {
  return new JournalFile(journalPathOf(dataDir));
}

class JournalFile implements JournalReader {
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
  }

  entries(): AsyncGenerator<JournalEntry> {
    return readEntries(this.#path);
  }

  summary(): Promise<JournalSummary> {
    return summarise(this.entries());
  }
}

export class Journal extends JournalFile {
  readonly #file: AppendFile;
  #isClosed = false;

  constructor(path: string) {
    super(path);
    this.#file = new AppendFile(path);
  }

  /** In this order, in one write. Nothing after `close`: such a call gets no reply either. */
  append(...entries: readonly JournalEntry[]): void {
    if (entries.length > 0 && !this.#isClosed)
      this.#file.append(entries.map((entry) => `${JSON.stringify(entry)}\n`).join(""));
  }

  close(): void {
    this.#isClosed = true;
    this.#file.close();
  }
}

async function* readEntries(path: string): AsyncGenerator<JournalEntry> {
  if (!existsSync(path)) return;
  for await (const lines of readLineChunks(path, READ_LINES)) {
    for (const line of lines) {
      const entry = line === null ? null : parseEntry(line);
      if (entry !== null) yield entry;
    }
  }
}

/** Null for a line that another process is writing now, or that a crash cut. */
function parseEntry(line: string): JournalEntry | null {
  try {
    return JSON.parse(line) as JournalEntry;
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
}

async function summarise(entries: AsyncIterable<JournalEntry>): Promise<JournalSummary> {
  const calls = new Map<string, number>();
  const executedByCustomId = new Map<string, number>();
  const executedByContent = new Map<string, number>();
  const batches: CreatedBatch[] = [];
  let executed = 0;
  let seen = 0;
  for await (const entry of entries) {
    if (++seen > SUMMARY_ENTRIES_MAX) {
      throw new RowmillError("refused", `The journal has more than ${SUMMARY_ENTRIES_MAX} entries.`, {
        hints: ["Read them one by one with entries()."],
      });
    }
    if (entry.kind === "call") count(calls, `${entry.method} ${entry.route}`);
    if (entry.kind === "batch") batches.push(entry);
    if (entry.kind !== "executed" || entry.batchId === null || entry.customId === null) continue;
    executed += 1;
    count(executedByCustomId, entry.customId);
    count(executedByContent, entry.contentHash);
  }
  return { calls, batches, executed, executedByCustomId, executedByContent };
}

function count(counters: Map<string, number>, key: string): void {
  counters.set(key, (counters.get(key) ?? 0) + 1);
}
