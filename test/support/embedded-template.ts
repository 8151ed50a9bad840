/**
 * Owns a fresh embedded cluster that is copied instead of made: making one takes PGlite seconds, copying its
 * files a moment. Kept next to the packages and named after PGlite's version; it appears by one rename, so that two
 * workers may race.
 */
import { cp, mkdir, mkdtemp, readFile, rename, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { inject } from "vitest";
import { stopEmbedded } from "../../src/embedded/embedded.js";
import { openEmbedded } from "./built.js";
import type {} from "./global-setup.js";
import { EMBEDDED_PREFIX } from "./run-folder.js";
import { exists, hasCode } from "../../src/model/file-errors.js";

/** A new folder in the folder of the run, for `openEmbedded`, with a cluster inside. */
export async function embeddedDataDir(): Promise<string> {
  const template = await clusterTemplate();
  const dataDir = await emptyDataDir();
  await cp(template, join(dataDir, "postgres"), { recursive: true });
  return dataDir;
}

/** The same without a cluster. */
export async function emptyDataDir(): Promise<string> {
  return mkdtemp(join(inject("runFolder"), EMBEDDED_PREFIX));
}

/** The folder that is copied. */
export async function clusterTemplate(): Promise<string> {
  const entry = createRequire(import.meta.url).resolve("@electric-sql/pglite");
  const packageDir = dirname(dirname(entry));
  const manifest: unknown = JSON.parse(await readFile(join(packageDir, "package.json"), "utf8"));
  const version = typeof manifest === "object" && manifest !== null && "version" in manifest && manifest.version;
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
