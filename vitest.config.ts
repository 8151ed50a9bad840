import { defineConfig } from "vitest/config";
import { keepFilesInMemory } from "./test/support/memory-folder.js";

keepFilesInMemory();

export default defineConfig({
  test: {
    include: ["test/{unit,property,integration,conformance,e2e}/**/*.test.ts"],
    globalSetup: ["test/support/global-setup.ts"],
    pool: "forks",
    // Many tests wait for a process, a poll or a back-off: more workers than cores of the smallest machine.
    maxWorkers: 4,
    // Modules are loaded once a worker, not once a file; no test may depend on fresh module state.
    isolate: false,
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});
