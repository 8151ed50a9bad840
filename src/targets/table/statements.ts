/** The statements that make a target table or add what it lacks, as text. Pure: what runs them is ensure-target.ts. */
import type { AnswerColumn } from "../../model/answer/answer-columns.js";
import type { PipelineConfig } from "../../model/pipeline.js";
import type { SourceTable } from "../../sources/table/inspection.js";
import { quoteIdentifier, quoteLiteral } from "../../postgres/database.js";

/** An answer's column by its name in the target. */
export type WantedColumn = AnswerColumn & { readonly name: string };

/** When an answer was written, and which model gave it. */
export const STAMP_COLUMNS = [
  { name: "rowmill_at", type: "timestamptz" },
  { name: "rowmill_model", type: "text" },
] as const;
/** A target that is not there yet. */
export interface Creation {
  readonly access: PipelineConfig["target"]["access"];
  readonly source: SourceTable;
  readonly wanted: readonly WantedColumn[];
  readonly qualified: string;
  /** Of the outside world, that exist here. */
  readonly roles: readonly string[];
}

/** In the order in which they are run, in one transaction. */
export function creationStatements({ access, source, wanted, qualified, roles }: Creation): string[] {
  const keyNames = source.key.map((column) => quoteIdentifier(column.name)).join(", ");
  const columns = [
    ...source.key.map((column) => `${quoteIdentifier(column.name)} ${column.type}`),
    ...wanted.map(columnText),
    ...STAMP_COLUMNS.map((column) => `${column.name} ${column.type} not null`),
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
    ...["public", ...roles.map(quoteIdentifier)].map(
      (role) => `revoke all on table ${qualified} from ${role}`,
    ),
  ];
}

/** Adds what is missing among these, and of the stamps where they are to be; null: nothing is. */
export function additionStatement(
  qualified: string,
  { wanted, stamps }: { readonly wanted: readonly WantedColumn[]; readonly stamps: boolean },
  present: ReadonlySet<string>,
): string | null {
  const missing = [
    ...wanted.map((column) => ({ name: column.name, text: columnText(column) })),
    ...(stamps ? STAMP_COLUMNS : []).map(({ name, type }) => ({ name, text: `${name} ${type}` })),
  ].filter((column) => !present.has(column.name));
  if (missing.length === 0) return null;
  const additions = missing.map((column) => `add column if not exists ${column.text}`).join(", ");
  return `alter table ${qualified} ${additions}`;
}

/** As Rowmill made it, or as somebody wrote `column in ('a', 'b')`. */
const LISTED =
  /^CHECK \(+(?:"(?<quoted>(?:[^"]|"")*)"|(?<plain>[a-z_][a-z0-9_$]*))\)*(?:::text)? = (?:ANY \(+ARRAY\[(?:\?, )*\?\]\)*(?:::text\[\])?\)+|\?\)+)(?: NOT VALID)?$/;
const LITERAL = /'((?:[^']|'')*)'::(?:text|character varying|bpchar)/g;

/** The values of a CHECK that lets nothing else into this column; null: it is another CHECK. `text`: of pg_get_constraintdef. */
export function listedValues(text: string, column: string): readonly string[] | null {
  const groups = LISTED.exec(text.replaceAll(LITERAL, "?"))?.groups;
  const name = groups?.["quoted"]?.replaceAll('""', '"') ?? groups?.["plain"];
  if (name !== column) return null;
  return [...text.matchAll(LITERAL)].map(([, value = ""]) => value.replaceAll("''", "'"));
}

/**
 * Lets more values into a column by replacing its CHECK. The rows that are there need not be read under the lock that keeps everybody
 * out: the second statement reads them while others read and write.
 */
export function wideningStatements(
  qualified: string,
  { constraint, column, values, valid }: Widening,
): string[] {
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
  /** The rows that are there keep to the former one. */
  readonly valid: boolean;
}

/** As `create table` and `add column` take it. */
export function columnText(column: WantedColumn): string {
  const name = quoteIdentifier(column.name);
  const check =
    column.check === null ? "" : ` check (${name} in (${column.check.map(quoteLiteral).join(", ")}))`;
  return `${name} ${column.type}${check}`;
}
