/**
 * Runs a command as an ordinary user, for CI that runs as root: `node scripts/run-as-ordinary-user.mjs FOLDER
 * COMMAND…`.
 *
 * FOLDER, which must not exist, becomes a copy of this checkout that belongs to the user `nobody` in full:
 * node_modules are copied along, not installed again, so that both runs test the same files. HOME and npm's cache lie
 * inside of it; nothing of root's own environment but what is listed below reaches the command. It is
 * `nobody`, because every Unix has it and initdb refuses a user without an entry in the password database; no user is
 * made.
 */
import { execFileSync, spawn } from "node:child_process";
import { chmodSync, copyFileSync, cpSync, existsSync, mkdirSync } from "node:fs";
import { constants } from "node:os";
import { basename, dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const checkout = dirname(dirname(fileURLToPath(import.meta.url)));
const [folderGiven, command, ...args] = process.argv.slice(2);
if (command === undefined) throw new Error("Usage: node scripts/run-as-ordinary-user.mjs FOLDER COMMAND…");
if (process.getuid?.() !== 0) throw new Error("Only root can run something as another user.");
const folder = resolve(folderGiven);
if (existsSync(folder)) throw new Error(`${folder} is there already.`);

/** Nothing that a test needs; the reports of previous runs among it. */
const leftOut = new Set([".git", ".rowmill", "coverage", join("node_modules", ".cache")]);
const idOfNobody = (flag) => Number(execFileSync("id", [flag, "nobody"], { encoding: "utf8" }));
const [uid, gid] = [idOfNobody("-u"), idOfNobody("-g")];

mkdirSync(folder, { mode: 0o755 });
const copy = join(folder, "checkout");
cpSync(checkout, copy, {
  recursive: true,
  verbatimSymlinks: true,
  preserveTimestamps: true,
  filter: (path) => !leftOut.has(relative(checkout, path)),
});
const home = join(folder, "home");
mkdirSync(home);

const env = {
  PATH: process.env.PATH,
  HOME: home,
  npm_config_cache: join(home, ".npm"),
  USER: "nobody",
  LOGNAME: "nobody",
  LANG: process.env.LANG ?? "C.UTF-8",
  ...(process.env.CI && { CI: process.env.CI }),
  ...(process.env.NO_COLOR && { NO_COLOR: process.env.NO_COLOR }),
  ...(process.env.ROWMILL_TEST_DATABASES && { ROWMILL_TEST_DATABASES: process.env.ROWMILL_TEST_DATABASES }),
};
// It may lie where only root may look.
const films = process.env.ROWMILL_TEST_FILMS;
if (films !== undefined && films !== "") {
  env.ROWMILL_TEST_FILMS = join(folder, basename(films));
  copyFileSync(films, env.ROWMILL_TEST_FILMS);
}
execFileSync("chown", ["-R", `${uid}:${gid}`, folder]);
chmodSync(folder, 0o700);

console.log(`as nobody (${uid}:${gid}) in ${copy}: ${[command, ...args].join(" ")}`);
const child = spawn(command, args, { cwd: copy, env, uid, gid, stdio: "inherit" });
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => child.kill(signal));
child.on("error", (error) => {
  throw error;
});
child.on("exit", (status, signal) => {
  process.exitCode = status ?? 128 + constants.signals[signal];
});
