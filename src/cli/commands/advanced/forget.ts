/** `rowmill forget`: erases every copy of rows that Rowmill has, after a question. Calls no provider. */
import { isEnded } from "../../../app/adopt/claim-batch.js";
import {
  answersOf,
  forgetRows,
  type Forgotten,
  type Known,
  lookAtRows,
  prepareForgetting,
} from "../../../app/story/forget-rows.js";
import { RowmillError } from "../../../model/errors.js";
import type { Database } from "../../../postgres/database.js";
import * as pipelines from "../../../store/pipelines/pipelines.js";
import type { HeldBatch } from "../../../store/requests/forgetting.js";
import * as tries from "../../../store/tries/tries.js";
import type { Cli, ProjectOptions } from "../../cli.js";
import { configOf, loadProject, noteMissingWorker, registeredPipeline, withExistingLedger } from "../../project.js";
import { askYesNo, noTerminal } from "../../screen/ask.js";
import { EXIT_STATUS } from "../../screen/exit-status.js";
import { interruptible } from "../../screen/interruption.js";
import { counted, fitKey, formatCount, formatTime, shortId } from "../../screen/text.js";

const KEYS_MAX = 1_000;
/** Named in one text; the rest is counted. */
const NAMED_MAX = 5;

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

/** What happens to a batch's files at the provider. */
export type FilesFate = "preparedAgain" | "untilItEnds" | "nextRound" | "kept" | "deleted";

export interface ForgetFacts {
  readonly pipeline: string;
  readonly keys: readonly string[];
  readonly known: Known;
  /** `files.keep` of the config. */
  readonly keepsFiles: boolean;
  /** Rows are pushed: there is no table of the user's. */
  readonly isPushed: boolean;
  /** Rowmill reads them from elsewhere. */
  readonly isSynced: boolean;
}

function fateOf(batch: HeldBatch, { known, keepsFiles }: Pick<ForgetFacts, "known" | "keepsFiles">): FilesFate {
  if (known.unsent.includes(batch.id)) return "preparedAgain";
  if (batch.foreign || keepsFiles) return "kept";
  if (batch.endsBy !== null || !isEnded(batch)) return "untilItEnds";
  return batch.settled ? "deleted" : "nextRound";
}

export function forgetQuestion(facts: ForgetFacts, answers: boolean): string {
  const { pipeline, keys, isPushed, isSynced } = facts;
  const rows = counted(keys.length, "row");
  const own = isPushed ? "their pushed copies, " : isSynced ? "their copies, " : "";
  const copies = `${own}kept answers and texts`;
  const target = answers ? " It also deletes them from the target table." : "";
  return `This erases what Rowmill has of ${rows} of ${pipeline}: ${copies}. Costs stay counted.${target} Erase them?`;
}

/** Before the question, and with `--yes` too. */
export function forgetWarnings({ known, pipeline, isSynced }: ForgetFacts): string[] {
  if (known.present.length === 0) return [];
  const which = keyList(known.present);
  if (isSynced)
    return [
      `! ${which}: in the source when it was last read. Delete it there first, or Rowmill reads it again and sends ` +
        `it again when it next reads all rows.`,
    ];
  return [
    `! ${which}: still in your table. Delete it there first, or Rowmill finds it and sends it again: ` +
      `rowmill plan ${pipeline}`,
  ];
}

export function forgottenLines(facts: ForgetFacts, done: Forgotten, answers: boolean): string[] {
  const { keys, known, pipeline, isPushed, isSynced } = facts;
  const unknown = keys.filter((key) => !known.known.includes(key));
  const copied = isPushed ? "pushed row" : isSynced ? "copied row" : null;
  const pushed = copied === null ? "" : `${counted(done.pushed, copied)} deleted, `;
  const tried = done.tried === 0 ? "" : `, texts of ${counted(done.tried, "tried row")} erased`;
  return [
    `✓ ${pipeline}: ${pushed}${counted(done.requests, "request")} erased${tried}`,
    ...(unknown.length === 0 || done.requests === keys.length
      ? []
      : [`  ${keyList(unknown)}: Rowmill had no request for ${unknown.length === 1 ? "it" : "them"}.`]),
    answers
      ? `  ${counted(done.answers, "row")} deleted from the target table.`
      : "  Answers in your target table are yours, and stay. To delete them too: --answers",
    ...filesLines(facts),
  ];
}

function filesLines(facts: ForgetFacts): string[] {
  const by = new Map<FilesFate, HeldBatch[]>();
  for (const batch of facts.known.batches) {
    const fate = fateOf(batch, facts);
    by.set(fate, [...(by.get(fate) ?? []), batch]);
  }
  return [...by].flatMap(([fate, batches]) => fateLine(fate, batches));
}

function fateLine(fate: FilesFate, batches: readonly HeldBatch[]): string[] {
  const which = `${counted(batches.length, "batch")} (${batchList(batches)})`;
  switch (fate) {
    case "preparedAgain":
      return [`  ${which}: not sent yet; a worker prepares the rest again without these rows.`];
    case "untilItEnds":
      return [`  ${which}: at the provider ${untilText(batches)}; then the answers are dropped and the files deleted.`];
    case "nextRound":
      return [`  ${which}: a worker deletes the files at the provider in its next round: rowmill up`];
    case "kept":
      return [`! ${which}: Rowmill does not delete these files at the provider. Delete them there.`];
    case "deleted":
      return [];
  }
}

function untilText(batches: readonly HeldBatch[]): string {
  const last = Math.max(...batches.map(({ endsBy }) => endsBy?.getTime() ?? 0));
  return last === 0 ? "until it ends" : `until it ends, at the latest ${formatTime(new Date(last))}`;
}

function batchList(batches: readonly HeldBatch[]): string {
  return listed(batches.map(({ id }) => shortId(id)));
}

function keyList(keys: readonly string[]): string {
  return `${keys.length === 1 ? "Row" : "Rows"} ${listed(keys.map(fitKey))}`;
}

function listed(names: readonly string[]): string {
  const more = names.length - NAMED_MAX;
  return [...names.slice(0, NAMED_MAX), ...(more > 0 ? [`${formatCount(more)} more`] : [])].join(", ");
}

export function forgottenJson(facts: ForgetFacts, done: Forgotten): object {
  const { pipeline, keys, known } = facts;
  return {
    pipeline,
    keys,
    stillInTable: known.present,
    requestsErased: done.requests,
    pushedRowsDeleted: done.pushed,
    triesErased: done.tried,
    answersDeleted: done.answers,
    batches: known.batches.map((batch) => ({
      id: batch.id,
      providerBatchId: batch.providerBatchId,
      files: fateOf(batch, facts),
      endsBy: batch.endsBy,
    })),
  };
}
