/**
 * Makes the target table, or checks an existing one: key, columns, types. Idempotent; a crash leaves the table whole or
 * absent. A table that we make is private unless the config says otherwise: row-level security, no grants (seen: under
 * Supabase's default privileges a new table in `public` was writable by `anon`).
 */
import { outsideRoles } from "../../postgres/outside-roles.js";
import type { AnswerColumn } from "../../model/answer/answer-columns.js";
import { RowmillError } from "../../model/errors.js";
import type { PipelineConfig } from "../../model/pipeline.js";
import { REPLICA_SCHEMA } from "../../model/replica-name.js";
import { parseTableName } from "../../model/table-name.js";
import { ownerOfSchema, relationNamed, schemasOnPath, type Relation } from "../../sources/table/inspection.js";
import { DatabaseError, quoteIdentifier, raw, sql, type Database, type Reader } from "../../postgres/database.js";
import { fault, pairsOf, refusalOf, type Fault, type Judged } from "./fault.js";
import { faultsOf, nameFaults, structuralFaults } from "./judge.js";
import { narrowingFaults } from "./narrowing-faults.js";
import type { TargetTable } from "./table-target.js";
import { lookAtTarget, targetSignature, type TargetFacts } from "./catalogue.js";
import { refuseForeignCode, type Ownership } from "./owners.js";
import {
  additionStatement,
  creationStatements,
  listedValues,
  stampColumnsFor,
  stampsOf,
  wideningStatements,
  type AnsweredRows,
  type WantedColumn,
  type Widening,
} from "./statements.js";
import { tryAnswers } from "./try-answers.js";

/** While a change waits for its lock, readers of the table wait behind it. */
const LOCK_TIMEOUT_MS = 2_000;
const LOOK_MS_MAX = 6_000;

export type TargetConfig = PipelineConfig["target"];

/** What a target is to hold, and of which rows. */
export interface Wanted {
  readonly config: TargetConfig;
  readonly source: AnsweredRows;
  readonly answer: readonly AnswerColumn[];
  /** Of the definition in the ledger; null: there is none. */
  readonly previous: readonly AnswerColumn[] | null;
}

/**
 * Makes the target, or runs the statements of its plan. `allowed`: those that you have seen, or all: they only add to
 * a table, and only to one that Rowmill made or where the config allows it.
 * @throws RowmillError `target_unsupported`; `refused` where a statement is not among those `allowed`
 */
export async function ensureTarget(
  database: Database,
  wanted: Wanted,
  allowed: readonly string[] | "all",
): Promise<TargetTable> {
  const { config } = wanted;
  const plan = await database.transaction((tx) => planTarget(tx, wanted), { readOnly: true });
  const refusal = refusalOf(plan.faults);
  if (refusal !== null) throw refusal;
  if (plan.table !== null) return plan.table;
  if (!plan.exists) await createTarget(database, plan);
  else {
    const isAllowed = (statement: string) => allowed === "all" || allowed.includes(statement);
    if (plan.asks && !plan.statements.every(isAllowed)) throw refuseChange(config, plan);
    for (const statement of plan.statements) await change(database, statement);
  }
  const found = await fitTarget(database, wanted);
  if (typeof found === "string") throw new RowmillError("target_unsupported", found);
  return found;
}

/** The target as it is, for answers to another definition; text: why it can hold none of them. */
export async function fitTarget(
  client: Reader,
  wanted: Pick<Wanted, "config" | "source" | "answer">,
): Promise<TargetTable | string> {
  const { config, source } = wanted;
  const relation = await findTarget(client, config, source);
  if (relation === null) return `The target ${config.table} does not exist any more.`;
  const judged = await judgedOf(client, wanted, relation);
  return refusalOf(structuralFaults(judged))?.message ?? tableOf(judged);
}

