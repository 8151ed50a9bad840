/** Opens one pipeline for an adoption, as `up` would, unless a worker that runs has another definition of it. */
import { RowmillError } from "../../model/errors.js";
import type { PipelineConfig } from "../../model/pipeline.js";
import type { Database } from "../../postgres/database.js";
import * as overview from "../../store/ledger/overview.js";
import * as pipelines from "../../store/pipelines/pipelines.js";
import type { WorkerContext } from "../../worker/context.js";
import { configuredHash, openProject, type ProjectParts } from "../open/open-project.js";

type LivingWorker = Awaited<ReturnType<typeof overview.livingWorkers>>[number];

export interface OpenedForAdoption {
  readonly context: WorkerContext;
  /** One that runs; whether this pipeline is in its config, nobody can tell from here. Null: nobody works at present. */
  readonly worker: LivingWorker | null;
}

/** @throws RowmillError `refused` when a worker would stop sending, because its definition was replaced by this one. */
export async function openForAdoption(
  parts: ProjectParts,
  config: PipelineConfig,
): Promise<OpenedForAdoption> {
  const worker = await workerOf(parts.database, config);
  const context = await openProject({ ...parts, config: { ...parts.config, pipelines: [config] } });
  return { context, worker };
}

async function workerOf(database: Database, config: PipelineConfig): Promise<LivingWorker | null> {
  if (!(await overview.ledgerExists(database))) return null;
  const [worker = null] = await overview.livingWorkers(database);
  if (worker === null) return null;
  const row = (await pipelines.all(database)).find((known) => known.name === config.name);
  if (row === undefined || row.definitionHash === configuredHash(config)) return worker;
  throw new RowmillError(
    "refused",
    `Process ${worker.pid} on ${worker.host} works with another definition of "${config.name}" than the config's.`,
    { hints: ["Restart it, so that both ask the same; then adopt."] },
  );
}
