/** The composition root: from a checked config and the environment it makes what the stages work with. */
import { randomUUID } from "node:crypto";
import { join } from "node:path";
import type { Logger } from "pino";
import type { Environment } from "../../config/load/environment.js";
import { sameTable } from "../../config/read/cross-checks.js";
import { definitionHash } from "../../config/definition.js";
import { prefixed, RowmillError } from "../../model/errors.js";
import type { PipelineConfig, ProjectConfig, ReplicaConfig } from "../../model/pipeline.js";
import { catalogueState } from "../../sources/table/catalogue-state.js";
import { refuseChange, type TargetPlan } from "../../targets/table/ensure.js";
import { DatabaseError, type Database } from "../../postgres/database.js";
import * as migrations from "../../store/ledger/migrations.js";
import * as replicas from "../../store/replicas/replicas.js";
import * as results from "../../store/requests/results.js";
import { emptyMemory, type Pipeline, type WorkerContext } from "../../worker/context.js";
import { keepLeases } from "../../worker/lease-keeper.js";
import { makeStep, type StepOptions } from "../../worker/step.js";
import { bindPipeline, examinePipeline, refreshSource, type Examined } from "./bind-pipeline.js";
import { stateFolder } from "./open-database.js";
import type { Carried } from "./carry-answers.js";
import { noticeMove } from "./place-of-ledger.js";
import { openProviders, type OpenedProviders } from "./providers.js";
import { migrateQueue } from "./queue-schema.js";

/** Workers that start at once on an empty database; each further try finds more of it made. */
const BIND_TRIES = 5;
/** Unique violation, duplicate table, object and function, object in use, and "tuple concurrently updated". */
const RACE_STATES = new Set(["23505", "42P07", "42710", "42723", "42704", "42883", "40P01", "XX000"]);

export interface ProjectParts {
  readonly config: ProjectConfig;
  readonly environment: Environment;
  readonly database: Database;
  readonly log: Logger;
  /** Where they were made before the database was opened. */
  readonly providers?: OpenedProviders;
  readonly steps?: StepOptions;
  /** May an existing target be changed like this? By default, as far as the config allows it. */
  readonly allowChange?: AllowChange;
  /** Answers that were copied for a new target, so far. */
  readonly onCarried?: (pipeline: string, carried: Carried) => void;
}

export type AllowChange = (pipeline: PipelineConfig, plan: TargetPlan) => Promise<boolean>;

/** Brings both schemas to this version. Repeatable, and safe from several processes at once. */
export async function prepareSchemas(database: Database): Promise<string[]> {
  const applied = await migrations.migrate(database);
  await migrateQueue(database);
  return applied;
}

/** Everything that a worker needs: schemas, provider, every pipeline bound to its table. */
export async function openProject(parts: ProjectParts): Promise<WorkerContext> {
  const { config, database, log } = parts;
  const providers = parts.providers ?? (await openProviders(parts));
  // All of them before anything is made: a mistake in the last one leaves nothing behind.
  const examined = new Map<PipelineConfig, Examined>();
  for (const pipeline of config.pipelines.filter((each) => !readsMadeTable(each, config.pipelines)))
    examined.set(pipeline, await explained(pipeline, () => unlessRaced(() => examinePipeline(database, pipeline))));
  for (const [pipeline, { plan }] of examined) await explained(pipeline, () => settleChange(parts, pipeline, plan));
  await prepareSchemas(database);
  await noticeMove(database, config);
  await results.settleMoved(database);
  const pipelines = new Map<number, Pipeline>();
  for (const pipeline of config.pipelines) {
    const bound = await explained(pipeline, async () => {
      const seen = examined.get(pipeline) ?? (await examineLate(parts, pipeline));
      const onCarried = (carried: Carried) => parts.onCarried?.(pipeline.name, carried);
      return unlessRaced(() => bindPipeline(database, seen, providers(pipeline), onCarried));
    });
    pipelines.set(bound.id, bound);
  }
  const step = makeStep(log, parts.steps);
  return {
    database,
    read: database,
    step,
    pipelines,
    memory: emptyMemory(),
    workerId: randomUUID(),
    runId: randomUUID(),
    spoolFolder: join(stateFolder(config), "spool"),
    leases: keepLeases(database, log, step),
    log,
    random: Math.random,
    catalogueState: () => catalogueState(database),
    refreshSource: (pipeline) => refreshSource(database, pipeline),
  };
}

async function examineLate(parts: ProjectParts, pipeline: PipelineConfig): Promise<Examined> {
  const { name, source } = pipeline;
  if (source.replica !== null) await replicas.ensureReplica(parts.database, name, shapeOf(source, source.replica));
  const seen = await examinePipeline(parts.database, pipeline);
  await settleChange(parts, pipeline, seen.plan);
  return seen;
}

export function shapeOf(
  { key, columns }: PipelineConfig["source"],
  { version, keepMs, sync }: ReplicaConfig,
): replicas.ReplicaShape {
  return { key, columns, version, expires: keepMs !== null, synced: sync !== null };
}

/** @throws RowmillError `refused` */
async function settleChange({ allowChange }: ProjectParts, pipeline: PipelineConfig, plan: TargetPlan): Promise<void> {
  if (!plan.exists || plan.statements.length === 0) return;
  const allowed = allowChange === undefined ? !plan.asks : await allowChange(pipeline, plan);
  if (!allowed) throw refuseChange(pipeline.target, plan);
}

/** For what never calls the provider, though it may make requests to compare them. */
export function openWithoutKey(parts: ProjectParts): Promise<WorkerContext> {
  return openProject({ ...parts, environment: withoutKey(parts.environment) });
}

/** In which providers need no key, because no one calls them. */
export function withoutKey(environment: Environment): Environment {
  return { ...environment, provider: { ...environment.provider, offline: true } };
}

/** `up` makes its source: for rows from elsewhere, or as another pipeline's target when that one is bound. */
export function readsMadeTable(pipeline: PipelineConfig, all: readonly PipelineConfig[]): boolean {
  const isTarget = all.some((other) => other !== pipeline && sameTable(other.target.table, pipeline.source.table));
  return isTarget || pipeline.source.replica !== null;
}

/** Errors name the pipeline. */
async function explained<T>(config: PipelineConfig, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof RowmillError) || error.message.startsWith("pipelines.")) throw error;
    throw prefixed(error, `pipelines.${config.name}: `);
  }
}

/** Again where another process was in the way. */
async function unlessRaced<T>(work: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await work();
    } catch (error) {
      if (tries === BIND_TRIES || !isRace(error)) throw error;
    }
  }
}

/** Two processes made the same table, role or function at once, and one met a catalogue row of the other. */
function isRace(error: unknown): boolean {
  return error instanceof DatabaseError && error.sqlState !== null && RACE_STATES.has(error.sqlState);
}

/** By which a worker with this config knows the pipeline. */
export function configuredHash(config: PipelineConfig): string {
  return definitionHash(config, config.provider.dialect);
}
