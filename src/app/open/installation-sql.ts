/**
 * What `rowmill up` would run for this config, as one script: grants, both schemas, targets, triggers. The statements
 * are those that `up` runs, only read from the catalogue here: nothing is locked, and the rights that the script asks
 * for count as granted. What only a run shows (a role that is refused after all) the script cannot know.
 */
import { readFile } from "node:fs/promises";
import { RowmillError } from "../../model/errors.js";
import { oneLine, safeSql } from "../../model/words/one-line.js";
import type { PipelineConfig } from "../../model/pipeline.js";
import { inspectTable, type SourceTable } from "../../sources/table/inspection.js";
import { diagnoseSourceRights } from "../../sources/table/diagnose.js";
import { installationStatements, triggerOptions, triggerSignature } from "../../sources/table/triggers.js";
import { quoteIdentifier, quoteLiteral, type Queryable } from "../../postgres/database.js";
import { outsideRoles } from "../../postgres/outside-roles.js";
import * as migrations from "../../store/ledger/migrations.js";
import * as overview from "../../store/ledger/overview.js";
import * as pipelines from "../../store/pipelines/pipelines.js";
import { refusalOf } from "../../targets/table/fault.js";
import { targetFaults } from "../../targets/table/diagnose.js";
import { judgeDatabaseRights, lacksArrivalsRole, readDatabaseRights } from "../doctor/database-rights.js";
import { known, readOnly, type Look } from "../doctor/look.js";
import { targetPlan } from "../doctor/table-checks.js";
import * as replicaTables from "../../store/replicas/replica-table.js";
import { isReplicaMissing, plannedReplica } from "../../sources/table/replica.js";
import { shapeOf } from "./open-project.js";
import { QUEUE_SCHEMA, queueFiles } from "./queue-schema.js";

export interface InstallationScript {
  readonly text: string;
  /** False: a pipeline's tables do not fit its config, and its part is a comment with the reason. */
  readonly complete: boolean;
}

interface Section {
  readonly title: string;
  readonly statements: readonly string[];
}

/** `look` has config, variables and an open database. */
export async function installationSql(look: Look): Promise<InstallationScript> {
  const rights = await readOnly(look, readDatabaseRights);
  const grants = judgeDatabaseRights(rights).flatMap((finding) => finding.sql);
  const roleGranted = lacksArrivalsRole(rights);
  const schemas = await readOnly(look, schemaSections);
  const registered = await readOnly(look, async (tx) => ((await overview.ledgerExists(tx)) ? pipelines.all(tx) : []));
  const parts: PipelinePart[] = [];
  let newId = Math.max(0, ...registered.map((row) => row.id));
  for (const pipeline of known(look.config, "a config").pipelines) {
    const row = registered.find((candidate) => candidate.name === pipeline.name);
    parts.push(
      await pipelinePart(look, pipeline, {
        id: row?.id ?? ++newId,
        signature: row?.sourceSignature ?? null,
        roleGranted,
      }),
    );
  }
  const sections = [
    {
      title: "Rights that an administrator has to grant",
      statements: [...grants, ...parts.flatMap((part) => part.grants)],
    },
    ...asUser(rights.user, [...schemas, ...parts.flatMap((part) => part.sections)]),
  ].filter((section) => section.statements.length > 0);
  return { text: scriptText(look, rights.user, sections), complete: parts.every((part) => part.complete) };
}

/**
 * What the script makes must belong to the worker's user, who could not use or change it otherwise. In a transaction,
 * because it locks tables, and half of it would be in the way of `up`; the grants before it may also be run alone.
 */
function asUser(user: string, sections: readonly Section[]): readonly Section[] {
  if (sections.every((section) => section.statements.every((statement) => statement.startsWith("--")))) return sections;
  return [
    {
      title: `As "${user}", who will own everything below, in one transaction`,
      statements: ["begin", `set role ${quoteIdentifier(user)}`],
    },
    ...sections,
    { title: "As yourself again", statements: ["reset role", "commit"] },
  ];
}

function scriptText(look: Look, user: string, sections: readonly Section[]): string {
  const { file } = known(look.config, "a config");
  const { place } = known(look.opened, "a database");
  const head = [
    oneLine(`-- What rowmill up would run in ${place} as "${user}", for ${file}.`),
    "-- Nothing was changed. rowmill up runs all of it itself, except the grants.",
  ];
  if (sections.length === 0) return [...head, "-- There is nothing to do.", ""].join("\n");
  return [
    ...head,
    "-- An administrator may run the grants alone, or the whole script.",
    "",
    "-- So that a name without a schema is PostgreSQL's own",
    "",
    "set search_path = pg_catalog, pg_temp;",
    ...sections.flatMap(({ title, statements }) => ["", oneLine(`-- ${title}`), "", ...statements.map(terminated)]),
    "",
    "reset search_path;",
  ].join("\n");
}

/** A comment, and a text of several statements, end as they are. */
function terminated(statement: string): string {
  const text = safeSql(statement.trim());
  return text.startsWith("--") || text.endsWith(";") ? text : `${text};`;
}

