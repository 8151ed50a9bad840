/** `rowmill cancel --abandon`: gives up a batch that cannot be collected. Asks first: its cost is lost. */
import { abandonBatch, refuseCollectable, type Abandoned } from "../../app/adopt/abandon-batch.js";
import { accountWords, presentAccount } from "../../app/open/providers.js";
import type { AccountWords } from "../../model/provider/account.js";
import { RowmillError } from "../../model/errors.js";
import { formatUsd } from "../../model/provider/pricing.js";
import * as batches from "../../store/batches/batches.js";
import type { Batch } from "../../store/batches/batches.js";
import type { Database } from "../../postgres/database.js";
import * as inFlight from "../../store/batches/in-flight.js";
import * as money from "../../store/batches/money.js";
import * as overview from "../../store/ledger/overview.js";
import { askYesNo, noTerminal } from "../screen/ask.js";
import type { Cli, ProjectOptions } from "../cli.js";
import { EXIT_STATUS } from "../screen/exit-status.js";
import { loadProject, noteMissingWorker, requireKnownPlace, withExistingLedger } from "../project.js";
import type { Terminal } from "../screen/terminal.js";
import { counted } from "../screen/text.js";

export interface CancelOptions extends ProjectOptions {
  readonly abandon?: true;
  readonly yes?: true;
  readonly json?: true;
}

export async function runCancel(cli: Cli, name: string, options: CancelOptions): Promise<number> {
  if (options.abandon !== true) throw notYet(name);
  const { terminal } = cli;
  const project = await loadProject(terminal, options.config);
  return withExistingLedger(project, async ({ database }) => {
    const batch = await findBatch(database, name);
    if (batch.state === "cancelled") return report(terminal, options, { batch, abandoned: null });
    if (batch.state === "settled" || batch.state === "rejected") throw ended(batch);
    await requireKnownPlace(database);
    await refuseCollectable(project, batch);
    if (batch.account !== presentAccount(project, batch.pipeline)) await refuseWorkedOn(database, batch);
    if (options.yes !== true && !(await ask(cli, database, { batch, words: accountWords(project, batch.provider) }))) {
      terminal.note("The batch was not abandoned.");
      return EXIT_STATUS.blocked;
    }
    const abandoned = await abandonBatch(database, batch.id);
    const now = (await batches.get(database, batch.id)) ?? batch;
    if (abandoned === null && now.state !== "cancelled") throw ended(now);
    report(terminal, options, { batch: now, abandoned });
    await noteMissingWorker(project, database);
    return EXIT_STATUS.ok;
  });
}

function notYet(name: string): RowmillError {
  return new RowmillError("usage", "Rowmill cannot cancel batches at the provider yet.", {
    hints: [
      "To send nothing more, but collect what was sent: rowmill pause PIPELINE",
      "Or cancel the batch at the provider: Rowmill keeps its answers and sends the rest again.",
      `If its account is gone, abandon it: rowmill cancel --abandon ${name}`,
    ],
  });
}

/** By our ID, the beginning of it as `status` shows it, or the provider's. */
async function findBatch(database: Database, name: string): Promise<Batch> {
  const ids = await batches.idsByName(database, name);
  const [id] = ids;
  const batch = id === undefined ? null : await batches.get(database, id);
  if (ids.length === 1 && batch !== null) return batch;
  if (ids.length > 1)
    throw new RowmillError("not_found", `More than one batch has an ID that matches "${name}":`, { lines: ids });
  throw new RowmillError("not_found", `There is no batch "${name}" in this database.`, {
    hints: ["See which batches are in flight: rowmill status"],
  });
}

/** A worker may have another account than this shell: one that has the batch's own still collects its paid answers. */
async function refuseWorkedOn(database: Database, batch: Batch): Promise<void> {
  const [worker] = await overview.livingWorkers(database);
  if (worker === undefined || batch.heldFor !== null) return;
  throw new RowmillError(
    "refused",
    `Batch ${batch.id} was not abandoned: process ${worker.pid} on ${worker.host} may still collect it.`,
    {
      hints: [
        "If the batch cannot be collected, its worker reports that within seconds: rowmill status",
        "To abandon it in any case, stop the workers first.",
      ],
    },
  );
}

function ended({ id, state }: Batch): RowmillError {
  return new RowmillError("refused", `Batch ${id} has already ended: it is ${state}.`);
}

async function ask(
  { terminal }: Cli,
  database: Database,
  { batch, words }: { batch: Batch; words: AccountWords },
): Promise<boolean> {
  const open = await inFlight.countOpen(database, batch.no);
  const rows = open.inFlight + open.queued;
  const cost = formatUsd(await money.moneyAtRisk(database, batch.id));
  terminal.note(
    `Batch ${batch.id} of ${batch.pipeline} is ${batch.state} at ${words.accountText(batch.account)}. ` +
      `If you abandon it, its answers are never collected: ${counted(rows, "row")} will be sent again with the ` +
      `current account, and up to ${cost} counts as spent. Nothing is canceled at the provider.`,
  );
  if (terminal.interactive) return askYesNo("Abandon it?");
  const hint = `To abandon it without a question: rowmill cancel --abandon ${batch.id} --yes`;
  throw noTerminal("the batch was not abandoned", hint);
}

/** `abandoned` null: it had been abandoned before. */
function report(
  terminal: Terminal,
  { json }: CancelOptions,
  { batch, abandoned }: { readonly batch: Batch; readonly abandoned: Abandoned | null },
): number {
  const { id, pipeline, state, account } = batch;
  const { rows, lostNanoUsd } = abandoned ?? { rows: 0, lostNanoUsd: 0 };
  if (json) terminal.data(JSON.stringify({ batch: id, pipeline, state, account, rows, lostNanoUsd }));
  else if (abandoned === null) terminal.print(`✓ Batch ${id} was already abandoned.`);
  else
    terminal.print(
      `✓ Batch ${id} is abandoned: ${counted(rows, "row")} of ${pipeline} ${rows === 1 ? "waits" : "wait"} again, ` +
        `and ${formatUsd(lostNanoUsd)} counts as spent.`,
    );
  return EXIT_STATUS.ok;
}
