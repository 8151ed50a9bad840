/**
 * A run that is paused: the same command continues it, once what was wrong is fixed. Where continuing may pay for
 * something a second time, or lets lines fail, you are asked.
 */
import { basename } from "node:path";
import { pauseText } from "../../model/words/pause-text.js";
import { acceptFailing } from "../../app/story/accept-failing.js";
import * as wake from "../../store/ledger/wake.js";
import * as pipelines from "../../store/pipelines/pipelines.js";
import type { PauseKind } from "../../store/pipelines/pipelines.js";
import { askYesNo } from "../screen/ask.js";
import type { FileRun } from "./run-file.js";

/** You fix it and try again: nothing is paid that was not agreed to, */
const TRIED_AGAIN: ReadonlySet<PauseKind> = new Set(["account", "provider", "source", "target", "budget"]);
/** except where the reason says that. */
const PAYS_TWICE = /costs money again|create it again/;

/** False: it stays paused. */
export async function resumeRun({ context, pipeline, options, terminal, record, signal }: FileRun): Promise<boolean> {
  const row = await pipelines.byId(context.read, pipeline.id);
  const kind = row?.pauseKind ?? null;
  if (row === null || kind === null) return true;
  const title = basename(record.file);
  const words = pauseText(row) ?? "";
  // What ends it decides about more than one file.
  const isHarmless = TRIED_AGAIN.has(kind) && !PAYS_TWICE.test(words);
  const mayEnd = kind !== "deployment" && (isHarmless || options.yes === true);
  if (!mayEnd) {
    terminal.note(`! ${title}: ${words}${kind === "deployment" ? "" : YES}`);
    if (kind === "deployment" || !terminal.interactive) return false;
    if (!(await askYesNo("Continue?", signal))) return false;
  }
  await context.database.transaction(async (tx) => {
    if (!isHarmless || options.yes === true) await acceptFailing(tx, pipeline.id);
    await pipelines.resume(tx, pipeline.id);
    await wake.wakeBatches(tx, pipeline.id);
  });
  if (mayEnd) terminal.note(`✓ ${title}: continues after a pause`);
  return true;
}

const YES = " To continue: add --yes";
