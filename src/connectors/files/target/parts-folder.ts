/**
 * The folder next to a file that answers are delivered to. `base-7` has all keys up to its generation, and each
 * `part-…` has what was written since. Workers need no lock:
 *
 * - A part is named by its content, and appears whole. The same delivery again replaces it by itself.
 * - A new base gets the next number, which only one worker can take. Whoever loses begins again with the other's base.
 * - Parts are removed when a base has them, and older bases from the lowest, so a number is free again only if the one
 *   before it is gone too: that is how a worker that slept finds out that it took an old number.
 */
import { createHash } from "node:crypto";
import { mkdir, readdir, stat, unlink } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { removeAllLeftovers } from "../../../files/leftovers.js";
import { WholeFile } from "../../../files/whole-file.js";
import { exists, hasCode } from "../../../model/file-errors.js";
import { syncFolder } from "../../../model/file-sync.js";
import { mergedLines, MERGED_MAX } from "./merge-runs.js";
import type { PartLine } from "./part-line.js";
import { RunReader } from "./run-reader.js";

const BASE = /^base-(\d{1,15})\.jsonl$/;
const PART = /^part-[0-9a-f]{32}\.jsonl$/;
/** More are merged into one. */
const PARTS_MAX = MERGED_MAX - 2;
const FOLDER_MODE = 0o700;

export interface Listed {
  /** The newest one's number. Null: there is none. */
  readonly generation: number | null;
  readonly parts: readonly string[];
  readonly names: readonly string[];
}

/** Where the parts of this file are. */
export function partsFolderOf(path: string): string {
  return join(dirname(path), `.${basename(path)}.parts`);
}

export function baseName(generation: number): string {
  return `base-${generation}.jsonl`;
}

export class PartsFolder {
  readonly path: string;

  constructor(file: string) {
    this.path = partsFolderOf(file);
  }

  in(name: string): string {
    return join(this.path, name);
  }

  /** Nothing where the folder is missing. */
  async list(): Promise<Listed> {
    const names = await readdir(this.path).catch((error: unknown): string[] => {
      if (hasCode(error, "ENOENT")) return [];
      throw error;
    });
    const generations = names.flatMap((name) => BASE.exec(name)?.[1] ?? []).map(Number);
    const generation = generations.length === 0 ? null : Math.max(...generations);
    return { generation, parts: names.filter((name) => PART.test(name)), names };
  }

  /** Begins with an empty base. `head`: says whose folder it is. */
  async begin(head: string): Promise<void> {
    await mkdir(this.path, { mode: FOLDER_MODE, recursive: true });
    await syncFolder(dirname(this.path));
    const path = this.in(baseName(1));
    const file = await WholeFile.open(path, { overwrite: false }).catch(unlessTaken(path));
    await file?.write(Buffer.from(`${head}\n`));
    await file?.commit().catch(unlessTaken(path));
  }

  /** The first line of a base. */
  async headOf(generation: number, signal: AbortSignal): Promise<string> {
    const reader = new RunReader(this.in(baseName(generation)), signal);
    try {
      return (await reader.text()) ?? "";
    } finally {
      await reader.close();
    }
  }

  /** In the order of their keys, each of which is there once. */
  async *linesOf(name: string, signal: AbortSignal): AsyncGenerator<PartLine> {
    yield* this.#merged([name], signal);
  }

