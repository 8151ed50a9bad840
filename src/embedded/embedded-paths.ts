/**
 * Owns where the files of an embedded database are, and that only its user can reach them.
 *
 * ```
 * <dataDir>/            mode 0700: whoever can enter can attach
 *   postgres/           PostgreSQL's own files
 *   .s.PGSQL.5432       the socket, named as PostgreSQL clients expect
 *   server.<n>/         the lock of the server (living-lock.ts)
 *   worker.<n>/         the lock of the one worker process
 *   server.log          what the server process wrote to stderr
 * ```
 */
import { createHash } from "node:crypto";
import { chmod, lstat, mkdir, readlink, realpath, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { hasCode } from "../model/file-errors.js";
import { RowmillError } from "../model/errors.js";

/** `sun_path` has 108 bytes with its final zero on Linux, 104 on macOS and the BSDs. */
const SOCKET_PATH_BYTES_MAX = process.platform === "linux" ? 107 : 103;
/** The longest name below the folder. */
const LONGEST_SOCKET_NAME = "/server-XXXXXX/s";

export const EMBEDDED_PORT = 5432;
export const EMBEDDED_USER = "postgres";
export const EMBEDDED_DATABASE = "postgres";

export interface EmbeddedPaths {
  /** The data folder's real path. */
  readonly dataDir: string;
  /** The same folder, or a symbolic link to it that is short enough for the path of a socket. */
  readonly socketDir: string;
  readonly cluster: string;
  readonly serviceSocket: string;
  readonly log: string;
}

/**
 * Creates the data folder if it does not exist, and makes it private. Repeatable. The sockets are always in the data
 * folder itself, because they keep a second server away from the data: their place must not depend on a process's
 * TMPDIR. If the path is too long for a socket, a symbolic link below the temporary folder leads to it.
 */
export async function embeddedPaths(dataDir: string): Promise<EmbeddedPaths> {
  await mkdir(dataDir, { recursive: true, mode: 0o700 });
  const real = await realpath(dataDir);
  await chmod(real, 0o700);
  const socketDir = fits(real) ? real : await shortAlias(real);
  return {
    dataDir: real,
    socketDir,
    cluster: join(real, "postgres"),
    serviceSocket: join(socketDir, `.s.PGSQL.${EMBEDDED_PORT}`),
    log: join(real, "server.log"),
  };
}

function fits(folder: string): boolean {
  return Buffer.byteLength(folder + LONGEST_SOCKET_NAME) <= SOCKET_PATH_BYTES_MAX;
}

async function shortAlias(real: string): Promise<string> {
  const owner = process.getuid?.() ?? 0;
  const name = createHash("sha256").update(real).digest("hex").slice(0, 16);
  for (const base of new Set([tmpdir(), "/tmp"])) {
    const folder = join(base, `rowmill-${owner}`);
    const alias = join(folder, name);
    if (!fits(alias)) continue;
    await makePrivate(folder, owner);
    await pointTo(alias, real);
    return alias;
  }
  throw new RowmillError(
    "database_unreachable",
    `The path of the embedded database is too long for a Unix socket, and so is the temporary folder ${tmpdir()}.`,
    { hints: ["Set TMPDIR to a shorter path, or move the project to one."] },
  );
}

/** Everyone can write to the temporary folder, so a folder of that name may be another user's. */
async function makePrivate(folder: string, owner: number): Promise<void> {
  try {
    await mkdir(folder, { mode: 0o700 });
  } catch (error) {
    if (!hasCode(error, "EEXIST")) throw error;
  }
  const found = await lstat(folder);
  if (found.isDirectory() && found.uid === owner && (found.mode & 0o077) === 0) return;
  throw new RowmillError(
    "database_unreachable",
    `The embedded database's socket cannot be in ${folder}, which is not a private folder of this user.`,
    { hints: [`Remove ${folder}, or set TMPDIR to a folder of yours.`] },
  );
}

async function pointTo(alias: string, real: string): Promise<void> {
  try {
    await symlink(real, alias);
  } catch (error) {
    if (!hasCode(error, "EEXIST")) throw error;
    if ((await readlink(alias)) === real) return;
    await rm(alias);
    await symlink(real, alias);
  }
}
