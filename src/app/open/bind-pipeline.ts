/**
 * Ties a pipeline of the config to the database: examines its tables, makes or checks its target, registers it, puts
 * its triggers in place; and takes them off again. Repeatable: every `up` does it, several at once do no harm, and the
 * next one completes what a crash cut off.
 */
import { definitionHash, describeConfig, describeDefinition } from "../../config/definition.js";
import type { AnswerColumn } from "../../model/answer/answer-columns.js";
import { compileAnswer, compileStored, type CompiledAnswer } from "../../model/answer/answer.js";
import { RowmillError } from "../../model/errors.js";
import type { PipelineConfig } from "../../model/pipeline.js";
import { ratesFor, type Rates } from "../../model/provider/pricing.js";
import { compileRequest } from "../../model/request/render-request.js";
import { isJsonType } from "../../model/request/template.js";
import type { Provider } from "../../model/provider/provider.js";
import { inspectTable, relationNamed, type SourceTable } from "../../sources/table/inspection.js";
import { createTableSource } from "../../sources/table/table-source.js";
import type { Source } from "../../sources/source.js";
import { requirePaths, requirePredicate, requireTriggerRight } from "../../sources/table/requirements.js";
import {
  installTriggers,
  removeTriggers,
  triggerOptions,
  triggersInPlace,
  triggerSignature,
} from "../../sources/table/triggers.js";
import type { Database, Queryable } from "../../postgres/database.js";
import * as deliverers from "../../store/deliveries/deliverers.js";
import * as replicas from "../../store/replicas/replicas.js";
import * as definitions from "../../store/pipelines/definitions.js";
import * as overview from "../../store/ledger/overview.js";
import * as pipelines from "../../store/pipelines/pipelines.js";
import * as uninstallation from "../../store/ledger/uninstallation.js";
import * as arrivals from "../../store/requests/arrivals.js";
import * as sweeps from "../../store/requests/sweeps.js";
import * as syncs from "../../store/syncs/syncs.js";
import {
  ensureTarget,
  examineTarget,
  fitTarget,
  refuseChange,
  type TargetPlan,
  type Wanted,
} from "../../targets/table/ensure.js";
import { refusalOf } from "../../targets/table/fault.js";
import type { TargetTable } from "../../targets/table/table-target.js";
import { targetSignature } from "../../targets/table/catalogue.js";
import type { Asking, Pipeline } from "../../worker/context.js";
import { encoderFor } from "../../worker/rounds/estimate.js";
import { carryAnswers, type Carried } from "./carry-answers.js";
import { deliveryOf, targetHashOf, targetOf } from "./bind-target.js";

/** What asking takes, seen before anything was made. */
export interface ExaminedSource {
  readonly config: PipelineConfig;
  readonly rates: Rates;
  readonly answer: CompiledAnswer;
  readonly table: SourceTable;
}

/** The same with the place of its answers. */
export interface Examined extends ExaminedSource {
  readonly wanted: Wanted;
  /** Of the target, without a problem. */
  readonly plan: TargetPlan;
}

/**
 * Finds everything that you may have to fix, and makes nothing.
 * @throws RowmillError `config_invalid`, `source_unsupported` or `target_unsupported`
 */
export async function examinePipeline(database: Database, config: PipelineConfig): Promise<Examined> {
  const seen = await examineSource(database, config);
  const { table } = seen;
  const look = async (tx: Queryable): Promise<Wanted> => {
    if (!(await triggersInPlace(tx, config, table))) await requireTriggerRight(tx, table);
    return wantedTarget(tx, config, table);
  };
  const wanted = await database.transaction(look, { readOnly: true });
  const plan = await examineTarget(database, wanted);
  const refusal = refusalOf(plan.faults);
  if (refusal !== null) throw refusal;
  await refuseKept(database, config, table);
  return { ...seen, wanted, plan };
}

/**
 * Without what only `up` needs: rights to install triggers, and a target.
 * @throws RowmillError `config_invalid` or `source_unsupported`
 */
