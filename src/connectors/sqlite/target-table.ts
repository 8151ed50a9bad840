/** The table that answers go to: what it lacks, and the statements that make or change it. */
import sql, { raw } from "sql-template-tag";
import type { AnswerColumn } from "../../model/answer/answer-columns.js";
import { ConnectorError, type PrepareOptions } from "../../model/connector.js";
import { counted } from "../../model/words/counted.js";
import type { OpenDriver } from "./driver.js";
import { nameOf } from "./place.js";
import {
  columnNamed,
  findTable,
  keyOf,
  quote,
  requireColumns,
  type Affinity,
  type FoundColumn,
  type FoundTable,
  type KeyColumn,
} from "./table.js";
import type { WantedTable } from "./target.js";

const KEY_DEFAULT = ["key"];
const STAMPS = [
  { name: "rowmill_at", type: "text" },
  { name: "rowmill_model", type: "text" },
] as const;

/** Of the types that an answer may have. A list or an object is JSON as text. */
const TYPES: Readonly<Record<AnswerColumn["type"], string>> = {
  text: "text",
  bigint: "integer",
  "double precision": "real",
  boolean: "boolean",
  "text[]": "text",
  jsonb: "text",
};

/** Columns that keep such a value as it is. A column of texts takes a number as its text. */
const TAKES: Readonly<Record<AnswerColumn["type"], readonly Affinity[]>> = {
  text: ["text", "none"],
  bigint: ["integer", "numeric", "text", "none"],
  "double precision": ["real", "numeric", "integer", "text", "none"],
  boolean: ["integer", "numeric", "none"],
  "text[]": ["text", "none"],
  jsonb: ["text", "none"],
};

export interface TargetTable {
  readonly name: string;
  readonly key: readonly KeyColumn[];
  /** Of the answer. */
  readonly columns: readonly { readonly name: string; readonly of: AnswerColumn }[];
  readonly fence: string;
  readonly hasAt: boolean;
  readonly hasModel: boolean;
  /** Of the source's own rows, into which answers are written back. Null: other rows. */
  readonly content: readonly FoundColumn[] | null;
}

/** What `rowmill up` would do. */
export interface TargetPlan {
  /** Null: the table is made. */
  readonly found: FoundTable | null;
  readonly statements: readonly string[];
  /** Why it can take no answers. */
  readonly faults: readonly string[];
  /** Statements for you, where the config does not allow them. */
  readonly fixes: readonly string[];
}

export type Preparing = Omit<PrepareOptions, "signal">;

function fenceOf(pipeline: string): string {
  return `rowmill_fence_${pipeline}`;
}

interface WantedColumn {
  readonly name: string;
  readonly of: AnswerColumn;
}

function wantedColumns({ columns }: WantedTable, { fields }: Preparing): readonly WantedColumn[] {
  return fields.map((of) => ({ name: columns?.[of.field] ?? of.field, of }));
}

/** Changes nothing. @throws ConnectorError where the table cannot be a target at all */
export async function planTarget(driver: OpenDriver, wanted: WantedTable, of: Preparing): Promise<TargetPlan> {
  const { source = null, pipeline } = of;
  const key = source?.key ?? wanted.key ?? KEY_DEFAULT;
  refuseNames(wanted, of, key);
  const found = await findTable(driver, wanted.table);
  const columns = wantedColumns(wanted, of);
  if (found === null) {
    if (source !== null)
      throw new ConnectorError("stop", `There is no table ${wanted.table} to write answers back into.`);
    return { found, statements: [creation(wanted.table, { pipeline, key, columns })], faults: [], fixes: [] };
  }
  await keyOf(driver, found, key);
  const additions = [
    ...columns.map(({ name, of: { type } }) => ({ name, type: TYPES[type] })),
    { name: fenceOf(pipeline), type: "integer" },
  ].filter(({ name }) => columnNamed(found, name) === null);
  const statements = additions.map(
    ({ name, type }) => `alter table ${quote(found.name)} add column ${quote(name)} ${type}`,
  );
  const isAllowed = wanted.addColumns || isOurs(found);
  const lacks = additions.map(({ name }) => name).join(", ");
  const faults = [
    ...(isAllowed || additions.length === 0
      ? []
      : [`The table ${found.name} has no ${additions.length === 1 ? "column" : "columns"} ${lacks}.`]),
    ...faultsOf(found, columns),
    ...(source === null ? unfilled(found, { key, columns }) : []),
  ];
  const fixes =
    isAllowed || additions.length === 0 ? [] : ["Set addColumns: true, or run:", ...statements.map((one) => `${one};`)];
  return { found, statements: isAllowed ? statements : [], faults, fixes };
}

