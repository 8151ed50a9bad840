/** Why rows failed, and what sending them again would likely cost. Changes nothing. */
import { pino } from "pino";
import { RowmillError } from "../../model/errors.js";
import type { PipelineConfig } from "../../model/pipeline.js";
import type { Database } from "../../postgres/database.js";
import type { PipelineRow } from "../../store/pipelines/pipelines.js";
import * as failures from "../../store/requests/failures.js";
import type { FailureGroup, Failures, FailuresWanted } from "../../store/requests/failures.js";
import { emptyMemory } from "../../worker/context.js";
import { estimateAgain } from "../../worker/rounds/estimate.js";
import { makeStep } from "../../worker/step.js";
import { examineSource, previewPipeline } from "../open/bind-pipeline.js";
import { configuredHash } from "../open/open-project.js";
import { openProviders, type Configured } from "../open/providers.js";
import { failedPages, PAGE_ROWS, type ChosenRows, type FailedIn } from "./failed-pages.js";

/** In memory at once, each with a message. All others of a table with more reasons are counted as one. */
const GROUPS_HELD_MAX = 2_000;
const SAMPLE_KEYS = 40;

/** Of the failed rows that match a predicate: their pages, each grouped by the database, added up. */
export async function groupFailures(
  database: Database,
  of: FailedIn,
  { groupsMax, ...chosen }: ChosenRows & Pick<FailuresWanted, "groupsMax">,
): Promise<Failures> {
  const sum = new FailureSum();
  const { pipelineId, reasons } = chosen.meant;
  for await (const { keys } of failedPages(database, of, chosen)) {
    const page = await failures.readFailures(database, {
      pipelineIds: [pipelineId],
      groupsMax: PAGE_ROWS,
      rowsMax: null,
      dropped: true,
      ...(reasons === null ? {} : { reasons }),
      ...(keys === null ? {} : { keys }),
    });
    sum.add(page.groups);
  }
  return sum.largest(groupsMax);
}

/** Groups of one cause on several pages are one. The example is that of the first page. Pure. */
class FailureSum {
  readonly #groups = new Map<string, FailureGroup>();
  #rowsNotHeld = 0;

  add(groups: readonly FailureGroup[]): void {
    for (const group of groups) {
      const cause = JSON.stringify([group.pipelineId, group.reason, group.cause]);
      const known = this.#groups.get(cause);
      if (known === undefined && this.#groups.size >= GROUPS_HELD_MAX) this.#rowsNotHeld += group.rows;
      else
        this.#groups.set(cause, {
          ...(known ?? group),
          rows: (known?.rows ?? 0) + group.rows,
          kept: (known?.kept ?? 0) + group.kept,
        });
    }
  }

  largest(max: number): Failures {
    const groups = [...this.#groups.values()].toSorted((a, b) => b.rows - a.rows);
    const rest = groups.slice(max);
    const rows = rest.reduce((sum, group) => sum + group.rows, this.#rowsNotHeld);
    return { groups: groups.slice(0, max), more: { groups: rest.length + (this.#rowsNotHeld > 0 ? 1 : 0), rows } };
  }
}

/**
 * Reason → 1e-9 US dollars a row. Without an entry: not known, as with a config that has changed. Needs no key, and
 * calls no provider.
 */
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
