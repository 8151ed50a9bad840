/**
 * Owns a fresh embedded cluster that is copied instead of made anew: making one takes PGlite seconds, copying its
 * files a moment. Kept beside the packages and named after PGlite's version; it appears by one rename, so that two
 * workers may race.
 */
import { cp, mkdir, mkdtemp, readFile, rename, rm, stat } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { openEmbedded, stopEmbedded } from "../../src/embedded/embedded.js";
import { hasCode } from "../../src/embedded/error-code.js";

/** A new folder below the temporary one, for `openEmbedded`, with a cluster inside. The caller removes it. */
export async function embeddedDataDir(): Promise<string> {
  const template = await madeTemplate();
  const dataDir = await mkdtemp(join(tmpdir(), "rowmill-test-embedded-"));
  await cp(template, join(dataDir, "postgres"), { recursive: true });
  return dataDir;
}

async function madeTemplate(): Promise<string> {
  const entry = createRequire(import.meta.url).resolve("@electric-sql/pglite");
  const packageDir = dirname(dirname(entry));
  const manifest: unknown = JSON.parse(await readFile(join(packageDir, "package.json"), "utf8"));
  const version =
    typeof manifest === "object" && manifest !== null && "version" in manifest && manifest.version;
  const folder = join(dirname(dirname(packageDir)), ".cache", "rowmill-test");
  const template = join(folder, `pglite-${String(version)}`);
  if (!(await exists(template))) await makeTemplate(folder, template);
  return template;
}

async function makeTemplate(folder: string, template: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  const dataDir = await mkdtemp(join(folder, "making-"));
  try {
    const database = await openEmbedded({ dataDir });
    await database.close();
    await stopEmbedded({ dataDir });
    await rename(join(dataDir, "postgres"), template);
  } catch (error) {
    if (!hasCode(error, "ENOTEMPTY", "EEXIST")) throw error;
  } finally {
    await rm(dataDir, { recursive: true, force: true });
  }
}

async function exists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    if (hasCode(error, "ENOENT")) return false;
    throw error;
  }
}
