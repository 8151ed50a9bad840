/** `rowmill pause`: sends nothing more until you resume it. What was paid for is still collected. */
import type { Database } from "../../../postgres/database.js";
import { pauseText } from "../../../model/words/pause-text.js";
import * as pipelines from "../../../store/pipelines/pipelines.js";
import type { PipelineRow } from "../../../store/pipelines/pipelines.js";
import type { Cli, ProjectOptions } from "../../cli.js";
import { EXIT_STATUS } from "../../screen/exit-status.js";
import { registeredPipeline, withProjectLedger } from "../../project.js";

const REASON_DEFAULT = "by rowmill pause";

export async function runPause(
  cli: Cli,
  name: string,
  options: ProjectOptions & { readonly reason?: string },
): Promise<number> {
  return withProjectLedger(cli.terminal, options, async ({ database }) => {
    const row = await registeredPipeline(database, name);
    const before = await pauseByUser(database, row, options.reason ?? REASON_DEFAULT);
    if (before?.pauseKind === "person") {
      cli.terminal.print(`✓ ${name} is already paused: ${pauseText(before) ?? ""}`);
      return EXIT_STATUS.ok;
    }
    cli.terminal.print(`✓ ${name} is paused. Resume it: rowmill resume ${name}`);
    if (before !== null)
      cli.terminal.note(`! It was already paused, and will be again if this still holds: ${pauseText(before) ?? ""}`);
    return EXIT_STATUS.ok;
  });
}

/** Replaces a pause of Rowmill's own, which may end automatically. Returns the previous pause, or null. */
async function pauseByUser(database: Database, row: PipelineRow, reason: string): Promise<PipelineRow | null> {
  return database.transaction(async (tx) => {
    const now = await pipelines.lock(tx, row.id);
    if (now?.pauseKind === "person") return now;
    await pipelines.resume(tx, row.id);
    await pipelines.pause(tx, row.id, { kind: "person", reason });
    return now === null || now.pauseKind === null ? null : now;
  });
}
