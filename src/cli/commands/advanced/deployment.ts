/**
 * `rowmill deployment`: shows which database holds the ledger and whether it may be a copy, or carries out your answer:
 * the previous database is gone, or it is still in use. Sets the pipelines up as `up` would, and sends nothing.
 */
import { copyLedger, prepareCopy, type CopyCounts } from "../../../app/deployment/copy-ledger.js";
import type { OpenedDatabase } from "../../../app/open/open-database.js";
import { openProject } from "../../../app/open/open-project.js";
import { lookAtPlace } from "../../../app/open/place-of-ledger.js";
import { openProviders } from "../../../app/open/providers.js";
import {
  prepareRestore,
  restoreLedger,
  type LostBatch,
  type Restoration,
  type RestoreCounts,
} from "../../../app/deployment/restore-ledger.js";
import { RowmillError } from "../../../model/errors.js";
import { suspicionText } from "../../../model/deployment-identity.js";
import * as deployment from "../../../store/ledger/deployment.js";
import type { WorkerContext } from "../../../worker/context.js";
import { askYesNo, noTerminal } from "../../screen/ask.js";
import type { Cli, ProjectOptions } from "../../cli.js";
import { openLog } from "../../screen/command-log.js";
import { EXIT_STATUS } from "../../screen/exit-status.js";
import { interruptible } from "../../screen/interruption.js";
import { loadProject, withExistingLedger, type Project } from "../../project.js";
import { counted } from "../../screen/text.js";

const BATCHES_SHOWN = 20;

export interface DeploymentOptions extends ProjectOptions {
  readonly restored?: true;
  readonly copy?: true;
  readonly yes?: true;
  readonly json?: true;
}

export async function runDeployment(cli: Cli, options: DeploymentOptions): Promise<number> {
  if (options.restored && options.copy)
    throw new RowmillError("usage", "Use either --restored or --copy, not both.", {
      hints: ["What each of them does: rowmill help deployment"],
    });
  const project = await loadProject(cli.terminal, options.config);
  if (!options.restored && !options.copy)
    return withExistingLedger(project, (opened) => show(cli, { project, opened }, options));
  const answer = options.copy ? "copy" : "restored";
  if (options.yes !== true && !cli.terminal.interactive)
    throw noTerminal("nothing was changed", `To confirm without a question: rowmill deployment --${answer} --yes`);
  const providers = await openProviders(project);
  return interruptible(cli.terminal, "Stopping. Run the same command again.", (signal) =>
    withExistingLedger(project, async ({ database }) => {
      const log = openLog(cli.terminal, options.logLevel);
      const context = await openProject({ ...project, providers, database, log });
      const deciding = { project, context, signal };
      try {
        return await (options.copy ? copy(cli, deciding, options) : restore(cli, deciding, options));
      } finally {
        context.leases.stop();
      }
    }),
  );
}

async function show(
  { terminal }: Cli,
  { project, opened }: { project: Project; opened: OpenedDatabase },
  options: DeploymentOptions,
): Promise<number> {
  const { database, place } = opened;
  const { difference } = await lookAtPlace(database, project.config);
  const recorded = await deployment.suspicion(database);
  const suspicion = recorded ?? (difference === null ? null : suspicionText(difference));
  const id = await deployment.deploymentId(database);
  if (options.json) terminal.data(JSON.stringify({ deployment: id, place, suspicion }));
  else {
    terminal.print(`Ledger ${id}, in ${place}`);
    terminal.print(suspicion === null ? "✓ This is the database that sent its batches." : `! ${suspicion}`);
  }
  return suspicion === null ? EXIT_STATUS.ok : EXIT_STATUS.blocked;
}

interface Deciding {
  readonly project: Project;
  readonly context: WorkerContext;
  readonly signal: AbortSignal;
}

async function restore(cli: Cli, deciding: Deciding, options: DeploymentOptions): Promise<number> {
  const { project, context, signal } = deciding;
  const { terminal } = cli;
  const restoration = await terminal.during("Reading the provider's list of batches", () =>
    prepareRestore(context, signal),
  );
  for (const line of describeRestoration(restoration)) terminal.note(line);
  const question = "Is the previous database gone, and should this one take its place?";
  if (options.yes !== true && !(await askYesNo(question, signal))) return leaveIt(cli);
  const counts = await restoreLedger(context, project.config, { restoration, signal });
  const askedAgain = rowsAskedAgain(restoration);
  const { unlisted } = restoration;
  if (options.json) {
    const id = await deployment.deploymentId(context.database);
    const done = { decision: "restored", deployment: id, ...counts, askedAgain, unlisted };
    terminal.data(JSON.stringify(done));
  } else for (const line of describeRestored(counts)) terminal.print(line);
  return EXIT_STATUS.ok;
}

