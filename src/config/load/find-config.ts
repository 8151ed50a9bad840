/** Owns where the config is looked for. */
import { stat } from "node:fs/promises";
import path from "node:path";
import { RowmillError } from "../../model/errors.js";
import { isSystemError } from "./system-error.js";

const extensions = [".ts", ".mts", ".js", ".mjs", ".json"] as const;

/** The names that are looked for in the working folder. */
const configNames: readonly string[] = extensions.map((extension) => `rowmill.config${extension}`);

/**
 * Absolute path of the config: `file` as given (relative to `cwd`), else the one config in `cwd`.
 * @throws RowmillError `config_not_found`; `config_invalid` when there are several, or the name's ending is unknown.
 */
export async function findConfig(cwd: string, file: string | null): Promise<string> {
  if (file !== null) return namedConfig(path.resolve(cwd, file));
  const candidates = configNames.map((name) => path.join(cwd, name));
  const present = await Promise.all(candidates.map(isFile));
  const found = candidates.filter((_, index) => present[index] === true);
  const [only, ...others] = found;
  if (only === undefined) {
    throw new RowmillError(
      "config_not_found",
      `There is no config in ${cwd}: looked for ${configNames.join(", ")}`,
      {
        hints: [
          "rowmill init writes one, from a few questions or by options.",
          "If there is one in another folder, start there or name it with `--config FILE`.",
        ],
      },
    );
  }
  if (others.length > 0) {
    const names = found.map((candidate) => path.basename(candidate)).join(" and ");
    // A compiled .js beside its .ts may be older: silently taking either could run the wrong pipelines.
    throw new RowmillError("config_invalid", `There are several configs in ${cwd}: ${names}`, {
      hints: ["Name the right one with `--config FILE`, or remove the others."],
    });
  }
  return only;
}

async function namedConfig(file: string): Promise<string> {
  if (!extensions.some((extension) => extension === path.extname(file))) {
    throw new RowmillError(
      "config_invalid",
      `${file} is no config: its name must end in ${extensions.join(", ")}`,
    );
  }
  if (!(await isFile(file))) throw new RowmillError("config_not_found", `There is no config at ${file}`);
  return file;
}

async function isFile(file: string): Promise<boolean> {
  try {
    return (await stat(file)).isFile();
  } catch (error) {
    if (isSystemError(error) && (error.code === "ENOENT" || error.code === "ENOTDIR")) return false;
    throw new RowmillError("config_not_found", `${file} cannot be looked at`, { cause: error });
  }
}
