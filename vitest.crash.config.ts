/**
 * The crash suite, apart from `npm test`: it kills some 350 processes, interrupts runs, breaks databases and their
 * connections, and takes minutes.
 * With ROWMILL_SOAK: `npm run soak`.
 */
import { defineConfig } from "vitest/config";
import base from "./vitest.config.js";

const include = process.env["ROWMILL_SOAK"] === undefined ? "test/crash/**/*.test.ts" : "test/crash/soak.ts";

export default defineConfig({ test: { ...base.test, include: [include], testTimeout: 120_000 } });
