/** Paths in commands that can be pasted. */
import { relative } from "node:path";

/** As you would type it from `from`; an empty `from`: as it is. */
export function shownPath(path: string, from = process.cwd()): string {
  const near = from === "" ? path : relative(from, path);
  const shown = near.startsWith("..") || near === "" ? path : near;
  return /^[\w@%+=:,./-]+$/.test(shown) ? shown : `'${shown.replaceAll("'", `'\\''`)}'`;
}
