/** This machine: Node's version, the disk on which batch files are made, and its clock. */
import { constants } from "node:fs";
import { access, stat, statfs } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { isSystemError } from "../../model/file-errors.js";
import { ok, problem, warning, type Finding } from "../../model/words/finding.js";
import { stateFolder } from "../open/open-database.js";
import type { Check, Look } from "./look.js";

/** package.json's `engines`, compared with it by a test. */
const NODE_MIN = { major: 20, minor: 19 } as const;
/** A batch's file has at most 200 MB, and several are made at once. */
const FREE_BYTES_WARN = 1_000_000_000;
const FREE_BYTES_MIN = 50_000_000;
/** Less does no harm: what has to be exact goes by the database's clock alone. */
const CLOCKS_APART_MS_MAX = 60_000;

const MACHINE = { group: "Machine", needs: [] } as const;

export const MACHINE_CHECKS: readonly Check[] = [
  {
    ...MACHINE,
    id: "node",
    title: "Node.js",
    otherwise: "Node.js is too old",
    run: (look) => [judgeNode(look.nodeVersion)],
  },
  { ...MACHINE, id: "disk", title: "Disk", otherwise: "the disk cannot be used", run: checkDisk },
];

export function judgeNode(version: string): Finding {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  const { major: majorMin, minor: minorMin } = NODE_MIN;
  if (major > majorMin || (major === majorMin && minor >= minorMin)) return ok(version);
  return problem(`${version} is too old.`, {
    fixes: [`Install Node.js ${majorMin}.${minorMin} or later: https://nodejs.org`],
  });
}

export function judgeDisk(freeBytes: number, folder: string): Finding {
  const megabytes = Math.floor(freeBytes / 1e6);
  const free = megabytes < 1_000 ? `${megabytes} MB` : `${Math.floor(megabytes / 1_000)} GB`;
  const fixes = ["Free some space: Rowmill writes each batch file, up to 200 MB, here before it uploads it."];
  if (freeBytes < FREE_BYTES_MIN) return problem(`${free} free in ${folder}.`, { fixes });
  return freeBytes < FREE_BYTES_WARN
    ? warning(`${free} free in ${folder}.`, { fixes })
    : ok(`${free} free in ${folder}`);
}

async function checkDisk(look: Look): Promise<readonly Finding[]> {
  const file = resolve(look.cwd, look.configFile ?? "rowmill.config.ts");
  const folder = stateFolder({ file });
  const existing = await nearestExisting(folder);
  try {
    if (!(await stat(existing)).isDirectory())
      return [
        problem(`${existing} is a file.`, {
          fixes: ["Remove or rename it: Rowmill needs a folder of this name for batch files."],
        }),
      ];
    await access(existing, constants.W_OK);
    const { bavail, bsize } = await statfs(existing);
    return [judgeDisk(bavail * bsize, folder)];
  } catch (error) {
    if (!isSystemError(error)) throw error;
    return [
      problem(`Rowmill cannot write to ${existing} (${error.code}).`, {
        fixes: ["Give this user write access to it, or run Rowmill in another folder."],
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

/** `clock`: `the database's clock`. */
export function judgeClock(clock: string, seen: { aheadMs: number; unsureMs: number }): Finding {
  const apartMs = Math.abs(seen.aheadMs) - seen.unsureMs;
  if (apartMs <= CLOCKS_APART_MS_MAX) return ok(`${clock} agrees with this machine's`);
  const seconds = Math.round(Math.abs(seen.aheadMs) / 1_000);
  const way = seen.aheadMs > 0 ? "ahead of" : "behind";
  return warning(`${clock.charAt(0).toUpperCase()}${clock.slice(1)} is ${seconds} s ${way} this machine's.`, {
    fixes: [
      "Synchronize both clocks with a time server (timedatectl set-ntp true). Otherwise log times mislead, and " +
        "Rowmill may search the wrong hours for a lost batch.",
    ],
  });
}
