/**
 * Owns one thing: how Node starts another script of ours, as a child process or as a worker thread. A build runs
 * the `.js` beside its caller; from source (tests, development) the same script is `.ts` and needs jiti's hooks.
 */
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

/**
 * A sibling script, in the language that the caller runs in: `siblingScript(import.meta.url, "server-process")`.
 */
export function siblingScript(callerUrl: string, name: string): URL {
  return new URL(`./${name}${callerUrl.endsWith(".ts") ? ".ts" : ".js"}`, callerUrl);
}

/** Node's own options for running that script: for `spawn` before the path, for a `Worker` as `execArgv`. */
export function execArgvFor(script: URL): string[] {
  if (!script.pathname.endsWith(".ts")) return [];
  // By path, not by the name `jiti/register`: Node looks a name up from the child's working directory.
  const jiti = dirname(createRequire(import.meta.url).resolve("jiti/package.json"));
  return ["--import", pathToFileURL(join(jiti, "lib", "jiti-register.mjs")).href];
}

/** All arguments of `node` for running that script in a process. */
export function nodeArgs(script: URL, args: readonly string[]): string[] {
  return [...execArgvFor(script), fileURLToPath(script), ...args];
}
