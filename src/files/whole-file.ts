/** Writes a file that appears as a whole, or not at all: under a temporary name beside it, which a crash may leave. */
import { createHash } from "node:crypto";
import { access, constants, type FileHandle, link, open, realpath, rename, stat, unlink } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { badFile, writeFailure } from "./file-failure.js";
import { dropTemporary, removeLeftovers, temporarySuffix } from "./leftovers.js";
import { exists, hasCode } from "../model/file-errors.js";
import { syncFolder } from "../model/file-sync.js";

const BUFFER_BYTES = 256 * 1024;

export interface WholeFileOptions {
  /** Replaces a file that is there. */
  readonly overwrite: boolean;
  /** That is read in the meantime, so it cannot be the output. */
  readonly input?: string | undefined;
}

export class WholeFile {
  readonly #path: string;
  /** Where the temporary file is moved: `#path`, with links followed. */
  readonly #target: string;
  readonly #temporary: string;
  readonly #overwrite: boolean;
  #file: FileHandle | null;
  #parts: Buffer[] = [];
  #bytes = 0;

  private constructor(path: string, target: string, overwrite: boolean, temporary: string, file: FileHandle) {
    this.#path = path;
    this.#target = target;
    this.#overwrite = overwrite;
    this.#temporary = temporary;
    this.#file = file;
  }

  /** @throws RowmillError if the output cannot be written there */
  static async open(path: string, { overwrite, input }: WholeFileOptions): Promise<WholeFile> {
    try {
      const target = await targetOf(path);
      await refuse(path, target, { overwrite, input });
      await removeLeftovers(dirname(target), temporaryStart(target));
      const temporary = join(dirname(target), temporaryStart(target) + temporarySuffix());
      const mode = (await exists(target)) ? (await stat(target)).mode & 0o777 : 0o666;
      return new WholeFile(path, target, overwrite, temporary, await open(temporary, "wx", mode));
    } catch (error) {
      throw writeFailure(path, error);
    }
  }

  async write(bytes: Buffer): Promise<void> {
    this.#parts.push(bytes);
    this.#bytes += bytes.length;
    if (this.#bytes >= BUFFER_BYTES) await this.#flush();
  }

  async #flush(): Promise<void> {
    const bytes = Buffer.concat(this.#parts);
    [this.#parts, this.#bytes] = [[], 0];
    try {
      for (let at = 0; at < bytes.length;) {
        const { bytesWritten } = await this.#opened().write(bytes, at);
        at += bytesWritten;
      }
    } catch (error) {
      await this.discard();
      throw writeFailure(this.#path, error);
    }
  }

  #opened(): FileHandle {
    if (this.#file === null) throw new Error("The file is closed.");
    return this.#file;
  }

  /** On the disk under its name when this returns. */
  async commit(): Promise<void> {
    await this.#flush();
    try {
      await this.#opened().sync();
      await this.#opened().close();
      this.#file = null;
      await this.#publish();
      await syncFolder(dirname(this.#target));
    } catch (error) {
      await this.discard();
      throw writeFailure(this.#path, error);
    }
  }

  async #publish(): Promise<void> {
    if (this.#overwrite) {
      await rename(this.#temporary, this.#target);
      return;
    }
    try {
      // Unlike rename, it fails if the name was taken in the meantime.
      await link(this.#temporary, this.#target);
      await unlink(this.#temporary);
    } catch (error) {
      if (hasCode(error, "EEXIST")) throw alreadyThere(this.#path);
      if (!hasCode(error, "EPERM", "ENOTSUP", "ENOSYS", "EOPNOTSUPP")) throw error;
      // This file system has no links.
      if (await exists(this.#target)) throw alreadyThere(this.#path);
      await rename(this.#temporary, this.#target);
    }
  }

  /** Removes what was written; may be called again. */
  async discard(): Promise<void> {
    await this.#file?.close().catch(() => undefined);
    this.#file = null;
    await dropTemporary(this.#temporary);
  }
}

/** Before there is anything to write. @throws RowmillError if the output cannot be written there */
export async function requireWritable(path: string, options: WholeFileOptions): Promise<void> {
  try {
    const target = await targetOf(path);
    await refuse(path, target, options);
    await access(dirname(target), constants.W_OK | constants.X_OK);
  } catch (error) {
    throw writeFailure(path, error);
  }
}

/** With links followed. */
function targetOf(path: string): Promise<string> {
  return realpath(path).catch((error: unknown) => {
    if (hasCode(error, "ENOENT")) return path;
    throw error;
  });
}

async function refuse(path: string, target: string, { overwrite, input }: WholeFileOptions): Promise<void> {
  const found = (await exists(target)) ? await stat(target) : null;
  if (found === null) return;
  if (found.isDirectory()) throw badFile(path, "is a folder. Name a file in it.");
  if (!found.isFile()) throw badFile(path, "is not a regular file, so it cannot be replaced as a whole.");
  const source = input === undefined ? null : await stat(input);
  if (source !== null && source.dev === found.dev && source.ino === found.ino) {
    throw badFile(path, "is the input. The output must be another file.", "Name another file: --out");
  }
  if (!overwrite) throw alreadyThere(path);
}

function alreadyThere(path: string): Error {
  return badFile(path, "already exists.", "Replace it with --force, or name another file: --out");
}

const NAME_BYTES_MAX = 200;

/** Of the names of its temporary files. */
function temporaryStart(target: string): string {
  const name = basename(target);
  if (Buffer.byteLength(name) <= NAME_BYTES_MAX) return `.${name}`;
  return `.${createHash("sha256").update(name).digest("hex").slice(0, 32)}`;
}
