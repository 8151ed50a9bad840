/** This copy's version, from its own package.json. */
import { createRequire } from "node:module";

const MANIFEST: unknown = createRequire(import.meta.url)("../package.json");

export const VERSION: string =
  typeof MANIFEST === "object" && MANIFEST !== null && "version" in MANIFEST ? String(MANIFEST.version) : "unknown";
