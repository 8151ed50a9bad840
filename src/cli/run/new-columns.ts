/**
 * A question that reads other columns than the last one is a new question about every line. That is said before
 * anything is changed: the ledger would keep no answer of before for a line that comes back to a third question.
 */
import { basename } from "node:path";
import { RowmillError } from "../../model/errors.js";
import type { Database } from "../../postgres/database.js";
import * as overview from "../../store/ledger/overview.js";
import * as pipelines from "../../store/pipelines/pipelines.js";
import * as counts from "../../store/requests/counts.js";
import type { PreparedRun } from "../commands/run/run.js";
import { counted } from "../screen/text.js";

/** @throws RowmillError `refused` where answered lines would be sent again, and no one can be asked */
export async function settleNewColumns(prepared: PreparedRun, database: Database): Promise<void> {
  const { draft, record, shape, options, terminal } = prepared;
  const before = draft.before?.reads ?? null;
  const why = before === null ? null : differenceOf(before, shape.columns);
  if (before === null || why === null || !(await overview.ledgerExists(database))) return;
  const row = await pipelines.byName(database, record.name);
  const answered = row === null ? 0 : await counts.countState(database, row.id, "succeeded");
  if (answered === 0) return;
  const message =
    `The question now reads ${why}, so every line of ${basename(record.file)} is sent again. ` +
    `${counted(answered, "answer")} to the previous question will be replaced.`;
  // At a terminal the question about the cost follows.
  if (options.yes === true || terminal.interactive) return terminal.note(`! ${message}`);
  throw new RowmillError("refused", message, {
    hints: [
      ...sameColumns(prepared, before),
      "To ask the new question: add --yes",
      "To keep their answers apart from the new ones: add --name NAME",
    ],
  });
}

/** Null: the same columns. */
function differenceOf(before: readonly string[], now: readonly string[]): string | null {
  const added = now.filter((column) => !before.includes(column));
  const gone = before.filter((column) => !now.includes(column));
  if (added.length === 0) return gone.length === 0 ? null : `only ${now.join(", ")}`;
  return `${added.join(", ")} ${gone.length === 0 ? "too" : `instead of ${gone.join(", ")}`}`;
}

/** A prompt that names no columns reads all that the file has now. */
function sameColumns({ record, shape }: PreparedRun, before: readonly string[]): string[] {
  const readsAll = record.columns === null && !/\{\{|\{%/.test(record.prompt ?? "{{");
  const canNameThem = before.every((column) => shape.names.has(column) && !column.includes(","));
  return readsAll && canNameThem
    ? [`To ask about the same columns as before: add --columns "${before.join(",")}"`]
    : [];
}