export async function examineSource(database: Database, config: PipelineConfig): Promise<ExaminedSource> {
  const rates = ratesFor(config.provider.dialect, config.request, new Date());
  if (config.budget !== null && rates.price === null) throw withoutPrice(config);
  const answer = compileAnswer(config.answer);
  const table = await database.transaction((tx) => inspectTable(tx, config.source), { readOnly: true });
  requirePaths(config, table);
  await database.transaction((tx) => requirePredicate(tx, config, table), { readOnly: true });
  return { config, rates, answer, table };
}

/** For a model whose price Rowmill does not know. */
export function priceAdvice({ provider, request }: PipelineConfig): readonly string[] {
  const near = provider.dialect.nearModel(request.model, new Date());
  return [
    ...(near === null ? [] : [`Did you mean "${near}"? Change request.model in the config.`]),
    "Set the price in the config: request.price: { input: …, output: … }, in dollars per million tokens.",
  ];
}

function withoutPrice(config: PipelineConfig): RowmillError {
  return new RowmillError(
    "config_invalid",
    `pipelines.${config.name}.budget: Rowmill has no price for "${config.request.model}", so it cannot ` +
      "enforce a budget in dollars.",
    { hints: [...priceAdvice(config), "Or remove `budget`, and cap the pipeline with `limit`."] },
  );
}

/** The config's own check misses tables with two names. */
export async function refuseKept(
  client: Queryable,
  { name, source, target }: PipelineConfig,
  table: SourceTable,
): Promise<void> {
  if (source.onGone === "drop" || (await relationNamed(client, target.table))?.oid !== table.oid) return;
  throw new RowmillError(
    "config_invalid",
    `pipelines.${name}.source.onGone: the target is the source table itself, so the answer of a deleted row ` +
      `has no place. Write "drop", or name another target.`,
  );
}

export async function wantedTarget(
  client: Queryable,
  { name, answer, target }: PipelineConfig,
  source: SourceTable,
): Promise<Wanted> {
  const previous = await previousColumns(client, name);
  return { config: target, source, answer: compileAnswer(answer).columns, previous };
}

/** Null: the ledger knows no such pipeline, or this version cannot read what it knows. */
async function previousColumns(client: Queryable, name: string): Promise<readonly AnswerColumn[] | null> {
  if (!(await overview.ledgerExists(client))) return null;
  const stored = await definitions.registeredAnswer(client, name);
  try {
    return stored === undefined ? null : compileStored(stored).columns;
  } catch {
    return null;
  }
}

function jsonColumnsOf({ columns }: SourceTable): ReadonlySet<string> {
  return new Set(columns.filter(({ type }) => isJsonType(type)).map((column) => column.name));
}

/**
 * The pipeline as its config says, for what only asks: registers, makes and installs nothing. Its `id` is 0 where the
 * ledger does not know it.
 */
export async function previewPipeline(
  database: Database,
  examined: ExaminedSource,
  provider: Provider,
): Promise<Asking> {
  const row = (await overview.ledgerExists(database)) ? await pipelines.byName(database, examined.config.name) : null;
  return previewOf(examined, provider, row);
}

/** `row`: null where the ledger does not know the pipeline. */
export function previewOf(
  examined: ExaminedSource,
  provider: Provider,
  row: Pick<pipelines.PipelineRow, "id" | "installedSnapshot"> | null,
): Asking {
  const skipBefore = examined.config.source.existing === "skip" ? (row?.installedSnapshot ?? null) : null;
  return askingOf(examined, provider, { id: row?.id ?? 0, skipBefore });
}

function askingOf(
  { config, rates, answer, table }: ExaminedSource,
  provider: Provider,
  { id, skipBefore }: { readonly id: number; readonly skipBefore: string | null },
): Asking {
  return {
    id,
    config,
    definitionHash: definitionHash(config, provider),
    answer,
    render: compileRequest(config, jsonColumnsOf(table)),
    provider,
    encode: encoderFor({ provider, config, answer }),
    rates,
    table,
    source: sourceOf(config, id, { table, skipBefore }),
  };
}