/** What `ensureTarget` would do, without doing it. */
export interface TargetPlan {
  /** Quoted and schema-qualified. */
  readonly qualified: string;
  readonly schema: string;
  readonly exists: boolean;
  /** In order; none: the table needs no change. */
  readonly statements: readonly string[];
  /** The config does not allow them: you have to. */
  readonly asks: boolean;
  /** What remains wrong after the statements. */
  readonly faults: readonly Fault[];
  /** Null: it has to be made or changed first, or can hold no answer. */
  readonly table: TargetTable | null;
  /** `targetSignature`, read before the rest; null: there is no table. */
  readonly signature: string | null;
}

/** Also tries whether the target can hold every answer that the schema allows. Changes nothing. */
export async function examineTarget(database: Database, wanted: Wanted): Promise<TargetPlan> {
  const plan = await lookBriefly(database, wanted);
  if (plan.judged === null || refusalOf(plan.faults) !== null) return plan;
  const { judged } = plan;
  const ownership = ownershipOf(wanted.config, judged.facts, wanted.source);
  return { ...plan, faults: [...plan.faults, ...(await tryAnswers(database, judged, ownership))] };
}

/** PostgreSQL shows a CHECK only while no one holds an exclusive lock on the table, as a migration does. */
async function lookBriefly(database: Database, wanted: Wanted): Promise<Planned> {
  try {
    return await database.transaction((tx) => planTarget(tx, wanted), {
      readOnly: true,
      statementTimeoutMs: LOOK_MS_MAX,
      lockTimeoutMs: LOCK_TIMEOUT_MS,
    });
  } catch (error) {
    if (!(error instanceof DatabaseError) || error.sqlState !== "55P03") throw error;
    throw new RowmillError(
      "database_timeout",
      `target: another session locked ${wanted.config.table} for over ${LOCK_TIMEOUT_MS} ms, so it was not checked.`,
      {
        cause: error,
        hints: [
          "Try again later. To find that session: " +
            "select pid, state, xact_start, query from pg_stat_activity order by xact_start;",
        ],
      },
    );
  }
}

/** The statements that would change a table, as an error. */
export function refuseChange(config: TargetConfig, { qualified, statements }: TargetPlan): RowmillError {
  return new RowmillError(
    "refused",
    `target: ${config.table} must be changed before it can hold the answers, and you have not allowed it yet.`,
    {
      lines: statements.map((statement) => `${statement};`),
      hints: [
        `Let Rowmill run these statements on ${qualified}: rowmill up --yes`,
        "Or run them yourself, then start rowmill up again.",
      ],
    },
  );
}

/** `judged`: null for a table that does not exist yet. */
type Planned = TargetPlan & { readonly judged: Judged | null };

async function planTarget(client: Reader, wanted: Wanted): Promise<Planned> {
  const { config, source } = wanted;
  const columns = wantedColumns(config, wanted.answer);
  const names = nameFaults(parseTableName(config.table)?.name ?? config.table, columns);
  const relation = await findTarget(client, config, source);
  if (relation === null) {
    const { schema, qualified } = await newTarget(client, config);
    const roles = config.access === "private" ? await outsideRoles(client) : [];
    const statements = creationStatements({ access: config.access, source, wanted: columns, qualified, roles });
    const none = { exists: false, asks: false, judged: null, table: null, signature: null };
    return { qualified, schema, statements, faults: names, ...none };
  }
  const signature = await targetSignature(client, relation.qualified);
  const whole = await judgedOf(client, wanted, relation);
  const changes = changesOf(whole, wanted.previous);
  const judged = afterChanges(whole, changes);
  const { qualified, schema } = relation;
  const faults = [
    ...names,
    ...faultsOf(judged),
    ...ownerFaults(whole.facts, changes),
    ...foreignFaults(config, whole.facts),
    ...(await narrowingFaults(client, judged, wanted.previous)),
  ];
  const { statements, asks } = changes;
  const table = statements.length > 0 || refusalOf(faults) !== null ? null : tableOf(judged);
  return { qualified, schema, exists: true, statements, asks, faults, table, signature, judged };
}

