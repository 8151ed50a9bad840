/**
 * Owns the journal: calls with a key and all effects, one JSON object per line, only appended, and the questions of
 * tests about it. An entry is written before the reply is sent; a crash may cut the last line, which the next start
 * removes. It holds names, numbers and hashes, but no key or message text. Above its bound, the oldest parts are
 * deleted; what a restart needs of them is carried.
 */
import { createHash } from "node:crypto";
import { AppendFile } from "./append-file.js";
import { JournalFiles } from "./journal-files.js";
import { RowmillError } from "../../model/errors.js";
import { isTerminal, type BatchStatus } from "../protocol/wire.js";

/** The journal is deleted in as many pieces. */
const PARTS = 16;
const PART_BYTES_MIN = 4_096;
/** As many as the demo model remembers. */
const ONCE_MAX = 100_000;
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
  /** More refused calls of this kind since the entry before: see `CallLog`. */
  | {
      readonly kind: "refusedCalls";
      readonly at: number;
      readonly method: string;
      readonly route: string;
      readonly status: number;
      readonly calls: number;
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
  const files = new JournalFiles(dataDir);
  return { entries: () => readEntries(files), summary: () => summarise(readEntries(files)) };
}

export interface JournalOptions {
  readonly dataDir: string;
  /** Of all its files together, nearly. */
  readonly bytesMax: number;
  /** The batches that a previous run left unfinished. */
  readonly running: readonly string[];
  /** Gets what goes wrong when the oldest part should be deleted. */
  readonly log: (message: string) => void;
}

export class Journal implements JournalReader {
  readonly #files: JournalFiles;
  readonly #options: JournalOptions;
  readonly #partBytes: number;
  readonly #executed: Map<string, number>;
  readonly #once = new Set<string>();
  #file: AppendFile;
  #isClosed = false;
  #closePartAt: number;
  #flush: () => void = () => undefined;

  private constructor(options: JournalOptions) {
    this.#options = options;
    this.#files = new JournalFiles(options.dataDir);
    this.#partBytes = Math.max(PART_BYTES_MIN, Math.floor(options.bytesMax / PARTS));
    this.#closePartAt = this.#partBytes;
    this.#executed = new Map(options.running.map((id) => [id, 0]));
    this.#file = new AppendFile(this.#files.currentPath);
  }

  /** Reads what is not carried yet. */
  static async open(options: JournalOptions): Promise<Journal> {
    const { through, executed, once } = new JournalFiles(options.dataDir).readCarried();
    const journal = new Journal(options);
    for (const id of options.running) journal.#executed.set(id, executed[id] ?? 0);
    for (const hash of once) journal.#once.add(hash);
    for await (const entry of readEntries(journal.#files, through)) journal.#learn(entry, true);
    return journal;
  }

  /** How many executed lines it has of each unfinished batch. */
  get executed(): ReadonlyMap<string, number> {
    return this.#executed;
  }

  /** The messages whose `…-once` text has taken effect, by `contentHash`. */
  get once(): ReadonlySet<string> {
    return this.#once;
  }

  /** `flush` writes what is not in the journal yet; called before each reading, and before the end. */
  beforeRead(flush: () => void): void {
    this.#flush = flush;
  }

  /** In this order, in one write. Nothing after `close`: such a call gets no reply either. */
  append(...entries: readonly JournalEntry[]): void {
    if (entries.length === 0 || this.#isClosed) return;
    this.#file.append(entries.map((entry) => `${JSON.stringify(entry)}\n`).join(""));
    for (const entry of entries) this.#learn(entry);
    if (this.#file.bytes >= this.#closePartAt) this.#closePart();
  }

  async *entries(): AsyncGenerator<JournalEntry> {
    this.#flush();
    yield* readEntries(this.#files);
  }

  summary(): Promise<JournalSummary> {
    return summarise(this.entries());
  }

  close(): void {
    this.#flush();
    this.#isClosed = true;
    this.#file.close();
  }

  /** `isPast`: of a batch that is not running any more, nothing has to be known. */
  #learn(entry: JournalEntry, isPast = false): void {
    if (entry.kind === "status" && isTerminal(entry.status) && !isPast) this.#executed.delete(entry.batchId);
    if (entry.kind !== "executed") return;
    const { batchId, behaviour, contentHash } = entry;
    const known = batchId === null ? undefined : (this.#executed.get(batchId) ?? (isPast ? undefined : 0));
    if (batchId !== null && known !== undefined) this.#executed.set(batchId, known + 1);
    if (behaviour?.includes("-once") === true && this.#once.size < ONCE_MAX) this.#once.add(contentHash);
  }

  /** A failure, such as a full disk, leaves the journal as it is: the next part is only larger. */
  #closePart(): void {
    try {
      const through = this.#files.closePart();
      const full = this.#file;
      this.#file = new AppendFile(this.#files.currentPath);
      this.#closePartAt = this.#partBytes;
      full.close();
      this.#files.writeCarried({ through, executed: Object.fromEntries(this.#executed), once: [...this.#once] });
      this.#files.deleteAbove(this.#options.bytesMax - this.#partBytes, through);
    } catch (error) {
      this.#closePartAt = this.#file.bytes + this.#partBytes;
      this.#options.log(
        `the journal could not be shortened: ${error instanceof Error ? error.message : String(error)}`,
      );
    }
  }
}

async function* readEntries(files: JournalFiles, after = 0): AsyncGenerator<JournalEntry> {
  for await (const lines of files.lines(after)) {
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
    if (entry.kind === "refusedCalls") count(calls, `${entry.method} ${entry.route}`, entry.calls);
    if (entry.kind === "batch") batches.push(entry);
    if (entry.kind !== "executed" || entry.batchId === null || entry.customId === null) continue;
    executed += 1;
    count(executedByCustomId, entry.customId);
    count(executedByContent, entry.contentHash);
  }
  return { calls, batches, executed, executedByCustomId, executedByContent };
}

function count(counters: Map<string, number>, key: string, times = 1): void {
  counters.set(key, (counters.get(key) ?? 0) + times);
}