/** @throws ConnectorError */
function refuseNames(wanted: WantedTable, of: Preparing, key: readonly string[]): void {
  const { source = null } = of;
  if (source !== null && wanted.key !== null && wanted.key.join("\n") !== source.key.join("\n"))
    throw new ConnectorError("stop", `Answers go back into ${wanted.table}, so leave out the key in the target.`);
  if (source === null && of.key !== undefined && of.key.length !== key.length)
    throw new ConnectorError(
      "stop",
      `The source has ${counted(of.key.length, "key column")}, so \`key\` of sqlite() needs as many.`,
    );
  const names = [
    ...key,
    ...wantedColumns(wanted, of).map(({ name }) => name),
    fenceOf(of.pipeline),
    ...STAMPS.map(({ name }) => name),
  ];
  const double = names.find((name, at) => names.findIndex((other) => nameOf(other) === nameOf(name)) !== at);
  if (double === undefined) return;
  throw new ConnectorError("stop", `The column ${double} of ${wanted.table} would hold two things.`, {
    hints: [
      "SQLite takes names that differ only in case for one. Give the answer's field another column by `columns`.",
    ],
  });
}

/** Its own statement says it. */
function isOurs({ sql: text }: FoundTable): boolean {
  return /^create table [^(]*\( -- Answers for [^\n]*, written by Rowmill\n/i.test(text);
}

function creation(
  table: string,
  {
    pipeline,
    key,
    columns,
  }: { readonly pipeline: string; readonly key: readonly string[]; readonly columns: readonly WantedColumn[] },
): string {
  const lines = [
    ...key.map((name) => `${quote(name)} text not null`),
    ...columns.map(({ name, of }) => `${quote(name)} ${TYPES[of.type]}`),
    `${quote(fenceOf(pipeline))} integer`,
    ...STAMPS.map(({ name, type }) => `${name} ${type}`),
    `primary key (${key.map(quote).join(", ")})`,
  ];
  const comment = `-- Answers for the pipeline "${pipeline}", written by Rowmill`;
  return `create table ${quote(table)} ( ${comment}\n  ${lines.join(",\n  ")}\n)`;
}

function faultsOf(found: FoundTable, columns: readonly WantedColumn[]): string[] {
  return columns.flatMap(({ name, of }) => {
    const column = columnNamed(found, name);
    if (column === null) return [];
    if (column.isGenerated) return [`The column ${name} of ${found.name} is generated.`];
    if (TAKES[of.type].includes(column.affinity)) return [];
    const is = `The column ${name} of ${found.name} has the type "${column.type}"`;
    return [`${is}, which would change answers that are ${of.type}.`];
  });
}

/** Columns that a new row needs and that no one fills. */
function unfilled(
  found: FoundTable,
  { key, columns }: { readonly key: readonly string[]; readonly columns: readonly WantedColumn[] },
): string[] {
  const filled = new Set([...key, ...columns.map(({ name }) => name), ...STAMPS.map(({ name }) => name)].map(nameOf));
  return found.columns
    .filter(
      ({ name, notNull, hasDefault, isGenerated }) =>
        notNull && !hasDefault && !isGenerated && !filled.has(nameOf(name)),
    )
    .map(({ name }) => `The column ${name} of ${found.name} is NOT NULL and has no default, so no row can be added.`);
}

/** Makes or changes the table where that is allowed. In the transaction of the caller. @throws ConnectorError */
export async function ensureTarget(driver: OpenDriver, wanted: WantedTable, of: Preparing): Promise<TargetTable> {
  const { found, statements, faults, fixes } = await planTarget(driver, wanted, of);
  const [first, ...others] = faults;
  if (first !== undefined) throw new ConnectorError("stop", first, { lines: others, hints: fixes });
  const fence = fenceOf(of.pipeline);
  const { delivered = 0 } = of;
  if (delivered > 0 && (found === null || columnNamed(found, fence) === null))
    throw new ConnectorError(
      "stop",
      `${wanted.table} has none of the ${counted(delivered, "answer")} that were delivered.`,
      {
        hints: [`Deliver all of them to it, at no cost: rowmill deliver ${of.pipeline} --replay --all.`],
      },
    );
  for (const statement of statements) await driver.run(sql`${raw(statement)}`);
  const table = statements.length === 0 && found !== null ? found : await findTable(driver, wanted.table);
  if (table === null) throw new ConnectorError("again", `${wanted.table} was dropped.`);
  const { source = null } = of;
  return {
    name: table.name,
    key: await keyOf(driver, table, source?.key ?? wanted.key ?? KEY_DEFAULT),
    columns: wantedColumns(wanted, of),
    fence,
    hasAt: columnNamed(table, "rowmill_at") !== null,
    hasModel: columnNamed(table, "rowmill_model") !== null,
    content: source === null ? null : requireColumns(table, source.columns),
  };
}