function wantedColumns(config: TargetConfig, answer: readonly AnswerColumn[]): WantedColumn[] {
  return answer.map((column) => ({ ...column, name: config.columns?.[column.field] ?? column.field }));
}

async function judgedOf(
  client: Reader,
  { config, source, answer }: Pick<Wanted, "config" | "source" | "answer">,
  relation: Relation,
): Promise<Judged> {
  const key = source.key.map((column) => column.name);
  const facts = await lookAtTarget(client, relation, key);
  const isSource = source.isTarget ?? relation.oid === source.oid;
  return { config, facts, source, wanted: wantedColumns(config, answer), isSource };
}

interface Changes {
  readonly statements: readonly string[];
  readonly asks: boolean;
  /** Columns that are added. */
  readonly added: ReadonlySet<string>;
  /** CHECKs that allow more then. */
  readonly widened: ReadonlySet<string>;
}

/** Only additions: columns where the config allows it or the table is Rowmill's, and values in a CHECK of Rowmill's. */
function changesOf(judged: Judged, previous: Wanted["previous"]): Changes {
  const { config, facts, source, wanted } = judged;
  const present = new Set(facts.columns.map(({ name }) => name));
  const mayAdd = config.addColumns || facts.made;
  const stamps = facts.owns && config.addColumns ? stampColumnsFor(source) : [];
  const addition = mayAdd ? additionStatement(facts.qualified, { wanted, stamps }, present) : null;
  const widenings = facts.made ? wideningsOf(judged, previous ?? []) : [];
  return {
    statements: [
      ...(addition === null ? [] : [addition]),
      ...widenings.flatMap((widening) => wideningStatements(facts.qualified, widening)),
    ],
    // Only Rowmill uses the table from which answers are delivered elsewhere, so it does not ask.
    asks: config.elsewhere === null && (widenings.length > 0 || (addition !== null && !config.addColumns)),
    added: new Set(mayAdd ? wanted.map(({ name }) => name).filter((name) => !present.has(name)) : []),
    widened: new Set(widenings.map(({ constraint }) => constraint)),
  };
}

function wideningsOf(judged: Judged, previous: readonly AnswerColumn[]): Widening[] {
  return pairsOf(judged).flatMap(({ wanted, found }) => {
    const isFreed = previous.some(({ field, check }) => field === wanted.field && check !== null);
    return judged.facts.checks.flatMap(({ name, text }): Widening[] => {
      const listed = listedValues(text, found.name);
      if (listed === null || wanted.type !== "text") return [];
      const valid = !text.endsWith(" NOT VALID");
      // If the answer had no list before either, the CHECK is not ours.
      if (wanted.check === null) return isFreed ? [{ constraint: name, column: found.name, values: null, valid }] : [];
      // Listed values stay: for rows that are not sent again yet, and for workers with the previous definition.
      const values = [...new Set([...listed, ...wanted.check])];
      return values.length === listed.length ? [] : [{ constraint: name, column: found.name, values, valid }];
    });
  });
}

function afterChanges(judged: Judged, { added, widened }: Changes): Judged {
  const checks = judged.facts.checks.filter(({ name }) => !widened.has(name));
  return {
    ...judged,
    facts: { ...judged.facts, checks },
    wanted: judged.wanted.filter(({ name }) => !added.has(name)),
  };
}

function ownerFaults(facts: TargetFacts, { statements, widened }: Changes): readonly Fault[] {
  if (facts.owns || statements.length === 0) return [];
  const what =
    widened.size === 0
      ? "lacks columns, and only its owner may add them"
      : "must be changed, and only its owner may change it";
  return [fault(`${facts.qualified} ${what}.`, { kind: "right", sql: statements.map((statement) => `${statement};`) })];
}

