/**
 * A prompt that reads a column which no earlier one read makes each line a new question: no answer of before can be
 * kept for it. That is said before anything is changed.
 */
import { basename } from "node:path";
import { RowmillError } from "../../model/errors.js";
import type { Database } from "../../postgres/database.js";
import * as overview from "../../store/ledger/overview.js";
import * as pipelines from "../../store/pipelines/pipelines.js";
import * as replicas from "../../store/replicas/replicas.js";
import * as counts from "../../store/requests/counts.js";
import type { PreparedRun } from "../commands/run/run.js";
import { counted } from "../screen/text.js";

/** @throws RowmillError `refused` where answered lines would be asked again, and no one can be asked */
export async function settleNewColumns(
  { config, record, options, terminal }: Pick<PreparedRun, "config" | "record" | "options" | "terminal">,
  database: Database,
): Promise<void> {
  if (!(await overview.ledgerExists(database))) return;
  const row = await pipelines.byName(database, record.name);
  const replica = await replicas.replicaOf(database, record.name);
  const added = config.source.columns.filter((column) => replica?.columns.includes(column) === false);
  const answered = row === null || added.length === 0 ? 0 : await counts.countState(database, row.id, "succeeded");
  if (answered === 0) return;
  const message =
    `The prompt now reads ${added.join(", ")} too, so ${counted(answered, "answered line")} of ` +
    `${basename(record.file)} would be asked again.`;
  // At a terminal the question about the cost follows.
  if (options.yes === true || terminal.interactive) return terminal.note(`! ${message}`);
  throw new RowmillError("refused", message, {
    hints: ["To ask them again: add --yes", "To keep their answers apart from the new ones: add --name NAME"],
  });
}
