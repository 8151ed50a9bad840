/** Of this machine: Node's version, and the disk on which batch files are made. */
import { constants } from "node:fs";
import { access, stat, statfs } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { isSystemError } from "../../model/file-errors.js";
import { stateFolder } from "../open/open-database.js";
import { ok, problem, warning, type Check, type Finding } from "./check.js";
import type { Look } from "./look.js";

/** package.json's `engines`, compared with it by a test. */
const NODE_MIN = { major: 20, minor: 19 } as const;
/** A batch's file has at most 200 MB, and several are made at once. */
const FREE_BYTES_WARN = 1_000_000_000;
const FREE_BYTES_MIN = 50_000_000;

export const MACHINE_CHECKS: readonly Check[] = [
  {
    id: "node",
    group: "Machine",
    title: "Node.js",
    needs: [],
    otherwise: "Node.js is too old",
    run: (look) => Promise.resolve([judgeNode(look.nodeVersion)]),
  },
  {
    id: "disk",
    group: "Machine",
    title: "Disk",
    needs: [],
    otherwise: "the disk cannot be used",
    run: lookAtDisk,
  },
];

export function judgeNode(version: string): Finding {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  const { major: majorMin, minor: minorMin } = NODE_MIN;
  if (major > majorMin || (major === majorMin && minor >= minorMin)) return ok(version);
  return problem(`${version} is too old.`, {
    mends: [`Install Node.js ${majorMin}.${minorMin} or later: https://nodejs.org`],
  });
}

export function judgeDisk(freeBytes: number, folder: string): Finding {
  const megabytes = Math.floor(freeBytes / 1e6);
  const free = megabytes < 1_000 ? `${megabytes} MB` : `${Math.floor(megabytes / 1_000)} GB`;
  const mends = ["Make room: a batch's file has up to 200 MB, and lies here until it is uploaded."];
  if (freeBytes < FREE_BYTES_MIN) return problem(`${free} free in ${folder}.`, { mends });
  return freeBytes < FREE_BYTES_WARN
    ? warning(`${free} free in ${folder}.`, { mends })
    : ok(`${free} free in ${folder}`);
}

async function lookAtDisk(look: Look): Promise<readonly Finding[]> {
  const beside = resolve(look.cwd, look.configFile ?? "rowmill.config.ts");
  const folder = stateFolder({ file: beside });
  const existing = await nearestExisting(folder);
  try {
    if (!(await stat(existing)).isDirectory())
      return [
        problem(`${existing} is a file.`, {
          mends: ["Batch files need a folder of that name: remove the file."],
        }),
      ];
    await access(existing, constants.W_OK);
    const { bavail, bsize } = await statfs(existing);
    return [judgeDisk(bavail * bsize, folder)];
  } catch (error) {
    if (!isSystemError(error)) throw error;
    return [
      problem(`${existing} cannot be written to (${error.code}).`, {
        mends: ["Give this user the right to write there, or run it from another folder."],
      }),
    ];
  }
}

/** The folder itself, or the nearest above it: looking must not make one. */
async function nearestExisting(path: string): Promise<string> {
  try {
    await stat(path);
    return path;
  } catch (error) {
    if (!isSystemError(error) || dirname(path) === path) throw error;
    return nearestExisting(join(path, ".."));
  }
}
