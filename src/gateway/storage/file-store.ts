/**
 * Owns `files/`: uploads and the outputs of batches, for each its bytes and a JSON object. The object is written after
 * the bytes and deleted before them, so a crash leaves at most unnamed bytes, which the next start removes.
 */
import { linkSync, readdirSync, renameSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { RowmillError } from "../../model/errors.js";
import { maySee, type Owner } from "./api-keys.js";
import { readJsonObjects, writeJsonAtomic } from "./state-dir.js";
import { nowSeconds, type Clock } from "../settings.js";
import { fileSchema, newId, type FileObject } from "../protocol/wire.js";

/** About 1 kB of memory each. */
const FILES_MAX = 100_000;

const recordSchema = z.object({
  sequence: z.number().int(),
  /** Absent in old records. */
  owner: z.string().nullable().default(null),
  file: fileSchema,
});
type FileRecord = z.infer<typeof recordSchema>;

export interface NewFile {
  readonly id: string;
  readonly owner: Owner;
  /** The present path of its bytes, in the same folder tree; they are moved. */
  readonly from: string;
  readonly filename: string;
  readonly purpose: string;
  /** Null: never. */
  readonly ttlSeconds: number | null;
}

export class FileStore {
  readonly #records = new Map<string, FileRecord>();
  readonly #dir: string;
  readonly #clock: Clock;
  #nextSequence = 1;
  #bytes = 0;

  constructor(dir: string, clock: Clock) {
    this.#dir = dir;
    this.#clock = clock;
    const stored = readJsonObjects(dir).map((value) => recordSchema.parse(value));
    for (const record of stored.sort((a, b) => a.sequence - b.sequence)) this.#remember(record);
    for (const name of readdirSync(dir)) {
      if (name.endsWith(".bytes") && !this.#records.has(name.slice(0, -".bytes".length))) rmSync(join(dir, name));
    }
  }

  /** A path for bytes that are still arriving; after a crash the next start removes it. */
  temporaryPath(): string {
    return join(this.#dir, `${newId("file-")}.tmp`);
  }

  /** Moves the bytes. Adding an id again replaces that file, as a restarted batch does with its output. */
  add(file: NewFile): FileObject {
    if (this.#isFull) {
      throw new RowmillError("refused", `The gateway already holds ${FILES_MAX} files.`, {
        hints: ["Delete some files, or start the gateway with an empty data folder."],
      });
    }
    const createdAt = nowSeconds(this.#clock);
    const object: FileObject = {
      id: file.id,
      object: "file",
      bytes: statSync(file.from).size,
      created_at: createdAt,
      filename: file.filename,
      purpose: file.purpose,
      status: "processed",
      status_details: null,
      expires_at: file.ttlSeconds === null ? null : createdAt + file.ttlSeconds,
    };
    renameSync(file.from, this.bytesPath(file.id));
    const record = { sequence: this.#nextSequence, owner: file.owner, file: object };
    this.#save(record);
    this.#remember(record);
    return object;
  }

  /** Undefined if it does not exist, has expired, or belongs to another owner. */
  get(id: string, caller: Owner): FileObject | undefined {
    const record = this.#records.get(id);
    if (record === undefined || !maySee(caller, record.owner)) return undefined;
    if (!this.#hasExpired(record)) return record.file;
    this.delete(id);
    return undefined;
  }

  get #isFull(): boolean {
    return this.#records.size >= FILES_MAX;
  }

  /** For one more upload, or the output of one more batch. */
  hasRoom(bytesMax: number): boolean {
    return !this.#isFull && this.#bytes < bytesMax;
  }

  deleteExpired(countMax: number): void {
    const expired = [...this.#records.values()].filter((record) => this.#hasExpired(record));
    for (const { file } of expired.slice(0, countMax)) this.delete(file.id);
  }

  #hasExpired({ file: { expires_at: expiresAt } }: FileRecord): boolean {
    return expiresAt !== null && expiresAt <= nowSeconds(this.#clock);
  }

  bytesPath(id: string): string {
    return join(this.#dir, `${id}.bytes`);
  }

  /** True if it existed. */
  delete(id: string): boolean {
    const record = this.#records.get(id);
    if (record === undefined) return false;
    this.#records.delete(id);
    this.#bytes -= record.file.bytes;
    rmSync(this.#objectPath(id), { force: true });
    rmSync(this.bytesPath(id), { force: true });
    return true;
  }

  /** A hard link to the bytes, which outlives the file. Replaces what was at `path`. */
  link(id: string, path: string): void {
    rmSync(path, { force: true });
    linkSync(this.bytesPath(id), path);
  }

  /** Oldest first, without expired files and those of other owners. */
  list(caller: Owner): FileObject[] {
    return [...this.#records.keys()].flatMap((id) => this.get(id, caller) ?? []);
  }

  /** Gives what has no owner to this one. */
  adopt(owner: string): void {
    for (const record of this.#records.values()) {
      if (record.owner !== null) continue;
      record.owner = owner;
      this.#save(record);
    }
  }

  #save(record: FileRecord): void {
    writeJsonAtomic(this.#objectPath(record.file.id), record);
  }

  #remember(record: FileRecord): void {
    this.#bytes += record.file.bytes - (this.#records.get(record.file.id)?.file.bytes ?? 0);
    this.#records.delete(record.file.id);
    this.#records.set(record.file.id, record);
    this.#nextSequence = Math.max(this.#nextSequence, record.sequence + 1);
  }

  #objectPath(id: string): string {
    return join(this.#dir, `${id}.json`);
  }
}
