/**
 * `rowmill deployment`: shows in which database the ledger is and what speaks against it; and carries out a person's word, that the
 * former database is gone or that it lives on. Sets the pipelines up as `up` would, and sends nothing.
 */
import { copyLedger, prepareCopy } from "../../app/deployment/copy-ledger.js";
import type { OpenedDatabase } from "../../app/open/open-database.js";
import { openProject } from "../../app/open/open-project.js";
import { lookAtPlace } from "../../app/open/place-of-ledger.js";
import { openProviders } from "../../app/open/providers.js";
import { prepareRestore, restoreLedger } from "../../app/deployment/restore-ledger.js";
import { RowmillError } from "../../model/errors.js";
import { suspicionText } from "../../model/deployment-identity.js";
import { deploymentId, suspicion } from "../../store/ledger/deployment.js";
import type { WorkerContext } from "../../worker/context.js";
import { askYesNo } from "../screen/ask.js";
import type { Cli, ProjectOptions } from "../cli.js";
import { openLog } from "../screen/command-log.js";
import {
  COPIED,
  describeCopy,
  describeRestoration,
  describeRestored,
  rowsAskedAgain,
} from "../words/deployment-text.js";
import { EXIT_STATUS } from "../screen/exit-status.js";
import { listenForInterruption } from "../screen/interruption.js";
import { loadProject, withExistingLedger, type Project } from "../project.js";

export interface DeploymentOptions extends ProjectOptions {
  readonly restored?: true;
  readonly copy?: true;
  readonly yes?: true;
  readonly json?: true;
}

export async function runDeployment(cli: Cli, options: DeploymentOptions): Promise<number> {
  if (options.restored && options.copy)
    throw new RowmillError(
      "usage",
      "Either the former database is gone (--restored) or it lives on (--copy).",
    );
  const project = await loadProject(cli.terminal, options.config);
  if (!options.restored && !options.copy)
    return withExistingLedger(project, (opened) => show(cli, { project, opened }, options));
  if (options.yes !== true && !cli.terminal.interactive) throw nobodyToAsk(options);
  const providers = await openProviders(project);
  const interruption = listenForInterruption(() => cli.terminal.note("Stopping: give the command again."));
  try {
    return await withExistingLedger(project, async ({ database }) => {
      const log = openLog(cli.terminal, options.logLevel);
      const context = await openProject({ ...project, providers, database, log });
      const deciding = { project, context, signal: interruption.signal };
      try {
        return await (options.copy ? copy(cli, deciding, options) : restore(cli, deciding, options));
      } finally {
        context.leases.stop();
      }
    });
  } finally {
    interruption.dispose();
  }
}

async function show(
  { terminal }: Cli,
  { project, opened }: { project: Project; opened: OpenedDatabase },
  options: DeploymentOptions,
): Promise<number> {
  const { database, place } = opened;
  const { difference } = await lookAtPlace(database, project.config);
  const heldBack = (await suspicion(database)) ?? (difference === null ? null : suspicionText(difference));
  const id = await deploymentId(database);
  if (options.json) terminal.print(JSON.stringify({ deployment: id, place, suspicion: heldBack }));
  else {
    terminal.print(`Ledger ${id}, in ${place}`);
    terminal.print(heldBack ?? "Nothing speaks against it: it is where it was.");
  }
  return heldBack === null ? EXIT_STATUS.ok : EXIT_STATUS.blocked;
}

interface Deciding {
  readonly project: Project;
  readonly context: WorkerContext;
  readonly signal: AbortSignal;
}

async function restore(cli: Cli, deciding: Deciding, options: DeploymentOptions): Promise<number> {
  const { project, context, signal } = deciding;
  const { terminal } = cli;
  const restoration = await prepareRestore(context, signal);
  for (const line of describeRestoration(restoration)) terminal.note(line);
  const question = "Is the former database gone, and shall this one go on?";
  if (options.yes !== true && !(await askYesNo(question, signal))) return leaveIt(cli);
  const counts = await restoreLedger(context, project.config, { restoration, signal });
  const askedAgain = rowsAskedAgain(restoration);
  if (options.json) {
    const deployment = await deploymentId(context.database);
    terminal.print(
      JSON.stringify({
        decision: "restored",
        deployment,
        ...counts,
        askedAgain,
        unlisted: restoration.unlisted,
      }),
    );
  } else for (const line of describeRestored(counts)) terminal.print(line);
  return EXIT_STATUS.ok;
}

async function copy(cli: Cli, deciding: Deciding, options: DeploymentOptions): Promise<number> {
  const { project, context, signal } = deciding;
  const { terminal } = cli;
  const counts = await prepareCopy(context);
  for (const line of describeCopy(counts)) terminal.note(line);
  const question = "Does the other database live on, and shall this one be a copy?";
  if (options.yes !== true && !(await askYesNo(question, signal))) return leaveIt(cli);
  signal.throwIfAborted();
  await copyLedger(context, project.config);
  if (options.json) {
    const deployment = await deploymentId(context.database);
    terminal.print(JSON.stringify({ decision: "copy", deployment, ...counts }));
  } else for (const line of COPIED) terminal.print(line);
  return EXIT_STATUS.ok;
}

function leaveIt({ terminal }: Cli): number {
  terminal.note("Nothing was changed.");
  return EXIT_STATUS.blocked;
}

function nobodyToAsk({ copy: isCopy }: DeploymentOptions): RowmillError {
  return new RowmillError("refused", "There is no terminal to ask on.", {
    hints: [
      `To do it without a question: rowmill deployment --${isCopy ? "copy" : "restored"} --yes`,
      "Nothing was changed.",
    ],
  });
}
