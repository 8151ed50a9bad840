/**
 * What `rowmill up` would run for this config, as one script: the rights that an administrator grants, both schemas, targets,
 * triggers. Made by the very functions that install, on a database that answers their questions and notes their statements instead
 * of running them. So nothing is locked, and it works without the rights that it asks for, which count as granted; what only a run
 * could tell (a role that is refused after all) it cannot know.
 */
import { readFile } from "node:fs/promises";
import { RowmillError } from "../../model/errors.js";
import { oneLine, safeSql } from "../../model/words/one-line.js";
import type { PipelineConfig } from "../../model/pipeline.js";
import { inspectTable, type SourceTable } from "../../sources/table/inspection.js";
import { installTriggers, triggerSignature } from "../../sources/table/triggers.js";
import { quoteIdentifier, quoteLiteral, type Database, type Queryable } from "../../postgres/database.js";
import * as migrations from "../../store/ledger/migrations.js";
import * as overview from "../../store/ledger/overview.js";
import * as pipelines from "../../store/pipelines/pipelines.js";
import { refusalOf } from "../../targets/table/fault.js";
import { known, readOnly, type Look } from "../doctor/look.js";
import {
  judgeDatabaseRights,
  judgeSourceRights,
  lacksArrivalsRole,
  lookAtDatabaseRights,
} from "../doctor/rights.js";
import { sourceRights, targetFindings, targetPlan } from "../doctor/table-checks.js";
import { QUEUE_SCHEMA, queueFiles } from "./queue-schema.js";
import { triggerOptions } from "./triggers-in-place.js";

export interface InstallationScript {
  readonly text: string;
  /** False: a pipeline's tables are not as its config says, and its part is a comment that says so. */
  readonly complete: boolean;
}

interface Section {
  readonly title: string;
  readonly statements: readonly string[];
}

/** `look` has config, variables and an open database. */
export async function installationSql(look: Look): Promise<InstallationScript> {
  const rights = await readOnly(look, lookAtDatabaseRights);
  const grants = judgeDatabaseRights(rights).flatMap((finding) => finding.sql);
  const roleGranted = lacksArrivalsRole(rights);
  const schemas = await readOnly(look, schemaSections);
  const registered = await readOnly(look, async (tx) =>
    (await overview.ledgerExists(tx)) ? pipelines.all(tx) : [],
  );
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
      title: "Rights, to be granted by an administrator",
      statements: [...grants, ...parts.flatMap((part) => part.grants)],
    },
    ...asUser(rights.user, [...schemas, ...parts.flatMap((part) => part.sections)]),
  ].filter((section) => section.statements.length > 0);
  return { text: scriptText(look, rights.user, sections), complete: parts.every((part) => part.complete) };
}

/** Whoever runs the script, what it makes belongs to the worker's own user: else that one could neither use nor change it. */
function asUser(user: string, sections: readonly Section[]): readonly Section[] {
  if (sections.every((section) => section.statements.every((statement) => statement.startsWith("--"))))
    return sections;
  return [
    {
      title: `As "${user}", to whom all of this belongs then`,
      statements: [`set role ${quoteIdentifier(user)}`],
    },
    ...sections,
    { title: "As before", statements: ["reset role"] },
  ];
}

function scriptText(look: Look, user: string, sections: readonly Section[]): string {
  const { file } = known(look.config, "a config");
  const { place } = known(look.opened, "a database");
  const head = [
    oneLine(`-- What rowmill up would run in ${place} as "${user}", for ${file}.`),
    "-- It was only looked at: nothing has been changed. rowmill up does all of it by itself, the grants excepted.",
  ];
  if (sections.length === 0) return [...head, "-- Nothing is to be done.", ""].join("\n");
  return [
    ...head,
    "-- An administrator may run the grants alone, or the whole script.",
    "",
    "-- So that names without a schema are PostgreSQL's own, and not somebody else's",
    "",
    "set search_path = pg_catalog, pg_temp;",
    ...sections.flatMap(({ title, statements }) => [
      "",
      oneLine(`-- ${title}`),
      "",
      ...statements.map(terminated),
    ]),
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
                `insert into rowmill.migrations (version, name, sha256) values (${version}, ${quoteLiteral(name)}, ${quoteLiteral(sha256)})`,
              ]),
              migrations.DEPLOYMENT_STATEMENT,
            ],
    },
    { title: "The queue that wakes workers, graphile-worker's own", statements: await queueStatements(tx) },
  ];
}

/** As graphile-worker runs them: its bootstrap (dist/migrate.js), then the files that it ships, each noted by its number. */
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
      sections: [
        { title: `${pipeline.name} cannot be installed`, statements: lines.map((line) => `-- ${line}`) },
      ],
      complete: false,
    };
  }
}

async function wholePart(look: Look, pipeline: PipelineConfig, row: Registered): Promise<PipelinePart> {
  const { name, source } = pipeline;
  const table = await readOnly(look, (tx) => inspectTable(tx, source));
  const plan = await targetPlan(look, pipeline, table);
  const refusal = refusalOf(plan.faults.filter(({ kind }) => kind === "shape"));
  if (refusal !== null) throw refusal;
  const rights = await sourceRights(look, pipeline, table);
  const findings = [
    ...judgeSourceRights(name, table, rights),
    ...(await targetFindings(look, name, plan)),
  ].filter(({ level }) => level === "problem");
  const grants = findings.flatMap((finding) => finding.sql);
  return {
    grants,
    sections: [
      {
        title: `${name}: the target ${plan.qualified}`,
        // Columns of somebody else's table stand among the grants.
        statements: plan.statements.filter((statement) => !grants.includes(`${statement};`)),
      },
      {
        title: `${name}: triggers on ${table.qualified} (${row.id} is the number of the pipeline; a new one gets it when up registers it)`,
        statements: await triggerStatements(look, pipeline, { table, row }),
      },
    ],
    complete: true,
  };
}

async function triggerStatements(
  look: Look,
  pipeline: PipelineConfig,
  { table, row }: { table: SourceTable; row: Registered },
): Promise<string[]> {
  const { database } = known(look.opened, "a database");
  const options = triggerOptions(pipeline, row.id);
  return readOnly(look, async (tx) => {
    if ((await triggerSignature(tx, table, options)) === row.signature) return [];
    const notes: string[] = [];
    await installTriggers(notingDatabase(database, tx, notes), table, {
      ...options,
      roleGranted: row.roleGranted,
    });
    return notes;
  });
}

/** Asks through `tx`, and puts what should be run into `notes`. */
function notingDatabase(database: Database, tx: Queryable, notes: string[]): Database {
  const noting: Queryable = {
    rows: tx.rows,
    first: tx.first,
    run: (statement) => {
      if (statement.values.length > 0)
        throw new RowmillError("internal", "A statement with values cannot be printed as it is.");
      notes.push(statement.text);
      return Promise.resolve(0);
    },
  };
  return { ...database, ...noting, transaction: (work) => work(noting) };
}
