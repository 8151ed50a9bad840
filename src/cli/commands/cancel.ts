/** `rowmill cancel --abandon`: a person's word that nothing more comes of a batch. Asks first: what it cost cannot be had back. */
import { abandonBatch, refuseCollectable, type Abandoned } from "../../app/adopt/abandon-batch.js";
import { accountWords, presentAccount } from "../../app/open/providers.js";
import type { AccountWords } from "../../model/provider/account.js";
import { RowmillError } from "../../model/errors.js";
import { formatUsd } from "../../model/provider/pricing.js";
import * as batches from "../../store/batches/batches.js";
import type { Batch } from "../../store/batches/batches.js";
import type { Database } from "../../postgres/database.js";
import * as deployment from "../../store/ledger/deployment.js";
import { countOpen } from "../../store/batches/in-flight.js";
import * as money from "../../store/batches/money.js";
import * as overview from "../../store/ledger/overview.js";
import { askYesNo } from "../screen/ask.js";
import type { Cli, ProjectOptions } from "../cli.js";
import { EXIT_STATUS } from "../screen/exit-status.js";
import { loadProject, withExistingLedger } from "../project.js";
import type { Terminal } from "../screen/terminal.js";
import { counted } from "../words/text.js";

export interface CancelOptions extends ProjectOptions {
  readonly abandon?: true;
  readonly yes?: true;
  readonly json?: true;
}

export async function runCancel(cli: Cli, name: string, options: CancelOptions): Promise<number> {
  if (options.abandon !== true) throw notBuiltYet(name);
  const { terminal } = cli;
  const project = await loadProject(terminal, options.config);
  return withExistingLedger(project, async ({ database }) => {
    const batch = await findBatch(database, name);
    if (batch.state === "cancelled") return tell(terminal, options, { batch, abandoned: null });
    if (batch.state === "settled" || batch.state === "rejected") throw ended(batch);
    const suspected = await deployment.suspicion(database);
    if (suspected !== null)
      throw new RowmillError("refused", suspected, {
        hints: ["First say which it is: rowmill help deployment"],
      });
    await refuseCollectable(project, batch);
    if (batch.account !== presentAccount(project, batch.pipeline)) await refuseWorkedOn(database, batch);
    if (
      options.yes !== true &&
      !(await ask(cli, database, { batch, words: accountWords(project, batch.provider) }))
    ) {
      terminal.note("Nothing was given up.");
      return EXIT_STATUS.blocked;
    }
    const abandoned = await abandonBatch(database, batch.id);
    const now = (await batches.get(database, batch.id)) ?? batch;
    if (abandoned === null && now.state !== "cancelled") throw ended(now);
    tell(terminal, options, { batch: now, abandoned });
    if ((await overview.livingWorkers(database)).length === 0)
      terminal.note("No worker is running. Start one: rowmill up");
    return EXIT_STATUS.ok;
  });
}

function notBuiltYet(name: string): RowmillError {
  return new RowmillError("usage", "Cancelling a batch at the provider is not built yet.", {
    hints: [
      "To send nothing more, and collect what is sent: rowmill pause PIPELINE",
      "To cancel it, do so at the provider: what it answered is kept, and the rest goes out again.",
      `If its account is gone, give it up: rowmill cancel --abandon ${name}`,
    ],
  });
}

/** By our id, the beginning of it as `status` shows it, or the provider's. */
async function findBatch(database: Database, name: string): Promise<Batch> {
  const ids = await batches.idsByName(database, name);
  const [id] = ids;
  const batch = id === undefined ? null : await batches.get(database, id);
  if (ids.length === 1 && batch !== null) return batch;
  const found = ids.length === 0 ? "There is no batch" : "More than one batch is named";
  throw new RowmillError("not_found", `${found} "${name}" in this database.`, {
    hints: ids.length > 1 ? ids : ["See what is in flight: rowmill status"],
  });
}

/** This shell's account says nothing about the workers': one that has the batch's own goes on with it, and its answers are paid for. */
async function refuseWorkedOn(database: Database, batch: Batch): Promise<void> {
  const [worker] = await overview.livingWorkers(database);
  if (worker === undefined || batch.heldFor !== null) return;
  throw new RowmillError(
    "refused",
    `Process ${worker.pid} on ${worker.host} works here, and no worker has said that batch ${batch.id} is of another account than its own.`,
    {
      hints: [
        "If it cannot be collected, a worker says so within seconds: rowmill status",
        "To give it up all the same, stop the workers first.",
        "Nothing was given up.",
      ],
    },
  );
}

function ended({ id, state }: Batch): RowmillError {
  return new RowmillError("refused", `Batch ${id} has ended: it is ${state}. There is nothing to give up.`);
}

async function ask(
  { terminal }: Cli,
  database: Database,
  { batch, words }: { batch: Batch; words: AccountWords },
): Promise<boolean> {
  const { inFlight, queued } = await countOpen(database, batch.no);
  const rows = inFlight + queued;
  const cost = formatUsd(await money.moneyAtRisk(database, batch.id));
  terminal.note(
    `Batch ${batch.id} of ${batch.pipeline} is ${batch.state} at ${words.accountText(batch.account)}. What it answers is not collected any more: ` +
      `${counted(rows, "row")} will be asked again of the present account, and up to ${cost} counts as spent. Nothing is cancelled there.`,
  );
  if (terminal.interactive) return askYesNo("Give it up?");
  throw new RowmillError("refused", "There is no terminal to ask on.", {
    hints: [
      `To give it up without a question: rowmill cancel --abandon ${batch.id} --yes`,
      "Nothing was given up.",
    ],
  });
}

/** `abandoned` null: it was before. */
function tell(
  terminal: Terminal,
  { json }: CancelOptions,
  { batch, abandoned }: { readonly batch: Batch; readonly abandoned: Abandoned | null },
): number {
  const { id, pipeline, state, account } = batch;
  const { rows, lostNanoUsd } = abandoned ?? { rows: 0, lostNanoUsd: 0 };
  if (json) terminal.print(JSON.stringify({ batch: id, pipeline, state, account, rows, lostNanoUsd }));
  else if (abandoned === null) terminal.print(`Batch ${id} was given up before.`);
  else
    terminal.print(
      `Batch ${id} is given up: ${counted(rows, "row")} of ${pipeline} ${rows === 1 ? "waits" : "wait"} again, and ${formatUsd(lostNanoUsd)} counts as spent.`,
    );
  return EXIT_STATUS.ok;
}
