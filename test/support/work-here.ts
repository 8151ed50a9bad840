/**
 * What `rowmill flush` and `rowmill up` do, in this process: for what has to be so before the command under test is
 * run. A process of the built CLI costs a second or more of one core, and each of them that is not the subject would
 * cost it too.
 */
import { pino } from "pino";
import { openProjectDatabase } from "../../src/app/open/open-database.js";
import { openProject } from "../../src/app/open/open-project.js";
import { runRound, sweepAll } from "../../src/app/open/round.js";
import { readEnvironment } from "../../src/config/load/environment.js";
import { loadConfig } from "../../src/config/load/load.js";
import { approve } from "../../src/worker/rounds/approval.js";
import type { WorkerContext } from "../../src/worker/context.js";
import type { CliProject } from "./cli.js";
import { drain } from "./project.js";

const { signal } = new AbortController();

/** A round of every stage with the project's own config file: whatever waits is sent, approved by the test. */
export function sendHere(project: CliProject): Promise<void> {
  return withContext(project, async (context) => {
    await sweepAll(context, signal);
    await runRound(context, { flush: true, signal });
  });
}

/** The same until nothing moves any more. */
export function answerHere(project: CliProject): Promise<void> {
  return withContext(project, (context) => drain([context], signal));
}

export async function withContext(
  { folder, env }: CliProject,
  work: (context: WorkerContext) => Promise<void>,
): Promise<void> {
  const config = await loadConfig({ cwd: folder, env: { ...env } });
  const environment = readEnvironment(env, config);
  const opened = await openProjectDatabase(config, environment);
  try {
    const log = pino({ level: "silent" });
    const context = await openProject({ config, environment, database: opened.database, log });
    try {
      for (const pipeline of context.pipelines.values()) await approve(context, pipeline, "the test");
      await work(context);
    } finally {
      context.leases.stop();
    }
  } finally {
    await opened.close();
  }
}
