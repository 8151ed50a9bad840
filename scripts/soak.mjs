/**
 * `npm run soak -- --minutes N`: kills workers at random instants for N minutes, on each kind of database and each
 * shape of a provider in turn, with a target elsewhere, and with answers that go back into a source elsewhere, with a
 * new seed for each run. `--provider` with `openai`, `plain`, `elsewhere` or `back`: on that alone. What failed is kept
 * in soak.log, with its seed; a run is done again by `--seed S --runs 1` and the same provider.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { parseArgs } from "node:util";

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "10" },
    runs: { type: "string", default: "" },
    kills: { type: "string", default: "20" },
    seed: { type: "string", default: String(Date.now() % 1_000_000) },
    provider: { type: "string", default: "" },
    log: { type: "string", default: "soak.log" },
  },
});

for (const name of ["minutes", "kills", "seed"]) {
  if (!(Number(values[name]) > 0)) throw new Error(`--${name} is no number: ${values[name]}`);
}
if (!["", "openai", "plain", "elsewhere", "back"].includes(values.provider))
  throw new Error(`--provider is none of openai, plain, elsewhere, back: ${values.provider}`);

const child = spawn(process.execPath, ["node_modules/vitest/vitest.mjs", "run", "--config", "vitest.crash.config.ts"], {
  stdio: "inherit",
  env: { ...process.env, ROWMILL_SOAK: JSON.stringify(values) },
});
const [status] = await once(child, "exit");
process.exitCode = status ?? 1;
