/**
 * Makes the target table, or checks one that exists: key, columns, types. Idempotent; a crash leaves the table whole or absent.
 * A table that we make belongs to nobody else: row-level security on, and no grants, unless the user wants them inherited
 * (seen: under Supabase's default privileges a new table in `public` was writable by `anon`).
 */
import type { AnswerColumn } from "../model/answer-columns.js";
import { RowmillError } from "../model/errors.js";
import type { PipelineConfig } from "../model/pipeline.js";
import { parseTableName } from "../model/table-name.js";
import {
  ownerOfSchema,
  relationNamed,
  schemasOnPath,
  type Relation,
  type SourceTable,
  type TableColumn,
} from "../sources/table-inspection.js";
import { quoteIdentifier, raw, sql, type Database, type Queryable, type Reader } from "../store/database.js";
import type { TargetColumn, TargetTable } from "./table-target.js";
import { refuseStrangers, type Ownership } from "./target-owners.js";
import {
  additionStatement,
  columnText,
  creationStatements,
  stampColumns,
  type WantedColumn,
} from "./target-statements.js";

const LOCK_TIMEOUT_MS = 5_000;
/** Left out of a new table's grants, where they exist: everybody, and Supabase's roles of the outside world. */
const outsideRoles = ["anon", "authenticated"] as const;

type TargetConfig = PipelineConfig["target"];

export async function ensureTarget(
  database: Database,
  config: TargetConfig,
  source: SourceTable,
  answer: readonly AnswerColumn[],
): Promise<TargetTable> {
  const wanted = wantedColumns(config, answer);
  const existing = await findTarget(database, config, source);
  if (existing === null) await createTarget(database, config, source, wanted);
  const relation = existing ?? (await findTarget(database, config, source));
  if (relation === null)
    throw new RowmillError(
      "target_unsupported",
      `The target ${config.table} was made, but cannot be found on this connection's search path.`,
    );
  const isSource = relation.oid === source.oid;
  if (existing && config.addColumns) await addColumns(database, relation, wanted);
  return checkTarget(database, { config, relation, source, wanted, isSource });
}

/** The target as it is, for answers that another definition asked for; text: why it cannot hold them. */
export async function fitTarget(
  client: Reader,
  wanted: { config: TargetConfig; source: SourceTable; answer: readonly AnswerColumn[] },
): Promise<TargetTable | string> {
  const { config, source } = wanted;
  const relation = await findTarget(client, config, source);
  if (relation === null) return `The target ${config.table} is not there any more.`;
  const isSource = relation.oid === source.oid;
  try {
    const columns = wantedColumns(config, wanted.answer);
    return await checkTarget(client, { config, relation, source, wanted: columns, isSource });
  } catch (error) {
    if (!(error instanceof RowmillError) || error.code !== "target_unsupported") throw error;
    return error.message;
  }
}

/** What `ensureTarget` would do, without doing it. */
export interface TargetPlan {
  /** Quoted and schema-qualified. */
  readonly qualified: string;
  readonly schema: string;
  readonly exists: boolean;
  readonly isSource: boolean;
  /** In order; none where the table is as it must be. */
  readonly statements: readonly string[];
}

/** Only looks. @throws RowmillError `target_unsupported` for a table that could not be used even then. */
export async function planTarget(
  client: Queryable,
  config: TargetConfig,
  source: SourceTable,
  answer: readonly AnswerColumn[],
): Promise<TargetPlan> {
  const wanted = wantedColumns(config, answer);
  const relation = await findTarget(client, config, source);
  if (relation === null) {
    const { schema, qualified } = await newTarget(client, config);
    const roles = config.access === "private" ? await presentOutsideRoles(client) : [];
    const statements = creationStatements({ access: config.access, source, wanted, qualified, roles });
    return { qualified, schema, exists: false, isSource: false, statements };
  }
  const { qualified, schema } = relation;
  const isSource = relation.oid === source.oid;
  const addition = config.addColumns ? await columnAddition(client, relation, wanted) : null;
  const checked = addition === null ? wanted : await presentOnly(client, relation, wanted);
  await checkTarget(client, { config, relation, source, wanted: checked, isSource });
  return { qualified, schema, exists: true, isSource, statements: addition === null ? [] : [addition] };
}

async function presentOnly(
  client: Queryable,
  relation: Relation,
  wanted: readonly WantedColumn[],
): Promise<WantedColumn[]> {
  const present = new Set((await readColumns(client, relation.oid)).map((column) => column.name));
  return wanted.filter((column) => present.has(column.name));
}

function wantedColumns(config: TargetConfig, answer: readonly AnswerColumn[]): WantedColumn[] {
  return answer.map((column) => ({ ...column, name: config.columns?.[column.field] ?? column.field }));
}

/** Whatever is found may be written to: nothing of it is anybody's whom the config does not trust. */
async function findTarget(
  client: Reader,
  config: TargetConfig,
  source: SourceTable,
): Promise<Relation | null> {
  const relation = await relationNamed(client, config.table);
  if (relation === null) return null;
  refuseSchema(config, relation.schema);
  const ownership = ownershipOf(config, relation, source);
  if (ownership !== null) await refuseStrangers(client, ownership);
  return relation;
}

