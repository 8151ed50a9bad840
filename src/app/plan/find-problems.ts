/** What is wrong with a pipeline before anything is sent, each with its fix, and what `up` would make. Only reads. */
import { RowmillError } from "../../model/errors.js";
import type { PipelineConfig } from "../../model/pipeline.js";
import { ratesFor } from "../../model/provider/pricing.js";
import { notChecked, problem, warning, type Finding } from "../../model/words/finding.js";
import { fixOf } from "../../model/words/failure-fixes.js";
import { noRowsText } from "../../model/words/replica-words.js";
import { counted, formatCount } from "../../model/words/counted.js";
import type { Database, Queryable } from "../../postgres/database.js";
import { diagnoseSource } from "../../sources/table/diagnose.js";
import { inspectTable, relationNamed, type SourceTable } from "../../sources/table/inspection.js";
import { triggersInPlace } from "../../sources/table/triggers.js";
import { diagnoseTarget } from "../../targets/table/diagnose.js";
import { examineTarget, type TargetPlan } from "../../targets/table/ensure.js";
import { judgeUnpriced } from "../doctor/provider-checks.js";
import { findingOf } from "../doctor/look.js";
import { examineSource, refuseKept, wantedTarget, type ExaminedSource } from "../open/bind-pipeline.js";
import { readsMadeTable } from "../open/open-project.js";
import type { RowFault } from "./examine-rows.js";
import type { LedgerSetup, SetupPlan } from "./pipeline-plan.js";
import { reading } from "./reading.js";

/** Of a statement that looks at the catalogue. */
const STATEMENT_MS_MAX = 6_000;

export interface Place {
  readonly database: Database;
  readonly ledger: LedgerSetup;
  /** All of the config: one may read what another writes. */
  readonly pipelines: readonly PipelineConfig[];
}

export interface FoundPipeline {
  readonly findings: readonly Finding[];
  readonly setup: SetupPlan | null;
  /** Null: its rows cannot be read. */
  readonly examined: ExaminedSource | null;
}

export async function findProblems(place: Place, config: PipelineConfig): Promise<FoundPipeline> {
  const isUnpriced = ratesFor(config.provider.dialect, config.request, new Date()).price === null;
  const priced = isUnpriced ? [judgeUnpriced(config)] : [];
  const later = await readsLaterTarget(place, config);
  if (later !== null) return { findings: [...priced, later], setup: null, examined: null };
  const source = await collected(async () => findSource(place, config));
  if (source.value === null) return { findings: [...priced, ...source.findings], setup: null, examined: null };
  const { table } = source.value;
  const target = await collected(() => findTarget(place, config, table));
  // A budget that no price lets anyone enforce is a finding; the rows are looked at without it.
  const examined = await collected(async () => ({
    findings: [],
    value: await examineSource(place.database, isUnpriced ? { ...config, budget: null } : config),
  }));
  const findings = [...priced, ...source.findings, ...examined.findings, ...target.findings];
  return {
    findings: withoutRepetition(findings).map((finding) => withoutName(config.name, finding)),
    setup: { target: target.value, triggers: source.value.triggers },
    examined: examined.value,
  };
}

interface Collected<T> {
  readonly findings: readonly Finding[];
  readonly value: T | null;
}

/** What is thrown about config, tables or rights becomes a finding. */
async function collected<T>(look: () => Promise<Collected<T>>): Promise<Collected<T>> {
  try {
    return await look();
  } catch (error) {
    return { findings: [foundIn(error)], value: null };
  }
}

const FOUND_CODES: readonly string[] = [
  "config_invalid",
  "source_unsupported",
  "target_unsupported",
  "database_refused",
  "database_timeout",
];

/** @throws what is not about config, tables or rights */
export function foundIn(error: unknown): Finding {
  if (!(error instanceof RowmillError) || !FOUND_CODES.includes(error.code)) throw error;
  return findingOf(error);
}

/** Null: its source is there, or `up` does not make it. */
async function readsLaterTarget({ database, pipelines }: Place, config: PipelineConfig): Promise<Finding | null> {
  if (!readsMadeTable(config, pipelines)) return null;
  const relation = await readOnly(database, (tx) => relationNamed(tx, config.source.table));
  if (relation !== null) return null;
  if (config.source.replica !== null) return notChecked(noRowsText(config.source.replica));
  return notChecked(
    `Its source ${config.source.table} is the target of another pipeline, which rowmill up creates first.`,
  );
}

