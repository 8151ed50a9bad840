/** `rowmill doctor`: checks everything, shows what it found and how to fix it. Changes nothing. */
import { GROUPS } from "../../../app/doctor/look.js";
import type { Finding, Level } from "../../../model/words/finding.js";
import { examine, type CheckReport } from "../../../app/doctor/examine.js";
import { startLook } from "../../../app/doctor/look.js";
import { proseLine, safeSql } from "../../../model/words/one-line.js";
import * as invariants from "../../../store/ledger/invariants.js";
import type { AuditedInvariant } from "../../../store/ledger/invariants.js";
import type { Cli, ProjectOptions } from "../../cli.js";
import { EXIT_STATUS } from "../../screen/exit-status.js";
import { hideSecrets, withProjectLedger } from "../../project.js";
import type { Terminal } from "../../screen/terminal.js";
import { counted } from "../../screen/text.js";

const AUDIT_STATEMENT_MS_MAX = 85_000;
const WORDS: Readonly<Record<Level, string>> = {
  ok: "✓ ok",
  warning: "! warning",
  problem: "✗ problem",
  notChecked: "· not checked",
};
const WORD_WIDTH = Math.max(...Object.values(WORDS).map((word) => word.length));
/** Also where a terminal does not show the signs. */
const BELOW = " ".repeat(WORD_WIDTH + 2);
/** From mildest to worst; a check is as bad as its worst finding. */
const ORDER: readonly Level[] = ["ok", "notChecked", "warning", "problem"];

export interface DoctorOptions extends ProjectOptions {
  readonly json?: true;
  readonly audit?: true;
}

/** 0 with warnings too; `usage` when there is a problem. */
export async function runDoctor({ terminal }: Cli, options: DoctorOptions): Promise<number> {
  if (options.audit) return runAudit(terminal, options);
  const look = startLook({
    cwd: process.cwd(),
    configFile: options.config,
    variables: process.env,
    nodeVersion: process.versions.node,
  });
  hideSecrets(terminal, null);
  const reports = await terminal.during("Checking", () => examine(look));
  hideSecrets(terminal, look.config);
  if (options.json) terminal.data(JSON.stringify(reportObject(reports)));
  else for (const line of reportLines(reports, terminal)) terminal.print(line);
  const isWrong = reports.some(({ findings }) => findings.some(({ level }) => level === "problem"));
  return isWrong ? EXIT_STATUS.usage : EXIT_STATUS.ok;
}

/** One line per finding, in groups, each with its fixes. Checks that one obstacle prevents share a line. */
export function reportLines(reports: readonly CheckReport[], { bold }: Pick<Terminal, "bold">): string[] {
  const grouped = GROUPS.flatMap((group) => {
    const titled = reports
      .filter(({ check }) => check.group === group)
      .flatMap(({ check, findings }) => findings.map((finding) => ({ title: check.title, finding })));
    const lines = joinUnchecked(titled).flatMap(({ title, finding }) => findingLines(title, finding));
    return lines.length === 0 ? [] : [bold(group), ...lines, ""];
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
      finding.level === "notChecked" && before?.finding.level === "notChecked" && before.finding.text === finding.text;
    if (isSame) joined.splice(-1, 1, { title: `${before.title}, ${title}`, finding });
    else joined.push({ title, finding });
  }
  return joined;
}

function findingLines(title: string, { level, text, fixes, sql }: Finding): string[] {
  return [
    `  ${WORDS[level].padEnd(WORD_WIDTH)}  ${title}: ${proseLine(text)}`,
    ...fixes.map((fix) => `${BELOW}- ${proseLine(fix)}`),
    ...(sql.length === 0 ? [] : [`${BELOW}- Run as an administrator or as the owner:`]),
    ...sql.map((statement) => `${BELOW}    ${safeSql(statement)}`),
  ];
}

function summary(reports: readonly CheckReport[]): string {
  const levels = reports.flatMap(({ findings }) => findings.map(({ level }) => level));
  const count = (wanted: Level) => levels.filter((level) => level === wanted).length;
  const parts = [
    ...(count("problem") > 0 ? [counted(count("problem"), "problem")] : []),
    ...(count("warning") > 0 ? [counted(count("warning"), "warning")] : []),
    ...(count("notChecked") > 0 ? [`${count("notChecked")} not checked`] : []),
  ];
  if (parts.length === 0) return "✓ Nothing to fix.";
  return `${count("problem") > 0 ? "✗" : "!"} ${parts.join(", ")}.`;
}

function reportObject(reports: readonly CheckReport[]): object {
  return {
    status: worst(reports.flatMap(({ findings }) => findings)),
    checks: reports.map(({ check: { id, group, title }, findings }) => ({
      id,
      group,
      title,
      status: worst(findings),
      findings: findings.map(({ level, text, fixes, sql }) => ({ status: level, text, fixes, sql })),
    })),
  };
}

function worst(findings: readonly Finding[]): Level {
  return ORDER[Math.max(0, ...findings.map(({ level }) => ORDER.indexOf(level)))] ?? "ok";
}

/** `error` when an invariant is violated: changing the command or the config would not help. */
async function runAudit(terminal: Terminal, options: DoctorOptions): Promise<number> {
  return withProjectLedger(terminal, options, async ({ database }) => {
    const limits = { readOnly: true, statementTimeoutMs: AUDIT_STATEMENT_MS_MAX };
    const audited = await terminal.during("Checking the ledger", () => database.transaction(invariants.audit, limits));
    const holds = audited.every(({ violations }) => violations.length === 0);
    if (options.json) terminal.data(JSON.stringify({ holds, invariants: audited }));
    else for (const line of auditLines(audited)) terminal.print(line);
    return holds ? EXIT_STATUS.ok : EXIT_STATUS.error;
  });
}

function auditLines(audited: readonly AuditedInvariant[]): string[] {
  const lines = audited.flatMap(({ number, title, violations }) => [
    `  ${(violations.length === 0 ? "✓ holds" : "✗ violated").padEnd(WORD_WIDTH)}  ${number}. ${title}`,
    ...violations.map((violation) => `${BELOW}- ${proseLine(violation)}`),
  ]);
  const broken = audited.filter(({ violations }) => violations.length > 0).length;
  return [
    ...lines,
    "",
    broken === 0
      ? "✓ Every invariant holds."
      : `✗ ${counted(broken, "invariant")} violated: a bug in Rowmill, or a write to its schema from outside. ` +
        "Please report it with these lines.",
  ];
}