function ownershipOf(config: TargetConfig, relation: Relation, source: SourceTable): Ownership | null {
  const key = source.key.map((column) => column.name);
  return config.trustOwner ? null : { target: relation.qualified, source: source.qualified, key };
}

async function createTarget(
  database: Database,
  config: TargetConfig,
  source: SourceTable,
  wanted: readonly WantedColumn[],
): Promise<void> {
  const { qualified } = await newTarget(database, config);
  await database.transaction(
    async (tx) => {
      const roles = config.access === "private" ? await presentOutsideRoles(tx) : [];
      for (const statement of creationStatements({ access: config.access, source, wanted, qualified, roles }))
        await tx.run(raw(statement));
    },
    { lockTimeoutMs: LOCK_TIMEOUT_MS },
  );
}

async function newTarget(
  client: Queryable,
  config: TargetConfig,
): Promise<{ schema: string; qualified: string }> {
  const { schema: named, name } = parseTableName(config.table) ?? { schema: null, name: config.table };
  const schema = named ?? (await defaultSchema(client));
  refuseSchema(config, schema);
  return { schema, qualified: `${quoteIdentifier(schema)}.${quoteIdentifier(name)}` };
}

function refuseSchema(config: TargetConfig, schema: string): void {
  const owner = ownerOfSchema(schema);
  if (owner === null) return;
  throw new RowmillError(
    "target_unsupported",
    `target.table: ${config.table} is in the schema ${schema}, which is ${owner}: no results are written there. Name a table of yours.`,
  );
}

async function defaultSchema(client: Queryable): Promise<string> {
  const [first] = await schemasOnPath(client);
  return first ?? "public";
}

async function presentOutsideRoles(client: Queryable): Promise<string[]> {
  const roles = await client.rows<{ name: string }>(
    sql`select rolname as name from pg_catalog.pg_roles where rolname = any(${[...outsideRoles]}::text[])`,
  );
  return roles.map((role) => role.name);
}

async function addColumns(
  database: Database,
  relation: Relation,
  wanted: readonly WantedColumn[],
): Promise<void> {
  const addition = await columnAddition(database, relation, wanted);
  if (addition === null) return;
  await database.transaction((tx) => tx.run(raw(addition)), { lockTimeoutMs: LOCK_TIMEOUT_MS });
}

/** The statement that adds what is missing; null: nothing is. */
async function columnAddition(
  client: Queryable,
  relation: Relation,
  wanted: readonly WantedColumn[],
): Promise<string | null> {
  const present = new Set((await readColumns(client, relation.oid)).map((column) => column.name));
  return additionStatement(relation.qualified, wanted, present);
}

interface CatalogueColumn extends TableColumn {
  readonly required: boolean;
}

async function readColumns(client: Reader, oid: number): Promise<CatalogueColumn[]> {
  const rows = await client.rows<{
    name: string;
    typeOid: string;
    type: string;
    castType: string;
    builtIn: boolean;
    required: boolean;
  }>(sql`
    select a.attname as name, a.atttypid::int8::text as "typeOid",
      case when t.typnamespace = 'pg_catalog'::regnamespace then format_type(a.atttypid, a.atttypmod)
        else quote_ident(n.nspname) || '.' || quote_ident(t.typname) end as type,
      quote_ident(n.nspname) || '.' || quote_ident(t.typname) as "castType",
      t.typnamespace = 'pg_catalog'::regnamespace as "builtIn",
      a.attnotnull and not a.atthasdef and a.attidentity = '' and a.attgenerated = '' as required
    from pg_catalog.pg_attribute a join pg_catalog.pg_type t on t.oid = a.atttypid
    join pg_catalog.pg_namespace n on n.oid = t.typnamespace
    where a.attrelid = ${oid}::oid and a.attnum > 0 and not a.attisdropped order by a.attnum`);
  return rows.map((row) => ({ ...row, typeOid: Number(row.typeOid) }));
}

interface Checked {
  readonly config: TargetConfig;
  readonly relation: Relation;
  readonly source: SourceTable;
  readonly wanted: readonly WantedColumn[];
  readonly isSource: boolean;
}

async function checkTarget(client: Reader, checked: Checked): Promise<TargetTable> {
  const { config, relation, source, wanted, isSource } = checked;
  if (relation.kind !== "r" && relation.kind !== "p") {
    throw new RowmillError(
      "target_unsupported",
      `target.table: ${config.table} is not a table, so results cannot be written to it.`,
    );
  }
  const present = new Map((await readColumns(client, relation.oid)).map((column) => [column.name, column]));
  refuseMissing(
    config,
    relation,
    wanted.filter((column) => !present.has(column.name)),
  );
  refuseTypes(config, relation, wanted, present);
  if (!isSource) await requireKey(client, checked, present);
  const columns = wanted.flatMap((column): TargetColumn[] => {
    const found = present.get(column.name);
    return found
      ? [
          {
            field: column.field,
            isJsonText: column.isJsonText === true,
            name: found.name,
            type: found.type,
            castType: found.castType,
            typeOid: found.typeOid,
            builtIn: found.builtIn,
          },
        ]
      : [];
  });
  const stamped = stampColumns.every((column) => present.has(column.name));
  if (!isSource)
    refuseRequired(
      config,
      [...present.values()],
      new Set([...source.key, ...columns, ...(stamped ? stampColumns : [])].map((column) => column.name)),
    );
  const ownership = ownershipOf(config, relation, source);
  const { qualified, from } = relation;
  return { qualified, from, key: source.key, columns, stamped, isSource, ownership };
}