interface FoundSource {
  readonly table: SourceTable;
  readonly triggers: readonly string[];
}

async function findSource({ database, ledger }: Place, config: PipelineConfig): Promise<Collected<FoundSource>> {
  const table = await readOnly(database, (tx) => inspectTable(tx, config.source));
  if (ledger === "foreign") return { findings: [], value: { table, triggers: [] } };
  const { findings, value } = await collected(async () => ({
    findings: await readOnly(database, (tx) => diagnoseSource(tx, config, table)),
    value: true,
  }));
  const inPlace = await readOnly(database, (tx) => triggersInPlace(tx, config, table));
  const triggers = inPlace ? [] : table.relations.map(({ qualified }) => qualified);
  return { findings: value === null ? findings : toFix(findings), value: { table, triggers } };
}

async function findTarget(
  { database, ledger }: Place,
  config: PipelineConfig,
  table: SourceTable,
): Promise<Collected<SetupPlan["target"]>> {
  if (ledger === "foreign") return { findings: [], value: null };
  const kept = await collected(async () => {
    await readOnly(database, (tx) => refuseKept(tx, config, table));
    return { findings: [], value: true };
  });
  const wanted = await readOnly(database, (tx) => wantedTarget(tx, config, table));
  const plan = await examineTarget(database, wanted);
  const found = await readOnly(database, (tx) => diagnoseTarget(tx, config.name, plan));
  return { findings: [...kept.findings, ...toFix(found)], value: targetOf(plan) };
}

function targetOf({ qualified, exists, statements }: TargetPlan): SetupPlan["target"] {
  return { table: qualified, exists, statements };
}

function readOnly<T>(database: Database, work: (tx: Queryable) => Promise<T>): Promise<T> {
  return reading(database, work, STATEMENT_MS_MAX);
}

function toFix(findings: readonly Finding[]): readonly Finding[] {
  return findings.filter(({ level }) => level !== "ok");
}

function withoutRepetition(findings: readonly Finding[]): readonly Finding[] {
  return findings.filter(({ text }, at) => findings.findIndex((other) => other.text === text) === at);
}

/** The doctor's findings are about all pipelines, and name one. */
function withoutName(name: string, finding: Finding): Finding {
  const start = [`${name}: `, `pipelines.${name}: `].find((prefix) => finding.text.startsWith(prefix)) ?? "";
  const text = finding.text.slice(start.length);
  return { ...finding, text: start === "" ? text : text.charAt(0).toUpperCase() + text.slice(1) };
}

/** Rows of the sample that cannot be asked. `read`: how many were rendered. */
export function rowFindings(
  config: PipelineConfig,
  faults: readonly RowFault[],
  { read, of }: { readonly read: number; readonly of: number },
): readonly Finding[] {
  const { name, request } = config;
  return faults.map(({ reason, rows, key, message }) => {
    const among = read < of ? `of ${counted(read, "row")} that were sampled` : `of ${counted(read, "row")}`;
    const text = `${formatCount(rows)} ${among} cannot be sent (${reason}), such as row ${key}: ${message}`;
    const fixes = [fixOf(reason, { name, request })];
    return rows === read ? problem(text, { fixes }) : warning(text, { fixes });
  });
}

export function keylessFinding(rows: number, reason: string): Finding {
  const [why = "", ...fixes] = reason.split(". ");
  const have = rows === 1 ? "has" : "have";
  return warning(`${counted(rows, "row")} ${have} no key and cannot be sent: ${why.toLowerCase()}.`, { fixes });
}

export function demoFinding(name: string, rows: number): Finding {
  const have = rows === 1 ? "has" : "have";
  return warning(
    `${counted(rows, "row")} ${have} an answer of the demo model. If the provider of your config is a real one, ` +
      "rowmill up sends them again, also those that are not counted here.",
    { fixes: [`rowmill up shows how many rows of ${name} then wait and what they cost, and asks first.`] },
  );
}
