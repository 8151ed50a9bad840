/**
 * Owns the steps from a folder to a `ProjectConfig`: find the file, complete the variables from `.env` beside it,
 * run it, check it. Writes nothing, connects to nothing.
 */
import path from "node:path";
import type { ProjectConfig } from "../../model/pipeline.js";
import { completeFromDotenv } from "./dotenv.js";
import { evaluateConfig } from "./evaluate.js";
import { findConfig } from "./find-config.js";
import { validateConfig } from "../read/validate.js";

export interface LoadOptions {
  /** From `--config FILE`, relative to `cwd`; absent: the one `rowmill.config.*` in `cwd`. */
  readonly file?: string;
  readonly cwd: string;
  /** The variables; completed in place from `.env`, so read the environment after loading. A program gives `process.env`. */
  readonly env: Record<string, string | undefined>;
}

/**
 * Loads and checks the project's config.
 * @throws RowmillError `config_not_found`, or `config_invalid` with every mistake (see `ConfigError`).
 */
export async function loadConfig({ file, cwd, env }: LoadOptions): Promise<ProjectConfig> {
  const found = await findConfig(cwd, file ?? null);
  await completeFromDotenv(env, path.dirname(found));
  const definition = await withVariables(env, () => evaluateConfig(found));
  return validateConfig(definition, {
    file: found,
    language: path.extname(found) === ".json" ? "json" : "script",
    databaseUrl: env["DATABASE_URL"] === "" ? null : (env["DATABASE_URL"] ?? null),
  });
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
