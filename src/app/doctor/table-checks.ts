/** The user's tables: can the source be watched, can answers be written, and may this user do so? One finding a pipeline. */
import { RowmillError } from "../../model/errors.js";
import type { PipelineConfig } from "../../model/pipeline.js";
import { inspectTable, type SourceTable } from "../../sources/table/inspection.js";
import { sql, type Queryable } from "../../postgres/database.js";
import { examineTarget, type TargetPlan } from "../../targets/table/ensure.js";
import type { Fault } from "../../targets/table/fault.js";
import { checkPredicate, refuseWrongPaths, wantedTarget } from "../open/bind-pipeline.js";
import { notChecked, ok, problem, warning, type Check, type Finding } from "./check.js";
import { known, readOnly, type Look } from "./look.js";
import {
  judgeDatabaseRights,
  judgeNewTargetRights,
  judgeSourceRights,
  lookAtDatabaseRights,
  lookAtNewTableRights,
  lookAtTableRights,
  type TableRights,
} from "./rights.js";
import { triggersInPlace } from "../open/triggers-in-place.js";

const USABLE_DATABASE = ["version", "encoding"] as const;

export const rightsCheck: Check = {
  id: "rights",
  group: "Database",
  title: "Rights",
  needs: USABLE_DATABASE,
  otherwise: "rights are missing",
  run: async (look) => {
    const findings = judgeDatabaseRights(await readOnly(look, lookAtDatabaseRights));
    return findings.length > 0 ? findings : [ok("Rowmill's own schemas and role can be made or used")];
  },
};

export const TABLE_CHECKS: readonly Check[] = [
  {
    id: "source",
    group: "Tables",
    title: "Source",
    needs: USABLE_DATABASE,
    otherwise: "a source cannot be watched",
    run: (look) => eachPipeline(look, lookAtSource),
  },
  {
    id: "target",
    group: "Tables",
    title: "Target",
    needs: USABLE_DATABASE,
    otherwise: "a target cannot be written",
    run: (look) =>
      eachPipeline(look, async (pipeline) => {
        const table = look.tables.get(pipeline.name);
        if (table === undefined) return [notChecked(`${pipeline.name}: its source was not found`)];
        return lookAtTarget(look, pipeline, table);
      }),
  },
];

/** The findings of all pipelines; what a look throws is one of its own. */
export async function eachPipeline(
  look: Look,
  work: (pipeline: PipelineConfig, look: Look) => Promise<readonly Finding[]>,
): Promise<readonly Finding[]> {
  const findings: Finding[] = [];
  for (const pipeline of known(look.config, "a config").pipelines) {
    try {
      findings.push(...(await work(pipeline, look)));
    } catch (error) {
      if (!(error instanceof RowmillError) || error.code === "internal") throw error;
      findings.push(problem(`${pipeline.name}: ${error.message}`, { mends: error.hints }));
    }
  }
  return findings;
}

async function lookAtSource(pipeline: PipelineConfig, look: Look): Promise<readonly Finding[]> {
  const { source, name } = pipeline;
  const table = await readOnly(look, (tx) => inspectTable(tx, source));
  look.tables.set(name, table);
  refuseWrongPaths(pipeline, table);
  const findings = judgeSourceRights(name, table, await sourceRights(look, pipeline, table));
  if (findings.length > 0) return findings;
  await checkPredicate(known(look.opened, "a database").database, pipeline, table);
  const relatives = await readOnly(look, (tx) => relativesOf(tx, table.oid));
  return [
    ok(`${name}: ${table.qualified} can be read and watched`),
    ...judgeRelatives(name, table, relatives),
  ];
}

interface Relatives {
  /** Inheritance children, partitions left out. */
  readonly children: readonly string[];
  /** What it inherits from, or is a partition of. */
  readonly parents: readonly string[];
}

