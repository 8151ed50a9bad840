/** Which files a pattern means, and what tells one from what it was. */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { readdir, stat } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { ConnectorError } from "../../model/connector.js";
import { hasCode } from "../../model/file-errors.js";
import { partsFolderOf } from "./target/parts-folder.js";

export interface FoundFile {
  readonly path: string;
  readonly bytes: number;
  readonly timeMs: number;
  /** Another file under this name has another number. */
  readonly inode: number;
}

/** More are an error: their list is kept as a mark. */
const FILES_MAX = 10_000;
/** The temporary names of Rowmill's own outputs and of many programs begin so. */
const HIDDEN = ".";

/** The newest first. `*` and `?` may stand in the file's name. @throws ConnectorError */
export async function findFiles(pattern: string): Promise<FoundFile[]> {
  const folder = resolve(dirname(pattern));
  const matches = matcherOf(basename(pattern));
  const all = await namesIn(folder, pattern);
  const outputs = new Set(all.filter((name) => name.startsWith(HIDDEN)));
  // Answers of Rowmill are rows only where they are named one by one.
  const isOutput = (name: string) => isPattern(pattern) && outputs.has(basename(partsFolderOf(name)));
  const names = all.filter((name) => matches(name) && !isOutput(name));
  if (names.length > FILES_MAX)
    throw new ConnectorError("stop", `files("${pattern}"): more than ${FILES_MAX} files match.`);
  const found: FoundFile[] = [];
  for (const name of names) {
    const file = await foundFile(join(folder, name));
    if (file !== null) found.push(file);
  }
  return found.toSorted((a, b) => b.timeMs - a.timeMs || (a.path < b.path ? -1 : 1));
}

/** Whether a file of this path would be found. */
export function isFound(path: string, pattern: string): boolean {
  return dirname(resolve(path)) === resolve(dirname(pattern)) && matcherOf(basename(pattern))(basename(path));
}

/** An empty inbox is none yet; a single file that is missing is an error. */
async function namesIn(folder: string, pattern: string): Promise<readonly string[]> {
  try {
    return await readdir(folder);
  } catch (cause) {
    if (!hasCode(cause, "ENOENT", "ENOTDIR", "EACCES")) throw cause;
    throw new ConnectorError("again", `files("${pattern}"): the folder ${folder} cannot be read.`, { cause });
  }
}

function isPattern(path: string): boolean {
  return /[*?]/.test(basename(path));
}

function matcherOf(name: string): (candidate: string) => boolean {
  if (!isPattern(name)) return (candidate) => candidate === name;
  const pattern = name
    .replaceAll(/[.+^${}()|[\]\\]/g, String.raw`\$&`)
    .replaceAll("*", ".*")
    .replaceAll("?", ".");
  const whole = new RegExp(`^${pattern}$`, "s");
  return (candidate) => whole.test(candidate) && (!candidate.startsWith(HIDDEN) || name.startsWith(HIDDEN));
}

/** Null: it is gone, or no file. */
async function foundFile(path: string): Promise<FoundFile | null> {
  try {
    const found = await stat(path);
    return found.isFile() ? { path, bytes: found.size, timeMs: found.mtimeMs, inode: found.ino } : null;
  } catch (error) {
    if (hasCode(error, "ENOENT")) return null;
    throw error;
  }
}

/** False: it was removed, replaced or cut since it was found. One that grew is read up to its size then. */
export async function isSameFile({ path, bytes, inode }: FoundFile): Promise<boolean> {
  const now = await foundFile(path);
  return now !== null && now.inode === inode && now.bytes >= bytes;
}

/** SHA-256 of its first `bytes`, in hexadecimal. */
export async function hashOf({ path, bytes }: FoundFile, signal: AbortSignal): Promise<string> {
  const hash = createHash("sha256");
  if (bytes > 0)
    for await (const chunk of createReadStream(path, { end: bytes - 1, signal })) hash.update(chunk as Buffer);
  return hash.digest("hex");
}
