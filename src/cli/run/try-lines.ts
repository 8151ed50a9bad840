/** `rowmill run FILE --try N`: shows some answers before the rest is sent. What was paid is not sent again. */
import { acceptTry } from "../../app/try/accept-try.js";
import * as pipelines from "../../store/pipelines/pipelines.js";
import * as rowEndings from "../../store/requests/row-endings.js";
import * as tries from "../../store/tries/tries.js";
import type { Try, TryAnswer } from "../../store/tries/tries.js";
import { askYesNo } from "../screen/ask.js";
import { EXIT_STATUS } from "../screen/exit-status.js";
import { counted } from "../screen/text.js";
import { askRows } from "../try/ask-rows.js";
import { rowLines, rowTitle, shownColumns } from "../try/row-text.js";
import type { FileRun } from "./run-file.js";

interface Stored {
  readonly tried: Try;
  readonly answers: readonly TryAnswer[];
}

/** Of the last try, if it asked the same question. */
async function storedTry({ context: { database }, pipeline }: FileRun): Promise<Stored | null> {
  const tried = await tries.last(database, pipeline.config.name);
  const row = await pipelines.byId(database, pipeline.id);
  if (tried === null || tried.definitionHash !== row?.definitionHash) return null;
  return { tried, answers: await tries.answersOf(database, tried.no) };
}

/** Answers of an earlier `--try` of the same question are paid, so their lines are not sent again. */
export async function acceptEarlier(run: FileRun): Promise<void> {
  const { context, pipeline, terminal, signal } = run;
  const stored = await storedTry(run);
  if (stored === null) return;
  const { accepted } = await acceptTry({ database: context.database, pipeline, ...stored, signal });
  if (accepted.length > 0)
    terminal.note(`✓ ${counted(accepted.length, "answer")} of the previous try used at no further cost`);
}

/** "stop": nothing more is to be done. "refused": you did not agree to its cost. */
export async function tryFirst(run: FileRun, rows: number): Promise<"goOn" | "stop" | "refused"> {
  const { context, pipeline, options, terminal, signal } = run;
  const shown = await showStored(run, rows);
  const keys = shown >= rows ? [] : await rowEndings.waitingKeys(context.read, pipeline.id, rows);
  if (shown === 0 && keys.length === 0) {
    terminal.note("✓ All lines are answered, so there is nothing to try.");
    return "goOn";
  }
  if (shown === 0 && !(await ask(run, keys))) return "refused";
  const goesOn = options.yes === true || (terminal.interactive && (await askYesNo("Send all lines?", signal)));
  if (!goesOn) return "stop";
  await acceptEarlier(run);
  return "goOn";
}

/** Of a previous try whose lines still wait. Returns how many. */
async function showStored(run: FileRun, rows: number): Promise<number> {
  const { context, pipeline, terminal, options } = run;
  const stored = await storedTry(run);
  const open = stored?.answers.filter(({ outcome, acceptedAt }) => outcome === "answered" && acceptedAt === null) ?? [];
  const keys = open.map(({ key }) => key);
  const endings = await rowEndings.ofKeys(context.read, pipeline.id, keys);
  const waiting = new Set(endings.filter(({ state }) => state === "waiting").map(({ key }) => key));
  const shown = open.filter(({ key }) => waiting.has(key)).slice(0, rows);
  if (shown.length === 0) return 0;
  const answers = shown.map(({ key, answer }) => ({ key, answer }));
  if (options.json === true) terminal.data(JSON.stringify({ stored: true, rows: answers }));
  else
    for (const answer of shown) {
      terminal.print(rowTitle({ answer }));
      const lines = rowLines({ answer, cells: null, before: null }, shownColumns(terminal.columns()));
      for (const line of lines) terminal.quote(line);
    }
  terminal.note(`✓ ${counted(shown.length, "answer")} of the previous try, at no further cost`);
  return shown.length;
}

async function ask({ project, pipeline, options, signal }: FileRun, keys: readonly string[]): Promise<boolean> {
  const status = await askRows(project, pipeline.config, {
    choice: { rows: keys.length, keys, where: null, random: false },
    model: null,
    promptFile: null,
    yes: options.yes === true,
    json: options.json === true,
    signal,
  });
  return status === EXIT_STATUS.ok || status === EXIT_STATUS.rowsFailed;
}
