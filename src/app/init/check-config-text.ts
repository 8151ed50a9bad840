/** Reads a config's text back as Rowmill will read it, before it is written where it shall stand. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { evaluateConfig } from "../../config/load/evaluate.js";
import { validateConfig } from "../../config/read/validate.js";
import type { ProjectConfig } from "../../model/pipeline.js";

/** @throws ConfigError (`config_invalid`) in the name of `file`, where it will be. */
export async function checkConfigText(
  text: string,
  origin: { file: string; databaseUrl: string | null },
): Promise<ProjectConfig> {
  const folder = await mkdtemp(join(tmpdir(), "rowmill-init-"));
  try {
    const draft = join(folder, "rowmill.config.ts");
    await writeFile(draft, text, { mode: 0o600 });
    return validateConfig(await evaluateConfig(draft), { ...origin, language: "script" });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
