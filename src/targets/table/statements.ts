/** The statements that make a target table or add what it lacks, as text. Pure: ensure.ts runs them. */
import type { AnswerColumn } from "../../model/answer/answer-columns.js";
import type { PipelineConfig } from "../../model/pipeline.js";
import type { CatalogueColumn, TableColumn } from "../../sources/table/columns.js";
import { quoteIdentifier, quoteLiteral } from "../../postgres/database.js";

/** An answer's column by its name in the target. */
export type WantedColumn = AnswerColumn & { readonly name: string };

/** When an answer was written, which model gave it, and which version of the config asked. */
export const STAMP_COLUMNS = [
  {
    name: "rowmill_at",
    type: "timestamptz",
    isAlwaysKnown: true,
    takes: /^(timestamp.*|date|text|character varying)$/,
  },
  { name: "rowmill_model", type: "text", isAlwaysKnown: true, takes: /^(text|citext|name|character varying.*)$/ },
  {
    name: "rowmill_version",
    type: "integer",
    isAlwaysKnown: false,
    takes: /^(bigint|integer|smallint|double precision|real|numeric|text|character varying)$/,
  },
] as const;

type StampColumn = (typeof STAMP_COLUMNS)[number];
export type Stamp = StampColumn["name"];

/** Those that a table has with a type that can hold them; the others are not written. */
export function stampsOf(columns: readonly Pick<CatalogueColumn, "name" | "limitedType">[]): readonly Stamp[] {
  return STAMP_COLUMNS.filter(({ name, takes }) =>
    columns.some((column) => column.name === name && takes.test(column.limitedType)),
  ).map(({ name }) => name);
}

/** The rows that are answered. */
export interface AnsweredRows {
  /** Of their table in this database. Null: they are elsewhere, so no owner is trusted for their sake. */
  readonly oid: number | null;
  /** Quoted and schema-qualified; of rows elsewhere, what a comment calls them. */
  readonly qualified: string;
  readonly key: readonly TableColumn[];
  /** They are elsewhere, and answers are written back into them. */
  readonly isTarget?: boolean;
}

/** Of a table that we make. Which version of the config asked is only known in the ledger's own database. */
export function stampColumnsFor({ oid }: AnsweredRows): StampColumn[] {
  return STAMP_COLUMNS.filter(({ name }) => oid !== null || name !== "rowmill_version");
}

/** A target that is not there yet. */
export interface Creation {
  readonly access: PipelineConfig["target"]["access"];
  readonly source: AnsweredRows;
  readonly wanted: readonly WantedColumn[];
  readonly qualified: string;
  /** As `outsideRoles` found them. */
  readonly roles: readonly string[];
}

/** In order, for one transaction. */
export function creationStatements({ access, source, wanted, qualified, roles }: Creation): string[] {
  const keyNames = source.key.map((column) => quoteIdentifier(column.name)).join(", ");
  const columns = [
    ...source.key.map((column) => `${quoteIdentifier(column.name)} ${column.type}`),
    ...wanted.map(columnText),
    ...stampColumnsFor(source).map((stamp) => stampText(stamp, source)),
    `primary key (${keyNames})`,
  ];
  const comment = quoteLiteral(`Answers for ${source.qualified}, written by Rowmill.`);
  const open = [
    `create table if not exists ${qualified} (\n  ${columns.join(",\n  ")}\n)`,
    `comment on table ${qualified} is ${comment}`,
  ];
  if (access !== "private") return open;
  return [
    ...open,
    `alter table ${qualified} enable row level security`,
    ...["public", ...roles.map(quoteIdentifier)].map((role) => `revoke all on table ${qualified} from ${role}`),
  ];
}

/** Of rows elsewhere an answer can be taken back, and then has no model. */
function stampText({ name, type, isAlwaysKnown }: StampColumn, { oid }: AnsweredRows): string {
  return `${name} ${type}${isAlwaysKnown && (oid !== null || name === "rowmill_at") ? " not null" : ""}`;
}

/** Adds the missing ones; null: none is missing. */
export function additionStatement(
  qualified: string,
  { wanted, stamps }: { readonly wanted: readonly WantedColumn[]; readonly stamps: readonly StampColumn[] },
  present: ReadonlySet<string>,
): string | null {
  const missing = [
    ...wanted.map((column) => ({ name: column.name, text: columnText(column) })),
    ...stamps.map(({ name, type }) => ({ name, text: `${name} ${type}` })),
  ].filter((column) => !present.has(column.name));
  if (missing.length === 0) return null;
  const additions = missing.map((column) => `add column if not exists ${column.text}`).join(", ");
  return `alter table ${qualified} ${additions}`;
}

/** As `column in ('a', 'b')` is stored. */
const LISTED = new RegExp(
  [
    /^CHECK \(+(?:"(?<quoted>(?:[^"]|"")*)"|(?<plain>[a-z_][a-z0-9_$]*))\)*(?:::text)? = /,
    /(?:ANY \(+ARRAY\[(?:\?, )*\?\]\)*(?:::text\[\])?\)+|\?\)+)(?: NOT VALID)?$/,
  ]
    .map(({ source }) => source)
    .join(""),
);
const LITERAL = /'((?:[^']|'')*)'::(?:text|character varying|bpchar)/g;

/** The values of a CHECK that lists all values of this column; null: another CHECK. `text`: of pg_get_constraintdef. */
export function listedValues(text: string, column: string): readonly string[] | null {
  const groups = LISTED.exec(text.replaceAll(LITERAL, "?"))?.groups;
  const name = groups?.["quoted"]?.replaceAll('""', '"') ?? groups?.["plain"];
  if (name !== column) return null;
  return [...text.matchAll(LITERAL)].map(([, value = ""]) => value.replaceAll("''", "'"));
}

/**
 * Allows more values in a column by replacing its CHECK. The second statement checks existing rows while others read
 * and write, so the exclusive lock of the first is short.
 */
export function wideningStatements(qualified: string, { constraint, column, values, valid }: Widening): string[] {
  const name = quoteIdentifier(constraint);
  if (values === null) return [`alter table ${qualified} drop constraint ${name}`];
  const check = `${quoteIdentifier(column)} in (${values.map(quoteLiteral).join(", ")})`;
  return [
    `alter table ${qualified} drop constraint ${name}, add constraint ${name} check (${check}) not valid`,
    ...(valid ? [`alter table ${qualified} validate constraint ${name}`] : []),
  ];
}

export interface Widening {
  readonly constraint: string;
  readonly column: string;
  /** Null: any text. */
  readonly values: readonly string[] | null;
  /** The previous CHECK is validated: existing rows satisfy it. */
  readonly valid: boolean;
}

/** For `create table` and `add column`. */
export function columnText(column: WantedColumn): string {
  const name = quoteIdentifier(column.name);
  const check = column.check === null ? "" : ` check (${name} in (${column.check.map(quoteLiteral).join(", ")}))`;
  return `${name} ${column.type}${check}`;
}
