/**
 * Owns the steps from a folder to a `ProjectConfig`: find the file, complete the variables from the `.env` next to it,
 * run it, check it. Writes nothing, connects to nothing.
 */
import path from "node:path";
import { stat } from "node:fs/promises";
import type { ProjectConfig } from "../../model/pipeline.js";
import { completeFromDotenv, hintOfCutDatabaseUrl } from "./dotenv.js";
import { evaluateConfig } from "./evaluate.js";
import { validateConfig } from "../read/validate.js";
import { RowmillError, withHint } from "../../model/errors.js";
import { hasCode } from "../../model/file-errors.js";

interface LoadOptions {
  /** From `--config FILE`, relative to `cwd`; absent: the one `rowmill.config.*` in `cwd`. */
  readonly file?: string;
  readonly cwd: string;
  /** The variables, such as `process.env`; completed in place from `.env`, so read the environment after loading. */
  readonly env: Record<string, string | undefined>;
}

/** @throws RowmillError `config_not_found`, or `config_invalid` with every mistake (see `ConfigError`) */
export async function loadConfig({ file, cwd, env }: LoadOptions): Promise<ProjectConfig> {
  const found = await findConfig(cwd, file ?? null);
  await completeFromDotenv(env, path.dirname(found));
  const definition = await withVariables(env, () => evaluateConfig(found));
  try {
    return validateConfig(definition, {
      file: found,
      language: path.extname(found) === ".json" ? "json" : "script",
      databaseUrl: env["DATABASE_URL"] === "" ? null : (env["DATABASE_URL"] ?? null),
    });
  } catch (error) {
    const hint = await hintOfCutDatabaseUrl(path.dirname(found), env["DATABASE_URL"]);
    throw hint !== null && error instanceof RowmillError ? withHint(error, hint) : error;
  }
}

/**
 * Runs `step` while `process.env` has the given variables too, because a config reads `process.env.DATABASE_URL`,
 * and puts it back afterwards. Not for two loads at once in one process.
 */
async function withVariables<T>(
  variables: Readonly<Record<string, string | undefined>>,
  step: () => Promise<T>,
): Promise<T> {
  if (variables === process.env) return step();
  const before = { ...process.env };
  for (const [name, value] of Object.entries(variables)) setVariable(name, value);
  try {
    return await step();
  } finally {
    for (const name of Object.keys(variables)) setVariable(name, before[name]);
  }
}

function setVariable(name: string, value: string | undefined): void {
  // Assigning undefined would make it the text "undefined".
  if (value === undefined) delete process.env[name];
  else process.env[name] = value;
}

const EXTENSIONS = [".ts", ".mts", ".js", ".mjs", ".json"] as const;

const CONFIG_NAMES: readonly string[] = EXTENSIONS.map((extension) => `rowmill.config${extension}`);

/**
 * Absolute path of the config: `file` as given (relative to `cwd`), else the one config in `cwd`.
 * @throws RowmillError `config_not_found`; `config_invalid` when there are several, or the name's ending is unknown.
 */
async function findConfig(cwd: string, file: string | null): Promise<string> {
  if (file !== null) return namedConfig(path.resolve(cwd, file));
  const candidates = CONFIG_NAMES.map((name) => path.join(cwd, name));
  const present = await Promise.all(candidates.map(isFile));
  const found = candidates.filter((_, index) => present[index] === true);
  const [only, ...others] = found;
  if (only === undefined) {
    throw new RowmillError("config_not_found", `There is no config in ${cwd} (looked for ${CONFIG_NAMES.join(", ")})`, {
      hints: ["Write one: rowmill init", "If your config is in another folder, add --config FILE."],
    });
  }
  if (others.length > 0) {
    const names = found.map((candidate) => path.basename(candidate)).join(" and ");
    // A compiled .js may be older than its .ts, so taking either could run the wrong pipelines.
    throw new RowmillError("config_invalid", `There are several configs in ${cwd}: ${names}`, {
      hints: ["Choose one with --config FILE, or remove the others."],
    });
  }
  return only;
}

async function namedConfig(file: string): Promise<string> {
  if (!EXTENSIONS.some((extension) => extension === path.extname(file))) {
    throw new RowmillError(
      "config_invalid",
      `${file} is not a config: its name must end in ${EXTENSIONS.slice(0, -1).join(", ")} or ${EXTENSIONS.at(-1)}`,
    );
  }
  if (!(await isFile(file))) throw new RowmillError("config_not_found", `There is no config at ${file}`);
  return file;
}

async function isFile(file: string): Promise<boolean> {
  try {
    return (await stat(file)).isFile();
  } catch (error) {
    if (hasCode(error, "ENOENT", "ENOTDIR")) return false;
    throw new RowmillError("config_not_found", `${file} cannot be read`, { cause: error });
  }
}
