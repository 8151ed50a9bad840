/** `rowmill doctor`, at work: looks, says what it found, and whether something must be changed. Changes nothing. */
import { examine } from "../../app/doctor/examine.js";
import { startLook } from "../../app/doctor/look.js";
import * as invariants from "../../store/ledger/invariants.js";
import type { Cli, ProjectOptions } from "../cli.js";
import { auditLines, auditObject, reportLines, reportObject } from "../words/doctor-text.js";
import { EXIT_STATUS } from "../screen/exit-status.js";
import { hideSecrets, loadProject, withExistingLedger } from "../project.js";

const AUDIT_STATEMENT_MS_MAX = 85_000;

export interface DoctorOptions extends ProjectOptions {
  readonly json?: true;
  readonly audit?: true;
}

/** 0 with warnings too; `usage` when something must be changed. */
export async function runDoctor({ terminal }: Cli, options: DoctorOptions): Promise<number> {
  const look = startLook({
    cwd: process.cwd(),
    configFile: options.config,
    variables: process.env,
    nodeVersion: process.versions.node,
  });
  hideSecrets(terminal, null);
  const reports = await examine(look);
  hideSecrets(terminal, look.config);
  if (options.json) terminal.print(JSON.stringify(reportObject(reports)));
  else for (const line of reportLines(reports, terminal)) terminal.print(line);
  const isWrong = reports.some(({ findings }) => findings.some(({ level }) => level === "problem"));
  return isWrong ? EXIT_STATUS.usage : EXIT_STATUS.ok;
}

/** `error` when an invariant is violated: nothing that the user could change in command or config. */
export async function runAudit({ terminal }: Cli, options: DoctorOptions): Promise<number> {
  const project = await loadProject(terminal, options.config);
  return withExistingLedger(project, async ({ database }) => {
    const audited = await database.transaction(invariants.audit, {
      readOnly: true,
      statementTimeoutMs: AUDIT_STATEMENT_MS_MAX,
    });
    if (options.json) terminal.print(JSON.stringify(auditObject(audited)));
    else for (const line of auditLines(audited)) terminal.print(line);
    return audited.every(({ violations }) => violations.length === 0) ? EXIT_STATUS.ok : EXIT_STATUS.error;
  });
}
