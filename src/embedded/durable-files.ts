/**
 * Owns that what PostgreSQL wants on the disk gets there. PGlite's own file system writes to files at once, which
 * outlives the process, but has no fsync, which outlives the machine: here it has one, and PostgreSQL's settings
 * for it are switched on again.
 */
import { fsyncSync } from "node:fs";
import { open, readdir } from "node:fs/promises";
import { join } from "node:path";
import { PGlite, type PGliteOptions } from "@electric-sql/pglite";
import { NodeFS } from "@electric-sql/pglite/nodefs";

type ModuleOptions = Parameters<NodeFS["init"]>[1];

/** Waits until the file with that descriptor is on the disk. */
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

/** For `PGlite.create`: the cluster in that folder, with fsync. */
export function durable(folder: string, syncFile: SyncFile = fsyncSync): PGliteOptions {
  return {
    fs: new DurableFiles(folder, syncFile),
    // `-F` is fsync = off. The default method, fdatasync, does nothing in Emscripten.
    startParams: [
      ...PGlite.defaultStartParams.filter((one) => one !== "-F"),
      ...["wal_sync_method=fsync", "max_wal_size=128MB"].flatMap((setting) => ["-c", setting]),
    ],
  };
}

/** A new cluster is copied file by file, past PostgreSQL, so it is synced from outside. */
export async function syncTree(folder: string): Promise<void> {
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const file = await open(join(entry.parentPath, entry.name), "r+");
    try {
      await file.sync();
    } finally {
      await file.close();
    }
  }
}

/** Emscripten calls `fsync` of a stream's operations when there is one; its file system for Node has none. */
function addFsync(fileSystem: object, syncFile: SyncFile): void {
  const operations = "stream_ops" in fileSystem ? fileSystem.stream_ops : undefined;
  if (typeof operations !== "object" || operations === null) {
    throw new Error("this version of PGlite has another file system: fsync cannot be added to it");
  }
  const fsync = (stream: { readonly nfd?: number | null }): number => {
    if (typeof stream.nfd === "number") syncFile(stream.nfd);
    return 0;
  };
  Object.assign(operations, { fsync });
}