async function schemaSections(tx: Queryable): Promise<Section[]> {
  const pending = await migrations.pendingMigrations(tx);
  return [
    {
      title: "Rowmill's own tables",
      statements:
        pending.length === 0
          ? []
          : [
              ...migrations.SCHEMA_STATEMENTS,
              ...pending.flatMap(({ version, name, text, sha256 }) => [
                text,
                `insert into rowmill.migrations (version, name, sha256) values (${version}, ` +
                  `${quoteLiteral(name)}, ${quoteLiteral(sha256)})`,
              ]),
              migrations.DEPLOYMENT_STATEMENT,
            ],
    },
    { title: "graphile-worker's tables, the queue that wakes workers", statements: await queueStatements(tx) },
  ];
}

/** As graphile-worker runs them: its bootstrap (dist/migrate.js), then its files, each recorded by its number. */
async function queueStatements(tx: Queryable): Promise<string[]> {
  const { files, last } = await queueFiles(tx);
  const pending = files.filter(({ number }) => number > (last ?? 0));
  if (pending.length === 0) return [];
  const texts = await Promise.all(
    pending.map(async ({ number, path }) => {
      const text = await readFile(path, "utf8");
      return [
        `insert into ${QUEUE_SCHEMA}.migrations (id) values (${number})`,
        text.replaceAll(/:GRAPHILE_WORKER_SCHEMA\b/g, QUEUE_SCHEMA),
      ];
    }),
  );
  return [
    `create schema if not exists ${QUEUE_SCHEMA}`,
    `create table if not exists ${QUEUE_SCHEMA}.migrations (id int primary key, ts timestamptz default now() not null)`,
    `alter table ${QUEUE_SCHEMA}.migrations add column if not exists breaking boolean not null default false`,
    ...texts.flat(),
  ];
}

interface PipelinePart {
  readonly grants: readonly string[];
  readonly sections: readonly Section[];
  readonly complete: boolean;
}

interface Registered {
  readonly id: number;
  /** Of the triggers that are there; null: none were ever made. */
  readonly signature: string | null;
  /** The user gets the role rowmill_arrivals by the script's grants. */
  readonly roleGranted: boolean;
}

async function pipelinePart(look: Look, pipeline: PipelineConfig, row: Registered): Promise<PipelinePart> {
  try {
    return await wholePart(look, pipeline, row);
  } catch (error) {
    if (!(error instanceof RowmillError) || error.code === "internal") throw error;
    const lines = [...error.message.split("\n"), ...error.hints.map((hint) => `  ${hint}`)];
    return {
      grants: [],
      sections: [{ title: `${pipeline.name} cannot be installed`, statements: lines.map((line) => `-- ${line}`) }],
      complete: false,
    };
  }
}

async function wholePart(look: Look, pipeline: PipelineConfig, row: Registered): Promise<PipelinePart> {
  const { name, source } = pipeline;
  const { elsewhere } = pipeline.target;
  const made = await replicaStatements(look, pipeline);
  const table = made === null ? await readOnly(look, (tx) => inspectTable(tx, source)) : plannedReplica(pipeline);
  const plan = await targetPlan(look, pipeline, table);
  const refusal = refusalOf(plan.faults.filter(({ kind }) => kind === "shape"));
  if (refusal !== null) throw refusal;
  const findings = await readOnly(look, async (tx) => [
    ...(made === null ? await diagnoseSourceRights(tx, pipeline, table) : []),
    ...(await targetFaults(tx, name, plan)),
  ]);
  const grants = findings.flatMap(({ level, sql }) => (level === "problem" ? sql : []));
  return {
    grants,
    sections: [
      { title: `${name}: the table for its rows`, statements: made ?? [] },
      {
        title: `${name}: the target ${plan.qualified}`,
        // Changes to another owner's table stand among the grants.
        statements: [
          ...(elsewhere === null || plan.exists ? [] : [replicaTables.SCHEMA_STATEMENT]),
          ...plan.statements.filter((statement) => !grants.includes(`${statement};`)),
        ],
      },
      {
        title:
          `${name}: triggers on ${table.qualified} (${row.id} is the number of the pipeline; a new one gets it ` +
          "when up registers it)",
        statements: await triggerStatements(look, pipeline, { table, row }),
      },
    ],
    complete: true,
  };
}

/** Null: there is one, or the rows are a table of the user's. */
function replicaStatements(look: Look, pipeline: PipelineConfig): Promise<readonly string[] | null> {
  const { name, source } = pipeline;
  return readOnly(look, async (tx) => {
    if (source.replica === null || !(await isReplicaMissing(tx, pipeline))) return null;
    const shape = shapeOf(source, source.replica);
    const outside = await outsideRoles(tx);
    return [
      replicaTables.SCHEMA_STATEMENT,
      ...replicaTables.creationStatements(name, shape, outside),
      ...replicaTables.indexStatements(name, shape),
    ];
  });
}

/** None where they are in place. */
function triggerStatements(
  look: Look,
  pipeline: PipelineConfig,
  { table, row }: { table: SourceTable; row: Registered },
): Promise<readonly string[]> {
  const options = triggerOptions(pipeline, row.id);
  return readOnly(look, async (tx) =>
    (await triggerSignature(tx, table, options)) === row.signature
      ? []
      : installationStatements(tx, table, { ...options, roleGranted: row.roleGranted }),
  );
}