/** In Rowmill's own schema another pipeline may keep pushed rows under this name. */
function foreignFaults({ elsewhere }: TargetConfig, { made, qualified }: TargetFacts): readonly Fault[] {
  if (elsewhere === null || made) return [];
  return [
    fault(`There is a table ${qualified} already, and it has no answers for a target elsewhere.`, {
      fixes: ["Give the pipeline another name, or move that table to another schema."],
    }),
  ];
}

function tableOf(judged: Judged): TargetTable {
  const { config, facts, source, isSource } = judged;
  const columns = pairsOf(judged).map(({ wanted, found }) => ({
    field: wanted.field,
    name: found.name,
    typeOid: found.typeOid,
    isJsonText: wanted.isJsonText === true,
    ...found.declared,
  }));
  const ownership = ownershipOf(config, facts, source);
  const { qualified, from } = facts;
  return { qualified, from, key: source.key, columns, stamps: stampsOf(facts.columns), isSource, ownership };
}

/** @throws RowmillError `target_unsupported` where a write would run code of an untrusted owner */
async function findTarget(client: Reader, config: TargetConfig, source: AnsweredRows): Promise<Relation | null> {
  const relation = await relationNamed(client, config.table);
  if (relation === null) return null;
  refuseSchema(config, relation.schema);
  const ownership = ownershipOf(config, relation, source);
  if (ownership !== null) await refuseForeignCode(client, ownership);
  return relation;
}

function ownershipOf(
  config: TargetConfig,
  { qualified }: { readonly qualified: string },
  source: AnsweredRows,
): Ownership | null {
  const key = source.key.map((column) => column.name);
  return config.trustOwner ? null : { target: qualified, source: source.oid === null ? null : source.qualified, key };
}

/** Arbitrary: the class of the advisory locks under which tables are made. */
const CREATION_LOCK = 726_976;

/** One process at a time: `if not exists` does not help two that begin at once. */
async function createTarget(database: Database, { qualified, statements }: TargetPlan): Promise<void> {
  await database.transaction(
    async (tx) => {
      await tx.run(sql`select pg_advisory_xact_lock(${CREATION_LOCK}::int, hashtext(${qualified}))`);
      for (const statement of statements) await tx.run(raw(statement));
    },
    { lockTimeoutMs: LOCK_TIMEOUT_MS },
  );
}

async function change(database: Database, statement: string): Promise<void> {
  try {
    await database.transaction((tx) => tx.run(raw(statement)), { lockTimeoutMs: LOCK_TIMEOUT_MS });
  } catch (error) {
    if (!(error instanceof DatabaseError) || error.sqlState !== "55P03") throw error;
    throw new RowmillError(
      "database_timeout",
      `target: ${statement}: another session locked the table for over ${LOCK_TIMEOUT_MS} ms.`,
      {
        cause: error,
        hints: ["This statement changed nothing. Start rowmill up again when the table is less busy."],
      },
    );
  }
}

async function newTarget(client: Reader, config: TargetConfig): Promise<{ schema: string; qualified: string }> {
  const { schema: named, name } = parseTableName(config.table) ?? { schema: null, name: config.table };
  const schema = named ?? (await schemasOnPath(client))[0] ?? "public";
  refuseSchema(config, schema);
  return { schema, qualified: `${quoteIdentifier(schema)}.${quoteIdentifier(name)}` };
}

function refuseSchema(config: TargetConfig, schema: string): void {
  if (schema === REPLICA_SCHEMA && config.elsewhere === null)
    throw new RowmillError(
      "target_unsupported",
      `target.table: ${config.table} is in the schema ${schema}, where Rowmill keeps pushed rows. ` +
        "Name a table in another schema.",
    );
  const owner = ownerOfSchema(schema);
  if (owner === null) return;
  throw new RowmillError(
    "target_unsupported",
    `target.table: ${config.table} is in the schema ${schema}, which is ${owner}. Name a table of yours.`,
  );
}
