/** `rowmill resume`: ends a pause, whatever caused it, and makes its batches due at once. */
import { acceptFailing } from "../../../app/story/accept-failing.js";
import { RowmillError } from "../../../model/errors.js";
import type { Queryable } from "../../../postgres/database.js";
import * as deliverers from "../../../store/deliveries/deliverers.js";
import * as pipelines from "../../../store/pipelines/pipelines.js";
import type { PipelineRow } from "../../../store/pipelines/pipelines.js";
import * as syncs from "../../../store/syncs/syncs.js";
import * as wake from "../../../store/ledger/wake.js";
import type { Cli, ProjectOptions } from "../../cli.js";
import { EXIT_STATUS } from "../../screen/exit-status.js";
import { noteMissingWorker, registeredPipeline, withProjectLedger } from "../../project.js";
import { counted } from "../../screen/text.js";

export async function runResume(
  cli: Cli,
  name: string,
  options: ProjectOptions & { readonly accept?: true },
): Promise<number> {
  return withProjectLedger(cli.terminal, options, async ({ database, project }) => {
    const row = await registeredPipeline(database, name);
    if (row.pauseKind === "deployment") throw suspected(row.pauseReason ?? "");
    const done = await database.transaction(async (tx) => {
      const accepted = options.accept ? await accept(tx, row) : [];
      await deliverers.tryNow(tx, row.id);
      await syncs.tryNow(tx, name);
      return { accepted, resumed: await pipelines.resume(tx, row.id), batches: await wake.wakeBatches(tx, row.id) };
    });
    const are = done.batches === 1 ? "is" : "are";
    const woken = done.batches === 0 ? "" : `; ${counted(done.batches, "unfinished batch")} ${are} due now`;
    const normal =
      done.accepted.length === 0
        ? ""
        : `; it no longer pauses for ${done.accepted.join(" or ")} answers, until its config changes`;
    cli.terminal.print(`✓ ${name} ${done.resumed ? "is resumed" : "was not paused"}${normal}${woken}`);
    await noteMissingWorker(project, database);
    return EXIT_STATUS.ok;
  });
}

async function accept(tx: Queryable, { id, name }: PipelineRow): Promise<readonly string[]> {
  const outcomes = await acceptFailing(tx, id);
  if (outcomes !== null && outcomes.length > 0) return outcomes;
  throw new RowmillError(
    outcomes === null ? "usage" : "refused",
    outcomes === null
      ? `${name} is not paused because of its answers or its target: there is nothing to accept.`
      : `Fewer than half of the last answers of ${name} failed: there is nothing to accept.`,
    { hints: [`To resume it: rowmill resume ${name}`] },
  );
}

/** It pauses all pipelines, and what ends it changes more than one of them. */
function suspected(reason: string): RowmillError {
  return new RowmillError("refused", reason, { hints: ["What each answer would do: rowmill help deployment"] });
}