  async *#merged(names: readonly string[], signal: AbortSignal): AsyncGenerator<PartLine> {
    const readers = names.map((name) => new RunReader(this.in(name), signal));
    try {
      for (const [index, reader] of readers.entries()) if (BASE.test(names[index] ?? "")) await reader.text();
      yield* mergedLines(readers);
    } finally {
      for (const reader of readers) await reader.close();
    }
  }

  /** On the disk when this returns. The lines are in the order of their keys. Returns the part's name. */
  async writePart(lines: readonly PartLine[]): Promise<string> {
    const bytes = Buffer.from(lines.map(({ text }) => `${text}\n`).join(""));
    const name = partName(createHash("sha256").update(bytes).digest("hex"));
    const file = await WholeFile.open(this.in(name), { overwrite: true });
    await file.write(bytes);
    await file.commit();
    return name;
  }

  /** Makes one part of many small ones, so that a merge need not open more than MERGED_MAX files. */
  async compact(signal: AbortSignal): Promise<void> {
    for (;;) {
      const { parts } = await this.list();
      if (parts.length <= PARTS_MAX) return;
      const smallest = await this.#smallest(parts);
      const name = partName(createHash("sha256").update(smallest.toSorted().join("\n")).digest("hex"));
      const file = await WholeFile.open(this.in(name), { overwrite: true });
      await this.#write(file, this.#merged(smallest, signal), signal);
      await file.commit();
      await this.#remove(smallest);
    }
  }

  async #smallest(parts: readonly string[]): Promise<readonly string[]> {
    const sized: { name: string; size: number }[] = [];
    for (const name of parts) sized.push({ name, size: (await stat(this.in(name))).size });
    const ordered = sized.toSorted((a, b) => a.size - b.size);
    return ordered.slice(0, PARTS_MAX).map(({ name }) => name);
  }

  /** Makes the next base of this one and these parts. False: another worker did in the meantime. */
  async merge({ generation, parts }: Listed & { readonly generation: number }, signal: AbortSignal): Promise<boolean> {
    const [from, to] = [baseName(generation), baseName(generation + 1)];
    const head = await this.headOf(generation, signal);
    const file = await WholeFile.open(this.in(to), { overwrite: false }).catch(unlessTaken(this.in(to)));
    if (file === null) return false;
    await file.write(Buffer.from(`${head}\n`));
    await this.#write(file, this.#merged([from, ...parts], signal), signal);
    const isTaken = (await file.commit().catch(unlessTaken(this.in(to)))) === null;
    if (isTaken || !(await exists(this.in(from)))) return false;
    await this.removeOlder(generation + 1);
    await this.#remove(parts);
    return true;
  }

  async #write(file: WholeFile, lines: AsyncIterable<PartLine>, signal: AbortSignal): Promise<void> {
    try {
      for await (const { text } of lines) await file.write(Buffer.from(`${text}\n`));
      signal.throwIfAborted();
    } catch (error) {
      await file.discard();
      throw error;
    }
  }

  /** Bases below this one, from the lowest. */
  async removeOlder(generation: number): Promise<void> {
    const { names } = await this.list();
    const older = names.flatMap((name) => BASE.exec(name)?.[1] ?? []).map(Number);
    for (const one of older.filter((number) => number < generation).toSorted((a, b) => a - b))
      await this.#remove([baseName(one)]);
  }

  async #remove(names: readonly string[]): Promise<void> {
    for (const name of names) {
      await unlink(this.in(name)).catch((error: unknown) => {
        if (!hasCode(error, "ENOENT")) throw error;
      });
    }
  }

  /** Removes what killed processes left, and outputs of older generations, which must not appear any more. */
  async clean(generation: number): Promise<void> {
    await removeAllLeftovers(this.path);
    const { names } = await this.list();
    await this.#remove(names.filter((name) => Number(OUTPUT.exec(name)?.[1] ?? Infinity) < generation));
  }
}

/** The output of a generation, before it gets its name. */
const OUTPUT = /^\.?out-(\d{1,15})\./;

export function outputName(generation: number, suffix: string): string {
  return `out-${generation}${suffix}`;
}

function partName(hash: string): string {
  return `part-${hash.slice(0, 32)}.jsonl`;
}

/** What to do with an error: null where the name is taken by now. */
function unlessTaken(path: string): (error: unknown) => Promise<null> {
  return async (error) => {
    if (await exists(path)) return null;
    throw error;
  };
}
