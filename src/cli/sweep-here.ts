/** A sweep in this process, for when no worker lives. Loaded only then: it brings the engine. */
import { openProject } from "../app/open-project.js";
import { sweepAll } from "../app/round.js";
import { Secret } from "../config/secret.js";
import type { PipelineConfig } from "../model/pipeline.js";
import type { Database } from "../store/database.js";
import type { WorkerContext } from "../worker/context.js";
import type { Cli, ProjectOptions } from "./cli.js";
import { openLog } from "./command-log.js";
import { listenForInterruption } from "./interruption.js";
import type { Project } from "./project.js";
import { SweepProgress } from "./sweep-progress.js";

export interface SweepParts {
  readonly project: Project;
  readonly database: Database;
  readonly configs: readonly PipelineConfig[];
}

export async function sweepHere(cli: Cli, options: ProjectOptions, parts: SweepParts): Promise<void> {
  const interruption = listenForInterruption(() => cli.terminal.note("Stopping after this chunk of rows."));
  try {
    const context = await openWithoutKey(parts, openLog(cli.terminal, options.logLevel));
    try {
      const progress = new SweepProgress(cli.terminal);
      await sweepAll(context, interruption.signal, progress.onChunk);
      progress.end();
    } finally {
      context.leases.stop();
    }
  } finally {
    interruption.dispose();
  }
}

/** A sweep renders requests to compare them, and never calls the provider: any key serves, at any address. */
function openWithoutKey(
  { project, database, configs }: SweepParts,
  log: ReturnType<typeof openLog>,
): Promise<WorkerContext> {
  const { environment, config } = project;
  const apiKey = environment.openai.apiKey ?? new Secret("not-needed");
  return openProject({
    config: { ...config, pipelines: configs },
    environment: { ...environment, openai: { ...environment.openai, apiKey, allowHttp: true } },
    database,
    log,
  });
}
