/**
 * Ties a pipeline of the config to the database: looks at its tables, then makes or checks its target, registers it, puts its
 * triggers in place. Idempotent: every `up` does it, several at once do no harm; what a crash cut off the next one completes.
 */
import { definitionHash } from "../../config/definition.js";
import type { AnswerColumn } from "../../model/answer/answer-columns.js";
import { compileAnswer, compileStored, type CompiledAnswer } from "../../model/answer/answer.js";
import { RowmillError } from "../../model/errors.js";
import type { Json, PipelineConfig } from "../../model/pipeline.js";
import { ratesFor, type Rates } from "../../model/provider/pricing.js";
import { compileRequest } from "../../model/request/render-request.js";
import { isJsonType, pathProblems } from "../../model/request/template.js";
import type { Provider } from "../../model/provider/provider.js";
import { inspectTable, relationNamed, type SourceTable } from "../../sources/table/inspection.js";
import { createTableSource } from "../../sources/table/table-source.js";
import type { Source } from "../../sources/source.js";
import { installTriggers, triggerSignature } from "../../sources/table/triggers.js";
import {
  DatabaseError,
  quoteIdentifier,
  raw,
  sql,
  underRolePath,
  type Database,
  type Queryable,
} from "../../postgres/database.js";
import * as definitions from "../../store/pipelines/definitions.js";
import * as overview from "../../store/ledger/overview.js";
import * as pipelines from "../../store/pipelines/pipelines.js";
import * as sweeps from "../../store/requests/sweeps.js";
import {
  ensureTarget,
  examineTarget,
  fitTarget,
  refuseChange,
  type TargetPlan,
  type Wanted,
} from "../../targets/table/ensure.js";
import { refusalOf } from "../../targets/table/fault.js";
import { createTableTarget, type TargetTable } from "../../targets/table/table-target.js";
import { targetSignature } from "../../targets/table/catalogue.js";
import type { Pipeline } from "../../worker/context.js";
import { encoderFor } from "../../worker/rounds/estimate.js";
import { triggerOptions, triggersInPlace } from "./triggers-in-place.js";

/** What was seen before anything is made. */
export interface Examined {
  readonly config: PipelineConfig;
  readonly rates: Rates;
  readonly answer: CompiledAnswer;
  readonly table: SourceTable;
  readonly wanted: Wanted;
  /** Of the target, without a problem. */
  readonly plan: TargetPlan;
}

/**
 * Everything that the user may have to mend, as far as looking tells. Makes nothing.
 * @throws RowmillError `config_invalid`, `source_unsupported` or `target_unsupported`
 */
export async function examinePipeline(database: Database, config: PipelineConfig): Promise<Examined> {
  const { dialect } = config.provider;
  const rates = ratesFor(dialect, config.request, new Date());
  if (config.budget !== null && rates.price === null) {
    const near = dialect.nearModel(config.request.model, new Date());
    throw new RowmillError(
      "config_invalid",
      `pipelines.${config.name}.budget: the price of "${config.request.model}" is not known, so a budget in dollars cannot be kept.`,
      {
        hints: [
          ...(near === null ? [] : [`Did you mean "${near}"? Change request.model in the config.`]),
          "Write what it costs into the config: request.price: { input: …, output: … }, in dollars per million tokens.",
          "Or leave `budget` out, and bound the pipeline with `limit`.",
        ],
      },
    );
  }
  const answer = compileAnswer(config.answer);
  const table = await database.transaction((tx) => inspectTable(tx, config.source), { readOnly: true });
  refuseWrongPaths(config, table);
  await checkPredicate(database, config, table);
  const look = async (tx: Queryable): Promise<Wanted> => {
    if (!(await triggersInPlace(tx, config, table))) await requireTriggerRight(tx, table);
    return wantedTarget(tx, config, table);
  };
  const wanted = await database.transaction(look, { readOnly: true });
  const plan = await examineTarget(database, wanted);
  const refusal = refusalOf(plan.faults);
  if (refusal !== null) throw refusal;
  await refuseKept(database, config, table);
  return { config, rates, answer, table, wanted, plan };
}

