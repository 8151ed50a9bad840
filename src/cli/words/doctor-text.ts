/** What the doctor shows: lines for a person, objects for a program. Pure. docs/cli.md has the shape of the objects. */
import { GROUPS, type Finding, type Level } from "../../app/doctor/check.js";
import type { CheckReport } from "../../app/doctor/examine.js";
import { proseLine, safeSql } from "../../model/words/one-line.js";
import type { AuditedInvariant } from "../../store/ledger/invariants.js";
import type { Terminal } from "../screen/terminal.js";
import { counted } from "./text.js";

const WORDS: Readonly<Record<Level, string>> = {
  ok: "ok",
  warning: "warning",
  problem: "problem",
  notChecked: "not checked",
};
const WORD_WIDTH = Math.max(...Object.values(WORDS).map((word) => word.length));
/** From mildest to worst; a check is as bad as its worst finding. */
const ORDER: readonly Level[] = ["ok", "notChecked", "warning", "problem"];

/** One line a finding, in groups; what to do below it. Checks that one obstacle keeps from being made share a line. */
export function reportLines(reports: readonly CheckReport[], { bold }: Pick<Terminal, "bold">): string[] {
  const grouped = GROUPS.flatMap((group) => {
    const ofGroup = reports.filter(({ check }) => check.group === group);
    const titled = ofGroup.flatMap(({ check, findings }) =>
      findings.map((finding) => ({ title: check.title, finding })),
    );
    const lines = joinUnchecked(titled).flatMap(({ title, finding }) => findingLines(title, finding));
    return [bold(group), ...lines, ""];
  });
  return [...grouped, summary(reports)];
}

interface Titled {
  readonly title: string;
  readonly finding: Finding;
}

function joinUnchecked(titled: readonly Titled[]): Titled[] {
  const joined: Titled[] = [];
  for (const { title, finding } of titled) {
    const before = joined.at(-1);
    const isSame =
      finding.level === "notChecked" &&
      before?.finding.level === "notChecked" &&
      before.finding.text === finding.text;
    if (isSame) joined.splice(-1, 1, { title: `${before.title}, ${title}`, finding });
    else joined.push({ title, finding });
  }
  return joined;
}

function findingLines(title: string, { level, text, mends, sql }: Finding): string[] {
  return [
    `  ${WORDS[level].padEnd(WORD_WIDTH)}  ${title}: ${proseLine(text)}`,
    ...mends.map((mend) => `${" ".repeat(WORD_WIDTH + 4)}- ${proseLine(mend)}`),
    ...(sql.length === 0
      ? []
      : [`${" ".repeat(WORD_WIDTH + 4)}- To be run by an administrator or the owner:`]),
    ...sql.map((statement) => `${" ".repeat(WORD_WIDTH + 8)}${safeSql(statement)}`),
  ];
}

function summary(reports: readonly CheckReport[]): string {
  const count = (level: Level) =>
    reports.reduce(
      (sum, report) => sum + report.findings.filter((finding) => finding.level === level).length,
      0,
    );
  const parts = [
    ...(count("problem") > 0 ? [counted(count("problem"), "problem")] : []),
    ...(count("warning") > 0 ? [counted(count("warning"), "warning")] : []),
    ...(count("notChecked") > 0 ? [`${count("notChecked")} not checked`] : []),
  ];
  return parts.length === 0 ? "Nothing to mend." : `${parts.join(", ")}.`;
}

export function reportObject(reports: readonly CheckReport[]): object {
  return {
    status: worst(reports.flatMap(({ findings }) => findings)),
    checks: reports.map(({ check: { id, group, title }, findings }) => ({
      id,
      group,
      title,
      status: worst(findings),
      findings: findings.map(({ level, text, mends, sql }) => ({ status: level, text, mends, sql })),
    })),
  };
}

function worst(findings: readonly Finding[]): Level {
  return ORDER[Math.max(0, ...findings.map(({ level }) => ORDER.indexOf(level)))] ?? "ok";
}

export function auditLines(audited: readonly AuditedInvariant[]): string[] {
  const lines = audited.flatMap(({ number, title, violations }) => [
    `  ${(violations.length === 0 ? "holds" : "violated").padEnd(WORD_WIDTH)}  ${number}. ${title}`,
    ...violations.map((violation) => `${" ".repeat(WORD_WIDTH + 4)}- ${proseLine(violation)}`),
  ]);
  const broken = audited.filter(({ violations }) => violations.length > 0).length;
  return [
    ...lines,
    "",
    broken === 0
      ? "Every invariant holds."
      : `${counted(broken, "invariant")} violated. This is a mistake in Rowmill, or somebody wrote into its schema: please report it with these lines.`,
  ];
}

export function auditObject(audited: readonly AuditedInvariant[]): object {
  return { holds: audited.every(({ violations }) => violations.length === 0), invariants: audited };
}
