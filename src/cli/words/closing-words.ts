/** What `up` says at its end: every pipeline's rows, some of those that failed, and what waits for a person. */
import { idleState } from "../../app/open/idle.js";
import * as overview from "../../store/ledger/overview.js";
import type { PipelineOverview } from "../../store/ledger/overview.js";
import { proseLine } from "../../model/words/one-line.js";
import { formatUsd } from "../../model/provider/pricing.js";
import type { WorkerContext } from "../../worker/context.js";
import type { Terminal } from "../screen/terminal.js";
import { counted, fit, fitKey, formatCount } from "./text.js";

const FAILURES_SHOWN = 3;
const ERROR_CHARACTERS = 160;
/** Of a key: no key alone reaches the end of a terminal's row. */

export interface End {
  /** Pipelines that wait for a person. */
  readonly blocked: number;
  /** Rows that failed for good, those included whose key cannot name them. */
  readonly failed: number;
}

export async function sayHowItEnded(terminal: Terminal, context: WorkerContext): Promise<End> {
  const { database } = context;
  const state = await idleState(context);
  const money = new Map(
    (await overview.moneyOverviews(database)).map((sum) => [sum.pipelineId, sum.spentNanoUsd]),
  );
  for (const pipeline of await overview.pipelineOverviews(database)) {
    if (!context.pipelines.has(pipeline.id)) continue;
    terminal.note(`${countsOf(pipeline)}; ${formatUsd(money.get(pipeline.id) ?? 0)} spent so far`);
    if (pipeline.failed > 0) await sayFailures(terminal, context, pipeline);
  }
  for (const { pipeline, reason } of state.blocked) terminal.note(`${pipeline}: ${reason}`);
  return { blocked: state.blocked.length, failed: state.failed };
}

function countsOf(pipeline: PipelineOverview): string {
  const rest = (["waiting", "batched", "cancelled", "gone"] as const)
    .filter((state) => pipeline[state] > 0)
    .map((state) => `, ${formatCount(pipeline[state])} ${state}`);
  return `${pipeline.name}: ${formatCount(pipeline.succeeded)} succeeded, ${formatCount(pipeline.failed)} failed${rest.join("")}`;
}

async function sayFailures(
  terminal: Terminal,
  context: WorkerContext,
  pipeline: PipelineOverview,
): Promise<void> {
  const failures = await overview.failedKeys(context.database, pipeline.id, FAILURES_SHOWN);
  for (const { key, error } of failures) {
    terminal.note(`  ${fitKey(key)}: ${fit(error, ERROR_CHARACTERS)}`);
  }
  sayUnnamed(terminal, pipeline);
  if (failures.length === 0) return;
  const more = pipeline.failed - pipeline.refused - failures.length;
  const others = more > 0 ? `  … and ${formatCount(more)} more. ` : "  ";
  terminal.note(`${others}One row's whole story: rowmill show ${pipeline.name} KEY`);
  terminal.note(`  All reasons, and what fixes them: rowmill failures ${pipeline.name}`);
}

function sayUnnamed(terminal: Terminal, { unnamed }: PipelineOverview): void {
  for (const { rows, example, reason } of unnamed) {
    const have = rows === 1 ? "has a key" : "have keys";
    terminal.note(
      `  ${counted(rows, "row")} cannot be asked about and ${have} such as ${fitKey(example)}: ${proseLine(reason)}`,
    );
  }
}
