/** `rowmill cancel --abandon`: gives up a batch that cannot be collected. Asks first: its cost is lost. */
import { abandonBatch, refuseCollectable, type Abandoned } from "../../../app/adopt/abandon-batch.js";
import { accountWords, presentAccount } from "../../../app/open/providers.js";
import type { AccountWords } from "../../../model/provider/account.js";
import { RowmillError } from "../../../model/errors.js";
import { formatUsd } from "../../../model/provider/pricing.js";
import * as batches from "../../../store/batches/batches.js";
import type { Batch } from "../../../store/batches/batches.js";
import type { Database } from "../../../postgres/database.js";
import * as inFlight from "../../../store/batches/in-flight.js";
import * as money from "../../../store/batches/money.js";
import * as overview from "../../../store/ledger/overview.js";
import { askYesNo, noTerminal } from "../../screen/ask.js";
import type { Cli, ProjectOptions } from "../../cli.js";
import { EXIT_STATUS } from "../../screen/exit-status.js";
import { configOf, noteMissingWorker, requireKnownPlace, withProjectLedger } from "../../project.js";
import { STATE_WORDS } from "../../reports/batch-text.js";
import type { Terminal } from "../../screen/terminal.js";
import { counted } from "../../screen/text.js";
import { findBatch } from "../../find-batch.js";

export interface AbandonOptions extends ProjectOptions {
  readonly drop?: true;
  readonly yes?: true;
  readonly json?: true;
}

export async function runAbandon(cli: Cli, name: string, options: AbandonOptions): Promise<number> {
  const { terminal } = cli;
  return withProjectLedger(terminal, options, async ({ database, project }) => {
    const batch = await findBatch(database, name, batches.get);
    if (batch.state === "cancelled") return report(terminal, options, { batch, abandoned: null });
    if (batch.state === "settled" || batch.state === "rejected") throw ended(batch);
    await requireKnownPlace(database);
    await refuseCollectable(project, batch);
    if (batch.account !== presentAccount(project, batch.pipeline)) await refuseWorkedOn(database, batch);
    // What you said about its rows before holds until you retry them.
    const drops = options.drop === true || batch.cancel?.drops === true;
    const words = accountWords(project, batch.provider);
    if (options.yes !== true && !(await ask(cli, database, { batch, words, drops }))) {
      terminal.note("The batch was not abandoned.");
      return EXIT_STATUS.blocked;
    }
    const abandoned = await abandonBatch(database, batch, { drops, config: configOf(project, batch.pipeline) });
    const now = (await batches.get(database, batch.id)) ?? batch;
    if (abandoned === null && now.state !== "cancelled") throw ended(now);
    report(terminal, options, { batch: now, abandoned });
    await noteMissingWorker(project, database);
    return EXIT_STATUS.ok;
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
        "To abandon it anyway, stop the workers first.",
      ],
    },
  );
}

function ended({ id, state }: Batch): RowmillError {
  return new RowmillError("refused", `Batch ${id} has already ended: it is ${STATE_WORDS[state]}.`);
}

async function ask(
  { terminal }: Cli,
  database: Database,
  { batch, words, drops }: { batch: Batch; words: AccountWords; drops: boolean },
): Promise<boolean> {
  const open = await inFlight.countOpen(database, batch.no);
  const rows = open.inFlight + open.queued;
  const cost = formatUsd(await money.moneyAtRisk(database, batch.id));
  const [count, are] = [counted(rows, "row"), rows === 1 ? "is" : "are"];
  const what = drops
    ? `${count} ${are} dropped${batch.cancel?.drops === true ? ", because you canceled it with --drop" : ""}`
    : `${count} will be sent again with the current account`;
  terminal.note(
    `Batch ${batch.id} of ${batch.pipeline} is ${batch.state} at ${words.accountText(batch.account)}. ` +
      `If you abandon it, its answers are never collected: ${what}, and up to ${cost} counts as spent. ` +
      "Nothing is canceled at the provider.",
  );
  if (drops) terminal.note(`To send them anyway: rowmill retry ${batch.pipeline} --reason dropped`);
  if (terminal.interactive) return askYesNo("Abandon it?");
  const option = drops ? "--abandon --drop" : "--abandon";
  const hint = `To abandon it without a question: rowmill cancel ${option} ${batch.id} --yes`;
  throw noTerminal("the batch was not abandoned", hint);
}

/** `abandoned` null: it had been abandoned before. */
function report(
  terminal: Terminal,
  { drop, json }: AbandonOptions,
  { batch, abandoned }: { readonly batch: Batch; readonly abandoned: Abandoned | null },
): number {
  const { id, pipeline, state, account } = batch;
  const { rows, dropped, lostNanoUsd } = abandoned ?? { rows: 0, dropped: 0, lostNanoUsd: 0 };
  const lostUsd = lostNanoUsd / 1e9;
  if (json) terminal.data(JSON.stringify({ batch: id, pipeline, state, account, rows, dropped, lostUsd }));
  else if (abandoned !== null) terminal.print(`✓ Batch ${id} is abandoned: ${becameOf(pipeline, abandoned)}.`);
  else terminal.print(`✓ Batch ${id} was already abandoned${drop ? ", so --drop changes nothing" : ""}.`);
  return EXIT_STATUS.ok;
}

function becameOf(pipeline: string, { rows, dropped, lostNanoUsd }: Abandoned): string {
  const waiting = rows - dropped;
  const parts = [
    ...(dropped > 0 ? [`${counted(dropped, "row")} of ${pipeline} ${dropped === 1 ? "is" : "are"} dropped`] : []),
    ...(waiting > 0 || dropped === 0
      ? [`${counted(waiting, "row")} of ${pipeline} ${waiting === 1 ? "waits" : "wait"} again`]
      : []),
  ];
  return [...parts, `and ${formatUsd(lostNanoUsd)} counts as spent`].join(", ");
}