function refuseMissing(config: TargetConfig, relation: Relation, missing: readonly WantedColumn[]): void {
  if (missing.length === 0) return;
  throw new RowmillError(
    "target_unsupported",
    `target: the table ${config.table} exists, but has no column ${missing.map((column) => `"${column.name}"`).join(", ")}.`,
    {
      hints: [
        "Let Rowmill add what is missing: target: { addColumns: true }",
        `or: alter table ${relation.qualified} ${missing.map((column) => `add column ${columnText(column)}`).join(", ")};`,
        'or name columns that exist: target: { columns: { field: "column" } }',
      ],
    },
  );
}

/** Types of a target that can hold no answer of the wanted type; what is not named here PostgreSQL may convert by itself. */
const unfit: Readonly<Record<AnswerColumn["type"], RegExp>> = {
  text: /^(bigint|integer|smallint|double precision|real|boolean|.*\[\])$/,
  bigint: /^(boolean|date|timestamp.*|uuid|.*\[\])$/,
  "double precision": /^(bigint|integer|smallint|boolean|date|timestamp.*|uuid|.*\[\])$/,
  boolean: /^(bigint|integer|smallint|double precision|real|numeric.*|date|timestamp.*|uuid|.*\[\])$/,
  "text[]": /^(bigint|integer|smallint|double precision|real|numeric.*|boolean|date|timestamp.*|uuid)$/,
  jsonb: /^(bigint|integer|smallint|double precision|real|numeric.*|boolean|date|timestamp.*|uuid)$/,
};

/** Better said now than by every answer, after it was paid for. */
function refuseTypes(
  config: TargetConfig,
  relation: Relation,
  wanted: readonly WantedColumn[],
  present: ReadonlyMap<string, TableColumn>,
): void {
  for (const column of wanted) {
    const found = present.get(column.name);
    if (found === undefined || !unfit[column.type].test(found.type)) continue;
    const name = quoteIdentifier(column.name);
    throw new RowmillError(
      "target_unsupported",
      `target: ${config.table}."${column.name}" is of type ${found.type}, which cannot hold the answer's "${column.field}" (${column.type}).`,
      {
        hints: [
          `alter table ${relation.qualified} alter column ${name} type ${column.type} using ${name}::text::${column.type};`,
          'or name another column: target: { columns: { field: "column" } }',
        ],
      },
    );
  }
}

async function requireKey(
  client: Reader,
  checked: Checked,
  present: ReadonlyMap<string, TableColumn>,
): Promise<void> {
  const { config, relation, source } = checked;
  const names = source.key.map((column) => column.name);
  const missing = names.filter((name) => !present.has(name));
  if (missing.length > 0) {
    throw new RowmillError(
      "target_unsupported",
      `target: ${config.table} lacks the source's key ${missing.map((name) => `"${name}"`).join(", ")}, so a result would have no row to go to.`,
    );
  }
  const unique = await client.first(sql`
    select 1 as one from pg_catalog.pg_index i
    where i.indrelid = ${relation.oid}::oid and i.indisunique and i.indisvalid and i.indimmediate and i.indpred is null and i.indexprs is null
      and (select array_agg(a.attname::text order by a.attname::text) from pg_catalog.pg_attribute a where a.attrelid = i.indrelid
           and a.attnum = any((i.indkey::int2[])[0:i.indnkeyatts - 1])) = (select array_agg(k order by k) from unnest(${names}::text[]) k)`);
  if (unique) return;
  const list = names.map(quoteIdentifier).join(", ");
  throw new RowmillError(
    "target_unsupported",
    `target: ${config.table} has no unique index on (${list}), so a result could be written twice.`,
    {
      hints: [`create unique index concurrently on ${relation.qualified} (${list});`],
    },
  );
}

function refuseRequired(
  config: TargetConfig,
  present: readonly CatalogueColumn[],
  written: ReadonlySet<string>,
): void {
  const unwritten = present
    .filter((column) => column.required && !written.has(column.name))
    .map((column) => `"${column.name}"`);
  if (unwritten.length === 0) return;
  throw new RowmillError(
    "target_unsupported",
    `target: ${config.table} requires ${unwritten.join(", ")}, which no answer fills, so no result could be inserted.`,
    {
      hints: ["Give these columns a default, or allow null, or choose another target."],
    },
  );
}
