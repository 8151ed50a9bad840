/**
 * One worker of the built package in a process of its own, in the folder of a config, with a fault at one step: `{
 * step, when, action }`. Says `working` over IPC when it works, and `freeze at STEP` or `throw at STEP` when it does
 * that. SIGTERM stops it cleanly. With `CRASH_FLUSH=no` rows wait for their threshold or deadline.
 */
import { pino } from "pino";
import { openProject } from "../../dist/app/open/open-project.js";
import { openProviders } from "../../dist/app/open/providers.js";
import { openProjectDatabase } from "../../dist/app/open/open-database.js";
import { readEnvironment } from "../../dist/config/load/environment.js";
import { loadConfig } from "../../dist/config/load/load.js";
import { startWorker } from "../../dist/worker/process/worker.js";

/** @type {{ step: string, when: string, action: string } | null} */
const fault = JSON.parse(process.env["CRASH_FAULT"] ?? "null");
let struck = false;

async function strike(name, when) {
  if (struck || fault === null || fault.step !== name || fault.when !== when) return;
  struck = true;
  if (fault.action === "kill") process.kill(process.pid, "SIGKILL");
  await new Promise((resolve) => process.send?.(`${fault.action} at ${name}`, resolve));
  if (fault.action === "throw") throw new Error(`thrown by the test ${when} ${name}`);
  process.kill(process.pid, "SIGSTOP");
}

const environment = readEnvironment(process.env);
const config = await loadConfig({ cwd: process.cwd(), env: process.env });
const { database } = await openProjectDatabase(config, environment);
const log = pino({ level: process.env["TEST_LOG"] ?? "silent" }, pino.destination(2));
const open = await openProviders({ config, environment });
const context = await openProject({
  config,
  environment,
  // A create without an effect is looked for within the window alone: its call takes no minute here.
  providers: (pipeline) => ({ ...open(pipeline), createMs: 0 }),
  database,
  log,
  steps: {
    faults: {
      before: (name) => strike(name, "before"),
      after: (name) => strike(name, "after"),
    },
  },
});
const worker = await startWorker(context, { flush: process.env["CRASH_FLUSH"] !== "no" });
process.once("SIGTERM", () => {
  void worker.stop().then(() => process.exit(0));
});
log.info("working");
process.send?.("working");
