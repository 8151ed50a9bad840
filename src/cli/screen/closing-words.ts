/** What `up` says at its end: each pipeline's rows, some of those that failed, and what needs your attention. */
import { idleState } from "../../app/open/idle.js";
import * as overview from "../../store/ledger/overview.js";
import type { PipelineOverview } from "../../store/ledger/overview.js";
import { proseLine } from "../../model/words/one-line.js";
import { parseTableName } from "../../model/table-name.js";
import { quoteIdentifier } from "../../postgres/database.js";
import { formatUsd } from "../../model/provider/pricing.js";
import type { Pipeline, WorkerContext } from "../../worker/context.js";
import type { Terminal } from "./terminal.js";
import { counted, fit, fitKey, formatCount } from "./text.js";

/** Keywords among these names are few, and a server says what is wrong with one. */
const PLAIN_NAME = /^[a-z_][a-z0-9_]*$/;
const ROWS_SELECTED = 10;
const FAILURES_SHOWN = 3;
const ERROR_CHARACTERS = 160;

/** `failed`: rows that failed for good, including those with an unusable key. */
export async function sayHowItEnded(
  terminal: Terminal,
  context: WorkerContext,
): Promise<{ blocked: number; failed: number }> {
  const { database } = context;
  const state = await idleState(context, { ended: true });
  const money = new Map((await overview.moneyOverviews(database)).map((sum) => [sum.pipelineId, sum.spentNanoUsd]));
  for (const pipeline of await overview.pipelineOverviews(database)) {
    const opened = context.pipelines.get(pipeline.id);
    if (opened === undefined) continue;
    const sign = pipeline.failed > 0 ? "✗" : "✓";
    terminal.note(`${sign} ${countsOf(pipeline)}; ${formatUsd(money.get(pipeline.id) ?? 0)} spent so far`);
    if (pipeline.succeeded > 0) terminal.note(`  Answers${whereTo(opened, pipeline)}`);
    if (pipeline.failed > 0) await sayFailures(terminal, context, pipeline);
  }
  for (const { pipeline, reason } of state.blocked) terminal.note(`! ${pipeline}: ${reason}`);
  return { blocked: state.blocked.length, failed: state.failed };
}

function whereTo({ delivery, config }: Pipeline, { name, targetTable }: PipelineOverview): string {
  const isElsewhere = config.source.replica?.sync != null;
  const show = isElsewhere ? `rowmill export ${name} --out ${name}.answers.csv` : selectText(targetTable);
  return delivery === null ? `: ${show}` : ` go to ${delivery.connector.name}; Rowmill's own copy: ${show}`;
}

/** To be pasted into psql or a console of SQL. */
function selectText(table: string): string {
  const { schema, name } = parseTableName(table) ?? { schema: null, name: table };
  const parts = [...(schema === null ? [] : [schema]), name];
  const words = parts.map((part) => (PLAIN_NAME.test(part) ? part : quoteIdentifier(part)));
  return `select * from ${words.join(".")} limit ${ROWS_SELECTED};`;
}

function countsOf(pipeline: PipelineOverview): string {
  const rest = (["waiting", "batched", "cancelled", "gone"] as const)
    .filter((state) => pipeline[state] > 0)
    .map((state) => `, ${formatCount(pipeline[state])} ${state}`);
  const { name, succeeded, failed } = pipeline;
  return `${name}: ${formatCount(succeeded)} succeeded, ${formatCount(failed)} failed${rest.join("")}`;
}

async function sayFailures(terminal: Terminal, context: WorkerContext, pipeline: PipelineOverview): Promise<void> {
  const failures = await overview.failedKeys(context.database, pipeline.id, FAILURES_SHOWN);
  for (const { key, error } of failures) terminal.note(`  ${fitKey(key)}: ${fit(error, ERROR_CHARACTERS)}`);
  for (const { rows, example, reason } of pipeline.unnamed) {
    const such = `such as ${fitKey(example)}: ${proseLine(reason)}`;
    terminal.note(`  ${counted(rows, "row")} cannot be sent because of the key, ${such}`);
  }
  if (failures.length === 0) return;
  const more = pipeline.failed - pipeline.refused - failures.length;
  if (more > 0) terminal.note(`  … and ${formatCount(more)} more`);
  terminal.note(`  All reasons and fixes: rowmill failures ${pipeline.name}`);
  terminal.note(`  Everything about one row: rowmill show ${pipeline.name} KEY`);
}