/** Target before triggers: nothing may pile up before answers have a place. */
export async function bindPipeline(
  database: Database,
  examined: Examined,
  provider: Provider,
  onCarried?: (carried: Carried) => void,
): Promise<Pipeline> {
  const { config, answer, table, wanted, plan } = examined;
  const { elsewhere } = config.target;
  if (elsewhere !== null) await database.transaction((tx) => replicas.makeSchema(tx));
  const targetTable = await ensureTarget(database, wanted, plan.statements);
  const targetFor = (id: number) => targetOf(config, id, targetTable);
  if (elsewhere !== null) await carryAnswers(database, { name: config.name, wanted, targetFor }, onCarried);
  const row = await database.transaction(async (tx) => {
    const registered = await pipelines.register(tx, {
      name: config.name,
      definition: describeConfig(config),
      version: describeDefinition(config, provider),
      answer: answer.stored,
      definitionHash: definitionHash(config, provider),
      sourceTable: table.qualified,
      sourceOid: table.oid,
      targetTable: config.target.table,
      onChange: config.onChange === "ask" ? "undecided" : config.onChange,
    });
    if (elsewhere === null) await deliverers.remove(tx, registered.id);
    else
      await deliverers.register(tx, registered.id, {
        target: elsewhere.name,
        targetHash: targetHashOf(elsewhere),
        settles: elsewhere.settle !== undefined,
      });
    return registered;
  });
  const skipBefore = await ensureInstalled(database, config, { row, table });
  return boundPipeline(database, examined, { provider, id: row.id, targetTable, skipBefore });
}

/**
 * The pipeline as it is registered, for a command that writes results while workers run. Registers, makes and installs
 * nothing.
 * @throws RowmillError `refused` where the target is not as the config says
 */
export function joinPipeline(
  database: Database,
  examined: Examined,
  { provider, row }: { readonly provider: Provider; readonly row: pipelines.PipelineRow },
): Pipeline {
  const { config, plan } = examined;
  if (!plan.exists || plan.table === null || plan.statements.length > 0)
    throw new RowmillError(
      "refused",
      `The target ${config.target.table} does not match the config of ${config.name}.`,
      {
        hints: ["Make or change it: rowmill up"],
      },
    );
  const skipBefore = config.source.existing === "skip" ? row.installedSnapshot : null;
  return boundPipeline(database, examined, { provider, id: row.id, targetTable: plan.table, skipBefore });
}

interface Bound {
  readonly provider: Provider;
  readonly id: number;
  readonly targetTable: TargetTable;
  readonly skipBefore: string | null;
}

function boundPipeline(
  database: Database,
  examined: Examined,
  { provider, id, targetTable, skipBefore }: Bound,
): Pipeline {
  const { config, table, wanted, plan } = examined;
  let { signature } = plan;
  const pipeline: Pipeline = {
    ...askingOf(examined, provider, { id, skipBefore }),
    target: targetOf(config, id, targetTable),
    delivery: deliveryOf(config, wanted),
    targetFor: async (client, asked) => {
      // Qualified: this connection's search path may find another table.
      const of = { ...config.target, table: targetTable.qualified, columns: asked.columns };
      const found = await fitTarget(client, { config: of, source: table, answer: asked.answer });
      return typeof found === "string" ? found : targetOf(config, id, found);
    },
    isTargetChecked: async (client) => (await targetSignature(client, targetTable.qualified)) === signature,
    checkTarget: async () => {
      const seen = await checkTarget(database, wanted, targetTable.qualified);
      pipeline.target = targetOf(config, id, seen.table);
      ({ signature } = seen);
    },
    sourceFor: async (client, columns) => {
      const { qualified } = pipeline.table;
      const asked = await inspectTable(client, { ...config.source, table: qualified, columns });
      return sourceOf(config, id, { table: asked, skipBefore });
    },
  };
  return pipeline;
}

