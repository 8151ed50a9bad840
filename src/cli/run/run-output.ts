/** Writes the output of a run, and says how it ended. */
import { createReadStream } from "node:fs";
import { rm } from "node:fs/promises";
import { basename, join } from "node:path";
import { pipeline as pipe } from "node:stream/promises";
import type { RunRecord } from "../../app/run/run-folder.js";
import { writeAnswers, type Writing, type Written } from "../../app/run/write-answers.js";
import type { RowShape } from "../../app/run/run-config.js";
import type { MoneyOverview } from "../../store/ledger/overview.js";
import { requireWritable } from "../../files/whole-file.js";
import { RowmillError } from "../../model/errors.js";
import { exists } from "../../model/file-errors.js";
import { formatUsd } from "../../model/provider/pricing.js";
import { EXIT_STATUS } from "../screen/exit-status.js";
import type { Terminal } from "../screen/terminal.js";
import { counted, fit, formatCount } from "../screen/text.js";
import { runCommand } from "./run-words.js";
import { shownPath } from "./shown-path.js";
import { formatOf, type Draft, type RunOptions } from "./run-options.js";

const ERROR_CHARACTERS = 160;
const STDOUT = "-";

export interface OutputParts {
  readonly terminal: Terminal;
  readonly draft: Draft;
  readonly record: RunRecord;
  readonly shape: RowShape;
  readonly options: RunOptions;
  readonly signal: AbortSignal;
}

type Asked = Pick<Writing, "database" | "pipeline" | "errors" | "whole">;

export async function writeOutput(parts: OutputParts, asked: Asked): Promise<Written> {
  const { terminal, draft, record, shape, options, signal } = parts;
  const isPiped = record.out === STDOUT;
  const out = isPiped ? join(draft.state, `${record.name}.out`) : record.out;
  const title = basename(out);
  const total = draft.look.rows;
  try {
    const written = await writeAnswers({
      ...asked,
      look: draft.look,
      shape,
      limit: options.limit ?? null,
      out,
      format: formatOf(record) ?? (isPiped ? draft.look.format : undefined),
      escapeFormulas: options.escape !== false,
      scratch: draft.state,
      signal,
      onPage: (records) => {
        const of = total === null ? "" : ` of ${formatCount(total)}`;
        if (terminal.drawsOver && options.quiet !== true)
          terminal.live([`Writing ${title}: ${formatCount(records)}${of} lines`]);
      },
    });
    terminal.endLive();
    if (isPiped) await pipe(createReadStream(out), process.stdout, { end: false });
    return written;
  } finally {
    terminal.endLive();
    if (isPiped) await rm(out, { force: true });
  }
}

/**
 * Before anything is paid: the output can be written, and no file is lost but an output of this run.
 * @throws RowmillError `usage`, `refused`
 */
export async function requireFreeOut({ before }: Draft, { file, out }: RunRecord, force: boolean): Promise<void> {
  if (out === file)
    throw new RowmillError("usage", "--out names the file itself, which stays as it is.", {
      hints: ["Choose another name for the output."],
    });
  if (out === STDOUT) return;
  await requireWritable(out, { overwrite: true, input: file });
  const isOurs = before !== null && before.reads !== null && before.out === out;
  if (force || isOurs || !(await exists(out))) return;
  throw new RowmillError("refused", `${shownPath(out)} already exists, and this run did not write it.`, {
    hints: ["Name another file with --out, or replace it: add --force"],
  });
}

interface End {
  readonly record: RunRecord;
  readonly written: Written;
  readonly options: RunOptions;
  readonly money: Pick<MoneyOverview, "spentNanoUsd" | "unpriced"> | undefined;
  /** Failed lines that were asked: the others cannot be. */
  readonly retriable: number;
}

/** Returns the exit status. */
export function sayEnd(terminal: Terminal, { record, written, options, money, retriable }: End): number {
  const { records, answered, failed, open, failures, notes, errorColumn } = written;
  const out = record.out === STDOUT ? "stdout" : shownPath(record.out);
  if (options.json) {
    const { file, out: path, name: pipeline } = record;
    const known = {
      file,
      out: path,
      pipeline,
      lines: records,
      answered,
      failed,
      open,
      spentUsd: (money?.spentNanoUsd ?? 0) / 1e9,
    };
    terminal.data(JSON.stringify({ ...known, failures }));
  }
  for (const note of notes) terminal.note(`! ${basename(record.out)}: ${note}`);
  const missing = open === 0 ? "" : `, ${formatCount(open)} without an answer yet`;
  const spent = (money?.unpriced ?? 0) > 0 ? "an unknown amount" : formatUsd(money?.spentNanoUsd ?? 0);
  const sign = failed > 0 ? "✗" : "✓";
  terminal.note(
    `${sign} Wrote ${out}: ${counted(records, "line")}, ${formatCount(answered)} answered, ` +
      `${formatCount(failed)} failed${missing}; ${spent} spent so far`,
  );
  for (const { line, error } of failures) terminal.note(`  line ${line}: ${fit(error, ERROR_CHARACTERS)}`);
  if (failed === 0) return EXIT_STATUS.ok;
  if (failed > failures.length)
    terminal.note(`  … and ${formatCount(failed - failures.length)} more, in the column ${errorColumn ?? "error"}`);
  const again = runCommand(record, options.global === true);
  if (retriable > 0) terminal.note(`  To send failed lines again: ${again} --retry`);
  return EXIT_STATUS.rowsFailed;
}
