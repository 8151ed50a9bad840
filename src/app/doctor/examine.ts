/** Owns the order of the doctor's checks, each bounded, all within half a minute. Writes nothing. */
import { setTimeout as sleep } from "node:timers/promises";
import { RowmillError } from "../../model/errors.js";
import { notChecked, problem, type Finding } from "../../model/words/finding.js";
import { CONFIG_CHECKS } from "./config-checks.js";
import { CONNECTOR_CHECKS } from "./connector-checks.js";
import { DATABASE_CHECKS } from "./database-checks.js";
import type { Check, Look } from "./look.js";
import { MACHINE_CHECKS } from "./machine-checks.js";
import { PIPELINE_CHECKS } from "./pipeline-checks.js";
import { PROVIDER_CHECKS } from "./provider-checks.js";
import { TABLE_CHECKS } from "./table-checks.js";

const CHECK_MS_MAX = 10_000;
const ALL_MS_MAX = 28_000;
/** A connection that no longer answers is left to the end of the process. */
const CLOSE_MS_MAX = 1_000;

/** What a check needs stands before it. */
export const CHECKS: readonly Check[] = [
  ...MACHINE_CHECKS,
  ...CONFIG_CHECKS,
  ...DATABASE_CHECKS,
  ...TABLE_CHECKS,
  ...CONNECTOR_CHECKS,
  ...PROVIDER_CHECKS,
  ...PIPELINE_CHECKS,
];

export interface CheckReport {
  readonly check: Check;
  readonly findings: readonly Finding[];
}

/** One report a check that found something, in the order of `CHECKS`. */
export async function examine(look: Look): Promise<readonly CheckReport[]> {
  const reports = new Map<string, CheckReport>();
  const deadlineMs = performance.now() + ALL_MS_MAX;
  try {
    for (const check of CHECKS) {
      const reason = obstacle(check, reports);
      const leftMs = deadlineMs - performance.now();
      const findings =
        reason === null ? await runCheck(check, look, Math.min(CHECK_MS_MAX, leftMs)) : [notChecked(reason)];
      if (findings.length > 0) reports.set(check.id, { check, findings });
    }
  } finally {
    await Promise.race([look.opened?.close(), sleep(CLOSE_MS_MAX, undefined, { ref: false })]);
  }
  return [...reports.values()];
}

/** Why the check cannot run; null: it can. */
function obstacle(check: Check, reports: ReadonlyMap<string, CheckReport>): string | null {
  for (const id of check.needs) {
    const report = reports.get(id);
    if (report === undefined) throw new RowmillError("internal", `${check.id} needs ${id}, which comes later.`);
    const stop = report.findings.find((finding) => finding.stops);
    if (stop === undefined) continue;
    return stop.level === "notChecked" || stop.level === "ok" ? stop.text : report.check.otherwise;
  }
  return null;
}

async function runCheck(check: Check, look: Look, msMax: number): Promise<readonly Finding[]> {
  if (msMax <= 0) return [notChecked("the doctor ran out of time")];
  const patience = new AbortController();
  const late = sleep(msMax, [tooLate(msMax)], { signal: patience.signal });
  try {
    return await Promise.race([check.run(look), late]);
  } catch (error) {
    if (!(error instanceof RowmillError)) throw error;
    return [problem(error.message, { fixes: error.hints })];
  } finally {
    patience.abort();
    // Without it, the aborted timer would be an unhandled rejection.
    late.catch(() => undefined);
  }
}

function tooLate(msMax: number): Finding {
  return problem(`No answer within ${Math.round(msMax / 1_000)} s.`, {
    fixes: ["Try again. If it happens again, check the load of the machine that should answer."],
  });
}
