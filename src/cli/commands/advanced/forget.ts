/** `rowmill forget`: erases every copy of rows that Rowmill has, after a question. Calls no provider. */
import { answersOf, forgetRows, lookAtRows, prepareForgetting } from "../../../app/story/forget-rows.js";
import { RowmillError } from "../../../model/errors.js";
import type { Database } from "../../../postgres/database.js";
import * as pipelines from "../../../store/pipelines/pipelines.js";
import * as tries from "../../../store/tries/tries.js";
import type { Cli, ProjectOptions } from "../../cli.js";
import { configOf, loadProject, noteMissingWorker, registeredPipeline, withExistingLedger } from "../../project.js";
import {
  forgetQuestion,
  forgetWarnings,
  forgottenJson,
  forgottenLines,
  type ForgetFacts,
} from "../../reports/forget-text.js";
import { askYesNo, noTerminal } from "../../screen/ask.js";
import { EXIT_STATUS } from "../../screen/exit-status.js";
import { interruptible } from "../../screen/interruption.js";

const KEYS_MAX = 1_000;

export interface ForgetOptions extends ProjectOptions {
  readonly key: readonly string[];
  readonly answers?: true;
  readonly yes?: true;
  readonly json?: true;
}

export async function runForget(cli: Cli, name: string, options: ForgetOptions): Promise<number> {
  if (options.key.length > KEYS_MAX)
    throw new RowmillError(
      "usage",
      `--key: expected at most ${KEYS_MAX} keys per command, found ${options.key.length}.`,
      { hints: ["Run the command several times."] },
    );
  const { terminal } = cli;
  const project = await loadProject(terminal, options.config);
  return interruptible(terminal, "Stopping after the current rows.", (signal) =>
    withExistingLedger(project, async ({ database }) => {
      const pipelineId = await pipelineIdOf(database, name);
      const config = configOf(project, name);
      const wanted = await prepareForgetting(database, { name, pipelineId, config, keys: options.key });
      const target = options.answers ? await answersOf(database, wanted) : null;
      const facts: ForgetFacts = {
        pipeline: name,
        keys: wanted.keys,
        known: await lookAtRows(database, wanted),
        keepsFiles: config?.files.keep === true,
        isPushed: wanted.replica?.synced === false,
        isSynced: wanted.replica?.synced === true,
      };
      for (const line of forgetWarnings(facts)) terminal.note(line);
      if (!options.yes && !(await confirm(cli, facts, { options, signal }))) {
        terminal.note("Nothing was erased.");
        return EXIT_STATUS.blocked;
      }
      const done = await forgetRows(database, wanted, { target, signal });
      if (options.json) terminal.data(JSON.stringify(forgottenJson(facts, done)));
      else for (const line of forgottenLines(facts, done, target !== null)) terminal.print(line);
      if (facts.known.unsent.length > 0) await noteMissingWorker(project, database);
      return EXIT_STATUS.ok;
    }),
  );
}

/** Null: it was tried, and never set up. @throws RowmillError `not_found` */
async function pipelineIdOf(database: Database, name: string): Promise<number | null> {
  const row = await pipelines.byName(database, name);
  if (row === null && (await tries.hasAny(database, name))) return null;
  return (row ?? (await registeredPipeline(database, name))).id;
}

/** @throws RowmillError `refused` where no one can be asked */
async function confirm(
  { terminal }: Cli,
  facts: ForgetFacts,
  { options, signal }: { readonly options: ForgetOptions; readonly signal: AbortSignal },
): Promise<boolean> {
  const rows = `${facts.pipeline} --key …${options.answers ? " --answers" : ""}`;
  if (!terminal.interactive)
    throw noTerminal("nothing was erased", `To erase without a question: rowmill forget ${rows} --yes`);
  return askYesNo(forgetQuestion(facts, options.answers === true), signal);
}