/** @throws RowmillError `target_unsupported` where answers can no longer be written: better before more is paid */
async function checkTarget(
  database: Database,
  wanted: Wanted,
  qualified: string,
): Promise<{ table: TargetTable; signature: string | null }> {
  // Qualified: this connection's search path may find another table.
  const of = { ...wanted, config: { ...wanted.config, table: qualified }, previous: null };
  const plan = await examineTarget(database, of);
  const isChanged = plan.exists && plan.statements.length > 0;
  const refusal = refusalOf(plan.faults) ?? (isChanged ? refuseChange(of.config, plan) : null);
  if (refusal !== null)
    throw new RowmillError("target_unsupported", refusal.message, { hints: refusal.hints, cause: refusal });
  if (plan.table === null) throw new RowmillError("target_unsupported", `The target ${qualified} no longer exists.`);
  return { table: plan.table, signature: plan.signature };
}

/**
 * Inspects the table again. A change (a partition, a type, the table itself) makes new triggers and a sweep.
 * @throws RowmillError `target_unsupported` where the target can no longer be trusted: better before more is paid
 */
export async function refreshSource(database: Database, pipeline: Pipeline): Promise<void> {
  const { config } = pipeline;
  const row = await pipelines.byId(database, pipeline.id);
  if (row === null || row.uninstalledAt !== null || row.definitionHash !== pipeline.definitionHash) return;
  try {
    const table = await inspectTable(database, config.source);
    const skipBefore = await ensureInstalled(database, config, { row, table });
    if (JSON.stringify(table) !== JSON.stringify(pipeline.table)) {
      pipeline.table = table;
      pipeline.source = sourceOf(config, pipeline.id, { table, skipBefore });
    }
    // A source elsewhere resumes by a good reading.
    if (row.pauseKind === "source" && !(await syncs.isFailing(database, config.name)))
      await pipelines.resume(database, pipeline.id, "source");
    await pipeline.target.checkOwners(database);
  } catch (error) {
    if (!(error instanceof RowmillError) || error.code !== "source_unsupported") throw error;
    await pipelines.pause(database, pipeline.id, {
      kind: "source",
      reason: `${error.message} The pipeline resumes automatically when the table fits the config again.`,
    });
  }
}

function sourceOf(
  config: PipelineConfig,
  pipelineId: number,
  seen: { table: SourceTable; skipBefore: string | null },
): Source {
  return createTableSource(seen.table, { pipelineId, where: config.source.where, skipBefore: seen.skipBefore });
}

/** Puts the triggers in place unless they are there as they should be. Returns the snapshot for `existing: "skip"`. */
async function ensureInstalled(
  database: Database,
  config: PipelineConfig,
  seen: { row: pipelines.PipelineRow; table: SourceTable },
): Promise<string | null> {
  const { row, table } = seen;
  const options = triggerOptions(config, row.id);
  const skip = config.source.existing === "skip";
  if ((await triggerSignature(database, table, options)) === row.sourceSignature)
    return skip ? row.installedSnapshot : null;
  await requireTriggerRight(database, table);
  const snapshot = await installTriggers(database, table, options);
  const signature = await triggerSignature(database, table, options);
  await database.transaction(async (tx) => {
    await pipelines.recordInstallation(tx, row.id, { signature, snapshot });
    await sweeps.wantSweep(tx, row.id, row.sourceSignature === null ? "first" : "the table or its triggers changed");
  });
  return skip ? (row.installedSnapshot ?? snapshot) : null;
}

/**
 * Takes the triggers of these pipelines off your tables. Returns how many of them were not uninstalled before. They are
 * marked first, so that no worker puts a trigger back; recorded changes go too, because the sweep after a later `up`
 * finds them.
 */
export async function uninstall(database: Database, pipelineIds: readonly number[]): Promise<number> {
  const marked = await database.transaction((tx) => uninstallation.markUninstalled(tx, pipelineIds));
  for (const id of pipelineIds) await removeTriggers(database, id);
  await arrivals.dropForeignArrivals(database);
  return marked;
}
