/**
 * Owns fsync for PGlite, whose file system has none: its writes survive the process, but not the machine. Adds fsync to
 * the file system, and turns PostgreSQL's settings for it on again.
 */
import { fsyncSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { PGlite, type PGliteOptions } from "@electric-sql/pglite";
import { NodeFS } from "@electric-sql/pglite/nodefs";
import { syncEntry, syncFolder } from "../model/file-sync.js";

type ModuleOptions = Parameters<NodeFS["init"]>[1];

/** Waits until the file is on the disk. */
export type SyncFile = (descriptor: number) => void;

class DurableFiles extends NodeFS {
  readonly #syncFile: SyncFile;

  constructor(folder: string, syncFile: SyncFile) {
    super(folder);
    this.#syncFile = syncFile;
  }

  override async init(db: PGlite, options: ModuleOptions): Promise<{ emscriptenOpts: ModuleOptions }> {
    const { emscriptenOpts } = await super.init(db, options);
    const preRun = emscriptenOpts.preRun ?? [];
    const hook = (module: { readonly NODEFS: object }): void => addFsync(module.NODEFS, this.#syncFile);
    return { emscriptenOpts: { ...emscriptenOpts, preRun: [...preRun, hook] } };
  }
}

/**
 * PostgreSQL's default, 128 MB, takes that much memory; beyond 16 MB the page cache of the operating system serves. By
 * default the write-ahead log's buffers would shrink too, to 0.5 MB, and with them each write to disk.
 */
export const SMALL_BUFFERS = ["-c", "shared_buffers=16MB", "-c", "wal_buffers=4MB"];

/** For `PGlite.create`: the cluster in that folder, with fsync. */
export function durable(folder: string, syncFile: SyncFile = fsyncSync): PGliteOptions {
  return {
    fs: new DurableFiles(folder, syncFile),
    // `-F` is fsync = off. The default method, fdatasync, does nothing in Emscripten.
    startParams: [
      ...PGlite.defaultStartParams.filter((one) => one !== "-F"),
      ...["wal_sync_method=fsync", "max_wal_size=128MB"].flatMap((setting) => ["-c", setting]),
      ...SMALL_BUFFERS,
    ],
  };
}

/** A new cluster is copied without PostgreSQL, so its files and folders are synced from outside. */
export async function syncTree(folder: string): Promise<void> {
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (entry.isFile()) await syncEntry(path);
    else if (entry.isDirectory()) await syncFolder(path);
  }
  await syncFolder(folder);
}

/** Emscripten calls `fsync` of a stream's operations if it exists; its file system for Node has none. */
function addFsync(fileSystem: object, syncFile: SyncFile): void {
  const operations = "stream_ops" in fileSystem ? fileSystem.stream_ops : undefined;
  if (typeof operations !== "object" || operations === null) {
    throw new Error("Rowmill cannot add fsync to the file system of this version of PGlite");
  }
  const fsync = (stream: { readonly nfd?: number | null }): number => {
    if (typeof stream.nfd === "number") syncFile(stream.nfd);
    return 0;
  };
  Object.assign(operations, { fsync });
}
