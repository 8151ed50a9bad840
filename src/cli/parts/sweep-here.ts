/** A sweep in this process, where no worker is running. Loaded only then: it loads the engine. */
import { openWithoutKey } from "../../app/open/open-project.js";
import { sweepAll } from "../../app/open/round.js";
import type { PipelineConfig } from "../../model/pipeline.js";
import type { Database } from "../../postgres/database.js";
import type { Cli, ProjectOptions } from "../cli.js";
import { openLog } from "../screen/command-log.js";
import { listenForInterruption } from "../screen/interruption.js";
import type { Project } from "../project.js";
import { SweepProgress } from "../screen/progress.js";

export interface SweepParts {
  readonly project: Project;
  readonly database: Database;
  readonly configs: readonly PipelineConfig[];
}

export async function sweepHere(cli: Cli, options: ProjectOptions, parts: SweepParts): Promise<void> {
  const interruption = listenForInterruption(() => cli.terminal.note("Stopping after the current rows."));
  try {
    const { project, database, configs } = parts;
    const context = await openWithoutKey({
      config: { ...project.config, pipelines: configs },
      environment: project.environment,
      database,
      log: openLog(cli.terminal, options.logLevel),
    });
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