/** By other names than the config's own check sees through. */
async function refuseKept(
  client: Queryable,
  { name, source, target }: PipelineConfig,
  table: SourceTable,
): Promise<void> {
  if (source.onGone === "drop" || (await relationNamed(client, target.table))?.oid !== table.oid) return;
  throw new RowmillError(
    "config_invalid",
    `pipelines.${name}.source.onGone: the target is the source's own table, where a row that is gone has no place for its answer. Write "drop", or name another target.`,
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

/** @throws RowmillError `config_invalid` where a template goes into a column that has no inside. */
export function refuseWrongPaths({ request }: PipelineConfig, { columns }: SourceTable): void {
  const types = new Map(columns.map((column) => [column.name, column.type]));
  for (const key of ["system", "user"] as const) {
    const message = request[key];
    const [problem] = message?.kind === "template" ? pathProblems(message.text, types) : [];
    if (problem !== undefined) throw new RowmillError("config_invalid", `request.${key}: ${problem}.`);
  }
}

function jsonColumnsOf({ columns }: SourceTable): ReadonlySet<string> {
  return new Set(columns.filter(({ type }) => isJsonType(type)).map((column) => column.name));
}

/** Target before triggers: without a place for answers nothing may begin to pile up. */
export async function bindPipeline(
  database: Database,
  examined: Examined,
  provider: Provider,
): Promise<Pipeline> {
  const { config, rates, answer, table, wanted, plan } = examined;
  const targetTable = await ensureTarget(database, wanted, plan.statements);
  const hash = definitionHash(config, provider);
  const row = await database.transaction((tx) =>
    pipelines.register(tx, {
      name: config.name,
      definition: describe(config),
      version: version(config),
      answer: answer.stored,
      definitionHash: hash,
      sourceTable: table.qualified,
      sourceOid: table.oid,
      targetTable: config.target.table,
    }),
  );
  const skipBefore = await ensureInstalled(database, config, { row, table });
  let { signature } = plan;
  const pipeline: Pipeline = {
    id: row.id,
    config,
    definitionHash: hash,
    answer,
    render: compileRequest(config, jsonColumnsOf(table)),
    provider,
    encode: encoderFor({ provider, config, answer }),
    rates,
    table,
    source: sourceOf(config, row.id, { table, skipBefore }),
    target: createTableTarget(targetTable),
    targetFor: async (client, asked) => {
      // The same table, whatever it is called on this connection's search path.
      const of = { ...config.target, table: targetTable.qualified, columns: asked.columns };
      const found = await fitTarget(client, { config: of, source: table, answer: asked.answer });
      return typeof found === "string" ? found : createTableTarget(found);
    },
    isTargetChecked: async (client) => (await targetSignature(client, targetTable.qualified)) === signature,
    checkTarget: async () => {
      const seen = await checkTarget(database, wanted, targetTable.qualified);
      pipeline.target = createTableTarget(seen.table);
      ({ signature } = seen);
    },
    sourceFor: async (client, columns) => {
      const { qualified } = pipeline.table;
      const asked = await inspectTable(client, { ...config.source, table: qualified, columns });
      return sourceOf(config, row.id, { table: asked, skipBefore });
    },
  };
  return pipeline;
}

/** @throws RowmillError `target_unsupported` where answers could not be written any more: better before more is paid */
async function checkTarget(
  database: Database,
  wanted: Wanted,
  qualified: string,
): Promise<{ table: TargetTable; signature: string | null }> {
  // The same table, whatever it is called on this connection's search path; what was asked before it was bound is settled.
  const of = { ...wanted, config: { ...wanted.config, table: qualified }, previous: null };
  const plan = await examineTarget(database, of);
  const isChanged = plan.exists && plan.statements.length > 0;
  const refusal = refusalOf(plan.faults) ?? (isChanged ? refuseChange(of.config, plan) : null);
  if (refusal !== null)
    throw new RowmillError("target_unsupported", refusal.message, { hints: refusal.hints, cause: refusal });
  if (plan.table === null)
    throw new RowmillError("target_unsupported", `The target ${qualified} is not there any more.`);
  return { table: plan.table, signature: plan.signature };
}

/** Else the first to fail would be the trigger itself, when the target is made and the pipeline registered. */
async function requireTriggerRight(client: Queryable, table: SourceTable): Promise<void> {
  const row = await client.first<{ user: string; lacking: string[] }>(sql`
    select current_user::text as user, array(
      select c.oid::regclass::text from pg_catalog.pg_class c
      where c.oid = any(${table.relations.map((relation) => relation.oid)}::oid[]) and not has_table_privilege(c.oid, 'TRIGGER')
      order by 1) as lacking`);
  if (row === null || row.lacking.length === 0) return;
  const user = quoteIdentifier(row.user);
  throw new RowmillError(
    "source_unsupported",
    `source.table: the database's user ${user} may put no triggers on ${row.lacking.join(", ")}.`,
    {
      hints: [
        ...row.lacking.map((relation) => `grant trigger on ${relation} to ${user};`),
        "or connect as the table's owner.",
      ],
    },
  );
}

/** A predicate that PostgreSQL cannot run is a mistake in the config: better said now than at the first row. */
export async function checkPredicate(
  database: Database,
  config: PipelineConfig,
  table: SourceTable,
): Promise<void> {
  const { where } = config.source;
  if (where === null) return;
  try {
    await database.transaction(
      (tx) => tx.run(underRolePath(sql`select 1 from ${raw(table.from)} s where (${raw(where)}) limit 0`)),
      { readOnly: true },
    );
  } catch (error) {
    if (!(error instanceof DatabaseError) || error.code !== "database_refused") throw error;
    throw new RowmillError("source_unsupported", `source.where: ${error.message}`, {
      cause: error,
      hints: [`It is read as: select … from ${table.from} s where (${where})`],
    });
  }
}

/**
 * Looks at the table again. What changed under us (a partition, a type, the table itself) makes new triggers and a sweep.
 * @throws RowmillError `target_unsupported` where the target is no longer to be trusted: better before more is paid
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
    if (row.pauseKind === "source") await pipelines.resume(database, pipeline.id, "source");
    await pipeline.target.checkOwners(database);
  } catch (error) {
    if (!(error instanceof RowmillError) || error.code !== "source_unsupported") throw error;
    await pipelines.pause(database, pipeline.id, {
      kind: "source",
      reason: `${error.message} It goes on by itself when the table is as the config says.`,
    });
  }
}

function sourceOf(
  config: PipelineConfig,
  pipelineId: number,
  seen: { table: SourceTable; skipBefore: string | null },
): Source {
  return createTableSource(seen.table, {
    pipelineId,
    where: config.source.where,
    skipBefore: seen.skipBefore,
  });
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
    await sweeps.wantSweep(
      tx,
      row.id,
      row.sourceSignature === null ? "first" : "the table or its triggers changed",
    );
  });
  return skip ? (row.installedSnapshot ?? snapshot) : null;
}

/** For judging answers to it when the config says something else. */
function version(config: PipelineConfig): Json {
  const { columns, table } = config.target;
  const text = (source: PipelineConfig["request"]["user"] | null): Json =>
    source?.kind === "template" ? source.text : null;
  return {
    ...(describe(config) as Record<string, Json>),
    system: text(config.request.system),
    user: text(config.request.user),
    target: { table, columns: { ...columns } },
    attempts: config.attempts,
  };
}

/** What `status`, `show` and a person in psql may want to know; functions as their source. */
function describe(config: PipelineConfig): Json {
  const message = (source: PipelineConfig["request"]["user"] | null): Json =>
    source === null ? null : source.kind === "template" ? source.text : source.render.toString();
  return {
    source: {
      table: config.source.table,
      key: [...config.source.key],
      columns: [...config.source.columns],
      where: config.source.where,
    },
    target: config.target.table,
    model: config.request.model,
    price: config.request.price === null ? null : { ...config.request.price },
    parameters: { ...config.request.parameters },
    maxOutputTokens: config.request.maxOutputTokens,
    system: message(config.request.system),
    user: message(config.request.user),
    answer: compileAnswer(config.answer).schema?.schema ?? null,
    when: { ...config.when },
    budget: config.budget === null ? null : { ...config.budget },
    limit: config.limit,
  };
}
