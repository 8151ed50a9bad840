/**
 * Owns where the files of an embedded database are, and that only its user may reach them. Does not open them.
 *
 * ```
 * <dataDir>/            mode 0700: who may enter may attach
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
import { hasCode } from "./file-errors.js";
import { RowmillError } from "../model/errors.js";

/** `sun_path` holds 108 bytes with its final zero on Linux, 104 on macOS and the BSDs. */
const SOCKET_PATH_BYTES_MAX = process.platform === "linux" ? 107 : 103;
/** The longest of the names below the folder; a lock's generation and temporary names fit as well. */
const LONGEST_SOCKET_NAME = "/server-XXXXXX/s";

export const EMBEDDED_PORT = 5432;
export const EMBEDDED_USER = "postgres";
export const EMBEDDED_DATABASE = "postgres";

export interface EmbeddedPaths {
  /** The data folder's real path. */
  readonly dataDir: string;
  /** The same folder, or an alias of it that is short enough for the path of a socket. */
  readonly socketDir: string;
  readonly cluster: string;
  readonly serviceSocket: string;
  readonly log: string;
}

/**
 * Makes the data folder when it is missing and closes it to others. Repeatable.
 *
 * The sockets always lie in the data folder itself, because they are what keeps a second server away from the
 * data: their place may not depend on a process's TMPDIR. Where the path is too long for a socket, it is reached
 * through a symbolic link in a folder of ours below the temporary one.
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
    `The path of the embedded database is too long for a Unix socket, and so is that of the temporary folder ${tmpdir()}.`,
    { hints: ["Set TMPDIR to a shorter path, or move the project to one."] },
  );
}

/** The temporary folder is everybody's: a folder of that name that is not ours could mislead us. */
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
    `${folder} is not a folder that only this user may enter, so the embedded database's socket cannot go there.`,
    { hints: [`Remove ${folder}, or set TMPDIR to a folder of your own.`] },
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
