/**
 * Which statements make a target's table, or add what it lacks, and what it cannot hold. Pure. Names of columns are
 * compared without case, as these servers do.
 */
import type { AnswerColumn } from "../../model/answer/answer-columns.js";
import { ConnectorError, type ConnectorFinding } from "../../model/connector.js";
import { holds, typeOf } from "./answer-types.js";
import { quoteName, type Column, type FoundTable } from "./inspection.js";

export interface WantedTarget {
  readonly pipeline: string;
  /** Quoted. */
  readonly qualified: string;
  readonly key: readonly string[];
  /** Of each key column in a table that we make. */
  readonly keyType: string;
  readonly fields: readonly AnswerColumn[];
  /** Answer field → column. */
  readonly names: Readonly<Record<string, string>>;
  readonly addColumns: boolean;
  /** Answers are written back into the source's own rows, so none is inserted. */
  readonly isSource: boolean;
}

export interface TargetPlan {
  readonly exists: boolean;
  readonly statements: readonly string[];
  readonly faults: readonly TargetFault[];
  /** Of the answer, with those that the table has. */
  readonly columns: readonly { readonly answer: AnswerColumn; readonly column: Column }[];
  /** Those of `rowmill_at` and `rowmill_model` that it has. */
  readonly stamps: ReadonlySet<string>;
}

interface TargetFault {
  readonly text: string;
  readonly sql: readonly string[];
}

export const [AT, MODEL] = ["rowmill_at", "rowmill_model"];

/** Of a table that Rowmill made, so it adds what a pipeline needs. */
const COMMENT = "Answers, written by Rowmill.";

function isOurs({ comment }: FoundTable): boolean {
  return comment === COMMENT;
}

export function fenceOf(pipeline: string): string {
  return `rowmill_fence_${pipeline}`;
}

export function planTarget(wanted: WantedTarget, found: FoundTable | null): TargetPlan {
  const names = nameFaults(wanted);
  if (found === null) {
    const statements = [creation(wanted)];
    return { exists: false, statements, faults: names, columns: [], stamps: new Set() };
  }
  const statements = additions(wanted, found);
  const isAllowed = wanted.addColumns || isOurs(found);
  const lacks = isAllowed || statements.length === 0 ? [] : [lackFault(wanted, statements)];
  const columns = wanted.fields.flatMap((answer) => {
    const column = columnNamed(found, nameOf(wanted, answer));
    return column === null ? [] : [{ answer, column }];
  });
  return {
    exists: true,
    statements: isAllowed ? statements : [],
    faults: [...names, ...lacks, ...columnFaults(wanted, columns), ...insertFaults(wanted, found, columns)],
    columns,
    stamps: new Set([AT, MODEL].filter((name) => columnNamed(found, name) !== null)),
  };
}

/** @throws ConnectorError */
export function requireFaultless({ faults: [fault] }: Pick<TargetPlan, "faults">): void {
  if (fault !== undefined) throw new ConnectorError("stop", fault.text, { hints: fault.sql });
}

/** For `rowmill doctor`. */
export function findingsOf({ exists, statements, faults }: TargetPlan, qualified: string): readonly ConnectorFinding[] {
  if (faults.length > 0) return faults.map(({ text, sql }) => ({ level: "problem", text, sql }));
  if (!exists) return [{ level: "ok", text: `rowmill up creates ${qualified}` }];
  const can = `answers can be written into ${qualified}`;
  if (statements.length === 0) return [{ level: "ok", text: can }];
  return [{ level: "ok", text: `${can}; rowmill up changes it first: ${statements.join("; ")}` }];
}

function nameOf({ names }: WantedTarget, { field }: AnswerColumn): string {
  return names[field] ?? field;
}

function columnNamed({ columns }: FoundTable, name: string): Column | null {
  return columns.find((column) => isSame(column.name, name)) ?? null;
}

function isSame(one: string, other: string): boolean {
  return one.toLowerCase() === other.toLowerCase();
}

function nameFaults(wanted: WantedTarget): TargetFault[] {
  const taken = new Set([...wanted.key, fenceOf(wanted.pipeline), AT, MODEL].map((name) => name.toLowerCase()));
  return wanted.fields.flatMap((answer) => {
    const name = nameOf(wanted, answer);
    const isTaken = taken.has(name.toLowerCase());
    taken.add(name.toLowerCase());
    return isTaken ? [{ text: `The answer's "${answer.field}" needs a column other than "${name}".`, sql: [] }] : [];
  });
}

function creation(wanted: WantedTarget): string {
  const { key, qualified, keyType } = wanted;
  const columns = [
    ...key.map((name) => `${quoteName(name)} ${keyType} not null`),
    ...missingColumns(wanted, null),
    `primary key (${key.map(quoteName).join(", ")})`,
  ];
  return `create table if not exists ${qualified} (\n  ${columns.join(",\n  ")}\n) comment = '${COMMENT}'`;
}

function missingColumns(wanted: WantedTarget, found: FoundTable | null): string[] {
  const isStamped = found === null || isOurs(found) || wanted.addColumns;
  const all = [
    ...wanted.fields.map((answer) => [nameOf(wanted, answer), typeOf(answer)] as const),
    ...(isStamped
      ? ([
          [AT, "datetime(6)"],
          [MODEL, "varchar(255) character set utf8mb4"],
        ] as const)
      : []),
    [fenceOf(wanted.pipeline), "bigint"] as const,
  ];
  return all
    .filter(([name]) => found === null || columnNamed(found, name) === null)
    .map(([name, type]) => `${quoteName(name)} ${type}`);
}

function additions(wanted: WantedTarget, found: FoundTable): string[] {
  return missingColumns(wanted, found).map((column) => `alter table ${wanted.qualified} add column ${column}`);
}

function lackFault({ qualified }: WantedTarget, statements: readonly string[]): TargetFault {
  return {
    text: `${qualified} lacks columns. Set addColumns: true in the target, or add them yourself.`,
    sql: statements.map((statement) => `${statement};`),
  };
}

function columnFaults({ qualified }: WantedTarget, columns: TargetPlan["columns"]): TargetFault[] {
  return columns.flatMap(({ answer, column }): TargetFault[] => {
    const name = `${qualified}.${quoteName(column.name)}`;
    if (column.isGenerated) return [{ text: `${name} is a generated column, which takes no answer.`, sql: [] }];
    if (!column.nullable)
      return [{ text: `${name} must allow null, which it holds after an answer was erased.`, sql: [] }];
    if (holds(answer, column)) return [];
    const wanted = `the answer's "${answer.field}", which needs ${typeOf(answer)}`;
    return [{ text: `${name} is of type ${column.declared}, which cannot hold ${wanted}.`, sql: [] }];
  });
}

function insertFaults(
  { qualified, key, isSource }: WantedTarget,
  found: FoundTable,
  columns: TargetPlan["columns"],
): TargetFault[] {
  if (isSource) return [];
  const written = new Set([
    ...key.map((name) => name.toLowerCase()),
    ...columns.map((one) => one.column.name.toLowerCase()),
  ]);
  return found.columns
    .filter(
      ({ name, nullable, hasDefault, isGenerated }) =>
        !nullable && !hasDefault && !isGenerated && !written.has(name.toLowerCase()),
    )
    .map(({ name }) => ({
      text: `${qualified} needs a value of "${name}", which no answer has. Give it a default.`,
      sql: [],
    }));
}
