/** What the doctor finds about a table of another PostgreSQL as a target: can it take the answers? Writes nothing. */
import type { ConnectorFinding } from "../../model/connector.js";
import type { Secret } from "../../model/secret.js";
import { counted } from "../../model/words/counted.js";
import { sql, type Reader } from "../../postgres/database.js";
import { relationNamed } from "../../sources/table/inspection.js";
import { targetFaults } from "../../targets/table/diagnose.js";
import { examineTarget, type TargetPlan } from "../../targets/table/ensure.js";
import { diagnoseServer, explained } from "./diagnose-server.js";
import { openServer } from "./server.js";
import { wantedTable, type Preparing } from "./target-writer.js";

export async function diagnoseTarget(
  url: Secret,
  preparing: Preparing,
  signal: AbortSignal,
): Promise<readonly ConnectorFinding[]> {
  return explained(async () => {
    const server = openServer(url.reveal(), preparing.wanted.table, { poolMax: 1, signal });
    const { database, place } = server;
    try {
      const findings = [await diagnoseServer(database, place)];
      const plan = await examineTarget(database, await wantedTable(database, preparing));
      const faults = await database.transaction((tx) => targetFaults(tx, preparing.wanted.table, plan), {
        readOnly: true,
      });
      if (faults.length > 0) return [...findings, ...faults];
      const triggers = await database.transaction((tx) => judgeTriggers(tx, plan), { readOnly: true });
      return [...findings, judgePlan(plan), ...triggers];
    } catch (error) {
      throw server.explain(error);
    } finally {
      await database.close();
    }
  });
}

function judgePlan({ exists, qualified, statements }: TargetPlan): ConnectorFinding {
  if (!exists) return { level: "ok", text: `rowmill up creates ${qualified}` };
  const can = `answers can be written into ${qualified}`;
  if (statements.length === 0) return { level: "ok", text: can };
  return { level: "ok", text: `${can}; rowmill up changes it first: ${statements.join("; ")}` };
}

/** They run for each answer, and may refuse one. */
async function judgeTriggers(client: Reader, { exists, qualified }: TargetPlan): Promise<readonly ConnectorFinding[]> {
  const relation = exists ? await relationNamed(client, qualified) : null;
  if (relation === null) return [];
  const count = await client.number(sql`
    select count(*)::float8
    from pg_catalog.pg_trigger
    where tgrelid = ${relation.oid}::oid and not tgisinternal and tgenabled in ('O', 'A')`);
  return count === 0
    ? []
    : [{ level: "ok", text: `${counted(count, "trigger")} of ${qualified} may run for each answer` }];
}
