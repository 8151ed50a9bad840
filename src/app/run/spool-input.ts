/**
 * Keeps what comes through a pipe in a file that is named after its content, so that the same bytes are the same file.
 * A crash leaves a temporary file, which the next pipe removes.
 */
import { createHash, randomUUID } from "node:crypto";
import { mkdir, open, readdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { RowmillError } from "../../model/errors.js";

const HASH_CHARACTERS = 32;
const TEMPORARY = ".new";

/** Its path. @throws RowmillError `usage` where nothing is piped */
export async function spoolInput(input: NodeJS.ReadStream, folder: string, signal: AbortSignal): Promise<string> {
  if (input.isTTY)
    throw new RowmillError("usage", "- reads a file from a pipe, and there is none.", {
      hints: ["For example: cat films.csv | rowmill run - --prompt …"],
    });
  await mkdir(folder, { recursive: true, mode: 0o700 });
  for (const name of await readdir(folder)) if (name.endsWith(TEMPORARY)) await rm(join(folder, name), { force: true });
  const temporary = join(folder, `${randomUUID()}${TEMPORARY}`);
  const hash = createHash("sha256");
  const opened = await open(temporary, "wx", 0o600);
  try {
    for await (const chunk of input) {
      signal.throwIfAborted();
      const bytes = Buffer.isBuffer(chunk) ? chunk : Buffer.from(String(chunk));
      hash.update(bytes);
      await opened.writeFile(bytes);
    }
    await opened.sync();
  } finally {
    await opened.close();
  }
  const path = join(folder, `piped-${hash.digest("hex").slice(0, HASH_CHARACTERS)}`);
  await rename(temporary, path);
  return path;
}