async function copy(cli: Cli, deciding: Deciding, options: DeploymentOptions): Promise<number> {
  const { project, context, signal } = deciding;
  const { terminal } = cli;
  const counts = await prepareCopy(context);
  for (const line of describeCopy(counts)) terminal.note(line);
  const question = "Is the other database still in use, and should this one become a separate copy?";
  if (options.yes !== true && !(await askYesNo(question, signal))) return leaveIt(cli);
  signal.throwIfAborted();
  await copyLedger(context, project.config);
  if (options.json) {
    const id = await deployment.deploymentId(context.database);
    terminal.data(JSON.stringify({ decision: "copy", deployment: id, ...counts }));
  } else {
    terminal.print("✓ This database is now a separate ledger.");
    terminal.print("Next: rowmill up");
    terminal.print("To keep a pipeline from sending the same rows as the other database: rowmill pause PIPELINE");
  }
  return EXIT_STATUS.ok;
}

function leaveIt({ terminal }: Cli): number {
  terminal.note("Nothing was changed.");
  return EXIT_STATUS.blocked;
}

export function describeRestoration(restoration: Restoration): string[] {
  const { lost, unlisted, gone, unsent } = restoration;
  const again = rowsAskedAgain(restoration);
  return [
    "This database takes the place of the previous one, which must be gone: two of them would pay twice.",
    ...(lost.length === 0 && unlisted.length === 0
      ? ["  every batch of this ledger at the provider is known here"]
      : shortened(lost.map(lostLine))),
    ...unlisted.map(
      (title) =>
        `  ${title} lists no batch of Rowmill's: what the previous database sent there after the backup ` +
        "cannot be found, so its rows are sent again, and you pay again",
    ),
    ...shortened(
      gone.map(
        ({ providerBatchId, rows }) =>
          `  ${providerBatchId}: in flight here, but its answers were deleted at the provider: ` +
          `${counted(rows, "row")} sent again`,
      ),
    ),
    ...(unsent.length === 0 ? [] : [`  rows of ${counted(unsent.length, "unsent batch")} wait again`]),
    ...(again === 0 ? [] : [`! Up to ${counted(again, "row")} will be sent, and paid, again.`]),
  ];
}

function lostLine({ batch, pipeline, collectable, requests, gone, promptKnown }: LostBatch): string {
  const what = `  ${batch.id} (${batch.statusText}): ${counted(requests, "request")}`;
  if (pipeline === null)
    return (
      `${what} of the pipeline ${batch.mark?.pipeline ?? "?"}, which is not in the config: left alone. ` +
      "To collect its answers, add the pipeline to the config first"
    );
  if (!collectable) return `${what}, but its answers were deleted: rows that still wait are sent again`;
  const some = gone.length === 0 ? "its answers are collected" : "what is left of its answers is collected";
  const trusted = promptKnown ? "" : " as answers to the current prompt, because its input file is gone";
  return `${what} not known here: ${some}${trusted}`;
}

function shortened(lines: readonly string[]): string[] {
  const more = lines.length - BATCHES_SHOWN;
  return more <= 0 ? [...lines] : [...lines.slice(0, BATCHES_SHOWN), `  … and ${more} more`];
}

/** At most: where the rows can no longer be read, the provider's own counts. */
function rowsAskedAgain({ lost, gone }: Restoration): number {
  const unreadable = lost.filter(({ collectable }) => !collectable);
  return unreadable.reduce((sum, { requests }) => sum + requests, 0) + gone.reduce((sum, { rows }) => sum + rows, 0);
}

function describeRestored({ adoptedBatches, adoptedRows }: RestoreCounts): string[] {
  const taken =
    adoptedBatches === 0
      ? "There was nothing to adopt."
      : `Adopted ${counted(adoptedRows, "row")} in ${counted(adoptedBatches, "batch")}: ` +
        "their answers are collected, and not paid again.";
  return [`✓ This database takes the place of the previous one. ${taken}`, "Next: rowmill up"];
}

function describeCopy({ sharedBatches, sharedRows, withdrawnBatches, waitingRows }: CopyCounts): string[] {
  return [
    "This database becomes a separate ledger. The other one continues as it is.",
    ...(sharedBatches === 0
      ? []
      : [
          `  ${counted(sharedRows, "row")} in ${counted(sharedBatches, "batch")} in flight: collected here too, ` +
            "as far as the files can be read; nothing of them is deleted or canceled",
        ]),
    ...(withdrawnBatches === 0 ? [] : [`  rows of ${counted(withdrawnBatches, "unsent batch")} wait again`]),
    ...(waitingRows === 0 ? [] : [`! ${counted(waitingRows, "waiting row")}: sent, and paid, by both databases`]),
  ];
}