async function relativesOf(tx: Queryable, oid: number): Promise<Relatives> {
  const found = await tx.first<Relatives>(sql`
    select array(select i.inhrelid::regclass::text from pg_catalog.pg_inherits i join pg_catalog.pg_class c on c.oid = i.inhrelid
        where i.inhparent = ${oid}::oid and c.relkind = 'r' and not c.relispartition order by 1) as children,
      array(select i.inhparent::regclass::text from pg_catalog.pg_inherits i where i.inhrelid = ${oid}::oid order by 1) as parents`);
  return found ?? { children: [], parents: [] };
}

function judgeRelatives(
  name: string,
  { qualified }: SourceTable,
  { children, parents }: Relatives,
): Finding[] {
  const findings: Finding[] = [];
  if (children.length > 0)
    findings.push(
      warning(`${name}: the rows of ${children.join(", ")}, which inherit from ${qualified}, are not read.`, {
        mends: [
          "If they are to be asked about, name each of these tables as the source of a pipeline of its own.",
        ],
      }),
    );
  if (parents.length > 0)
    findings.push(
      warning(
        `${name}: what is written to ${qualified} through ${parents.join(", ")} is found by the next sweep only, since PostgreSQL runs no trigger of ${qualified} for it.`,
        {
          mends: [
            `Name ${parents.join(" or ")} as the source, write to ${qualified} itself, or run: rowmill sweep ${name}`,
          ],
        },
      ),
    );
  return findings;
}

/** The right to put triggers on it is looked for only where some are to be made. */
export async function sourceRights(
  look: Look,
  pipeline: PipelineConfig,
  table: SourceTable,
): Promise<TableRights> {
  return readOnly(look, async (tx) => {
    const inPlace = await triggersInPlace(tx, pipeline, table);
    return lookAtTableRights(tx, {
      qualified: table.qualified,
      relations: inPlace ? [] : table.relations.map((relation) => relation.qualified),
      columns: [...table.key, ...table.columns].map((column) => column.name),
    });
  });
}

async function lookAtTarget(
  look: Look,
  pipeline: PipelineConfig,
  table: SourceTable,
): Promise<readonly Finding[]> {
  const { name } = pipeline;
  const plan = await targetPlan(look, pipeline, table);
  const findings = await targetFindings(look, name, plan);
  if (findings.length > 0) return findings;
  if (!plan.exists) return [ok(`${name}: ${plan.qualified} will be made by rowmill up`)];
  if (plan.statements.length === 0) return [ok(`${name}: answers can be written into ${plan.qualified}`)];
  const sql = plan.statements.map((statement) => `${statement};`);
  if (!plan.asks)
    return [
      ok(`${name}: answers can be written into ${plan.qualified}; rowmill up adds the columns that it lacks`),
    ];
  return [
    warning(`${name}: ${plan.qualified} must be changed before it can hold the answers.`, {
      mends: ["rowmill up shows the statements and asks; rowmill up --yes runs them."],
      sql,
    }),
  ];
}

export async function targetPlan(
  look: Look,
  pipeline: PipelineConfig,
  table: SourceTable,
): Promise<TargetPlan> {
  const wanted = await readOnly(look, (tx) => wantedTarget(tx, pipeline, table));
  return examineTarget(known(look.opened, "a database").database, wanted);
}

export async function targetFindings(
  look: Look,
  name: string,
  plan: TargetPlan,
): Promise<readonly Finding[]> {
  const faults = plan.faults.map((fault) => findingOf(name, fault));
  if (plan.exists) return faults;
  const rights = await readOnly(look, (tx) => lookAtNewTableRights(tx, plan.schema));
  return [...faults, ...judgeNewTargetRights(name, plan, rights)];
}

function findingOf(name: string, { level, text, mends, sql }: Fault): Finding {
  const finding = (level === "warning" ? warning : problem)(`${name}: ${text}`, { mends, sql });
  return level === "unknown" ? { ...finding, level: "notChecked", stops: false } : finding;
}
