/** What asking failed rows again would likely cost, by reason. Makes nothing, needs no key, and calls no provider. */
import { pino } from "pino";
import type { Database } from "../../postgres/database.js";
import * as failures from "../../store/requests/failures.js";
import { RowmillError } from "../../model/errors.js";
import type { PipelineConfig } from "../../model/pipeline.js";
import type { PipelineRow } from "../../store/pipelines/pipelines.js";
import { emptyMemory } from "../../worker/context.js";
import { estimateAgain } from "../../worker/rounds/estimate.js";
import { makeStep } from "../../worker/step.js";
import { examineSource, previewPipeline } from "../open/bind-pipeline.js";
import { openProviders, type Configured } from "../open/providers.js";
import { configuredHash } from "../open/open-project.js";

const SAMPLE_KEYS = 40;

/** Reason → 1e-9 US dollars a row. Without an entry: not known, as with a config that has changed. */
export async function retryCosts(
  database: Database,
  configured: Configured,
  {
    row,
    config,
    reasons,
  }: { readonly row: PipelineRow; readonly config: PipelineConfig; readonly reasons: readonly string[] },
): Promise<ReadonlyMap<string, number>> {
  const costs = new Map<string, number>();
  if (reasons.length === 0 || configuredHash(config) !== row.definitionHash) return costs;
  const provider = { ...configured.environment.provider, offline: true } as const;
  const environment = { ...configured.environment, provider };
  try {
    const opened = await openProviders({ config: { pipelines: [config] }, environment });
    const asking = await previewPipeline(database, await examineSource(database, config), opened(config));
    const step = makeStep(pino({ level: "silent" }));
    const sampling = { database, read: database, step, memory: emptyMemory() };
    for (const reason of reasons) {
      const meant = { pipelineId: row.id, reasons: [reason], keys: null };
      const keys = await failures.failedSample(database, meant, SAMPLE_KEYS);
      const { likelyNanoUsd } = await estimateAgain(sampling, asking, { rows: 1, keys });
      if (likelyNanoUsd !== null) costs.set(reason, likelyNanoUsd);
    }
    return costs;
  } catch (error) {
    // A source that cannot be read now: the reasons still help.
    if (error instanceof RowmillError) return costs;
    throw error;
  }
}
