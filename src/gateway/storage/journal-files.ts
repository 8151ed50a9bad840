/**
 * Owns the files of a journal: `journal.jsonl`, which grows; closed parts, `journal-000001.jsonl` and so on; and
 * `journal-carried.json`, what must outlive parts that are deleted. A part is deleted only after it is carried, so a
 * crash between two steps loses nothing, and the next start repeats what is left.
 */
import { open, type FileHandle } from "node:fs/promises";
import { existsSync, readdirSync, readFileSync, renameSync, rmSync, statSync } from "node:fs";
import { join, resolve } from "node:path";
import { z } from "zod";
import { RowmillError } from "../../model/errors.js";
import { hasCode } from "../../model/file-errors.js";
import { readLineChunks } from "../protocol/input-lines.js";
import { writeJsonAtomic } from "./state-dir.js";

const READ_LINES = 1_000;
const PART_NAME = /^journal-(\d{6,})\.jsonl$/;

/** What a restart has to know of all parts up to `through`. */
const carriedSchema = z.object({
  through: z.number().int(),
  /** Executed lines of each unfinished batch. */
  executed: z.record(z.string(), z.number().int()),
  /** `contentHash` of the messages whose `…-once` text has taken effect. */
  once: z.array(z.string()),
});
export type Carried = z.infer<typeof carriedSchema>;

interface Part {
  readonly number: number;
  readonly path: string;
}

export class JournalFiles {
  readonly #dir: string;

  constructor(dataDir: string) {
    this.#dir = resolve(dataDir);
  }

  get currentPath(): string {
    return join(this.#dir, "journal.jsonl");
  }

  get #carriedPath(): string {
    return join(this.#dir, "journal-carried.json");
  }

  /** @throws RowmillError `internal` for a file that someone edited */
  readCarried(): Carried {
    const path = this.#carriedPath;
    if (!existsSync(path)) return { through: 0, executed: {}, once: [] };
    try {
      return carriedSchema.parse(JSON.parse(readFileSync(path, "utf8")));
    } catch (cause) {
      throw new RowmillError("internal", `The gateway's record ${path} is not what it wrote.`, {
        cause,
        hints: ["Delete that file. Running batches may execute requests again."],
      });
    }
  }

  writeCarried(carried: Carried): void {
    writeJsonAtomic(this.#carriedPath, carried);
  }

  /** Gives the growing file its number, which is returned. An open handle on it stays good. */
  closePart(): number {
    const number = (this.#parts().at(-1)?.number ?? this.readCarried().through) + 1;
    renameSync(this.currentPath, join(this.#dir, `journal-${String(number).padStart(6, "0")}.jsonl`));
    return number;
  }

  /** Deletes the oldest parts that are carried, until all together have at most that many bytes. */
  deleteAbove(bytesMax: number, through: number): void {
    const parts = this.#parts().map((part) => ({ ...part, bytes: statSync(part.path).size }));
    let bytes = parts.reduce((sum, part) => sum + part.bytes, 0);
    for (const part of parts) {
      if (bytes <= bytesMax || part.number > through) return;
      rmSync(part.path, { force: true });
      bytes -= part.bytes;
    }
  }

  /** All lines of parts above `after`, oldest first, in chunks. Parts may be closed in the meantime, also by others. */
  async *lines(after = 0): AsyncGenerator<readonly (string | null)[]> {
    let last = after;
    for (;;) {
      for (const part of this.#parts().filter(({ number }) => number > last)) {
        const handle = await openIfThere(part.path);
        if (handle !== null) yield* readLineChunks(handle, READ_LINES);
        last = part.number;
      }
      const handle = await openIfThere(this.currentPath);
      if (handle === null) {
        if (this.#hasAbove(last)) continue;
        return;
      }
      if (!this.#hasAbove(last)) {
        yield* readLineChunks(handle, READ_LINES);
        return;
      }
      // It was closed as a part before we opened it, or a newer one began: in order, then.
      await handle.close();
    }
  }

  #hasAbove(last: number): boolean {
    return (this.#parts().at(-1)?.number ?? 0) > last;
  }

  #parts(): Part[] {
    if (!existsSync(this.#dir)) return [];
    return readdirSync(this.#dir)
      .flatMap((name) => {
        const number = PART_NAME.exec(name)?.[1];
        return number === undefined ? [] : [{ number: Number(number), path: join(this.#dir, name) }];
      })
      .sort((a, b) => a.number - b.number);
  }
}

/** Null for a file that is not there any more. */
async function openIfThere(path: string): Promise<FileHandle | null> {
  try {
    return await open(path, "r");
  } catch (error) {
    if (hasCode(error, "ENOENT")) return null;
    throw error;
  }
}
