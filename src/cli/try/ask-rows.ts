/** `rowmill try PIPELINE`: asks some rows live and shows what came. Sets up nothing but Rowmill's own schemas. */
import { examineSource, previewPipeline } from "../../app/open/bind-pipeline.js";
import { openProjectDatabase } from "../../app/open/open-database.js";
import { prepareSchemas } from "../../app/open/open-project.js";
import { makeProvider } from "../../app/open/providers.js";
import { allRowsByBatch, type AllRows } from "../../app/try/all-rows.js";
import { chooseRows, type Choice } from "../../app/try/choose-rows.js";
import { answersBefore, type Before } from "../../app/try/comparing.js";
import { overriding, type Overrides } from "../../app/try/overriding.js";
import { boundOf, prepareTry, type Preparation } from "../../app/try/prepare.js";
import { budgetLeft, runTry, type Tried } from "../../app/try/run-try.js";
import { RowmillError, prefixed } from "../../model/errors.js";
import type { PipelineConfig } from "../../model/pipeline.js";
import { budgetWords, formatUsd } from "../../model/provider/pricing.js";
import type { Provider } from "../../model/provider/provider.js";
import type { Database } from "../../postgres/database.js";
import * as outputSizes from "../../store/batches/output-sizes.js";
import * as overview from "../../store/ledger/overview.js";
import * as understood from "../../store/ledger/understood.js";
import * as pipelines from "../../store/pipelines/pipelines.js";
import type { Overridden } from "../../store/tries/tries.js";
import type { Asking } from "../../worker/context.js";
import { requireBroughtForward, type Project } from "../project.js";
import { askYesNo, noTerminal } from "../screen/ask.js";
import { EXIT_STATUS } from "../screen/exit-status.js";
import type { Terminal } from "../screen/terminal.js";
import { counted } from "../screen/text.js";
import { shownColumns, rowLines, rowTitle, type ShownRow } from "./row-text.js";
import { isUnanswered, summaryLines, type Ended } from "./summary-text.js";
import { triedJson } from "./try-json.js";

export interface Wanted extends Overrides {
  readonly choice: Choice;
  readonly yes: boolean;
  readonly json: boolean;
  readonly signal: AbortSignal;
}

export async function askRows(project: Project, own: PipelineConfig, wanted: Wanted): Promise<number> {
  const { terminal } = project;
  const { config, overridden } = await overriding(own, wanted);
  const provider = await makeProvider(project, config.name);
  requireLive(provider);
  const opened = await terminal.during("Opening the database", () =>
    openProjectDatabase(project.config, project.environment),
  );
  const { database } = opened;
  try {
    const asking = await prepareAsking(database, config, provider);
    const preparation = await terminal.during("Choosing rows", () => prepareRows(database, asking, wanted.choice));
    await requireBudget(database, asking, preparation);
    if (!(await confirmed(terminal, asking, { preparation, wanted }))) {
      terminal.note("No row was asked.");
      return EXIT_STATUS.blocked;
    }
    const tried = await ask(terminal, { database, asking, preparation, overridden, signal: wanted.signal });
    await show(terminal, { database, asking, preparation, overridden, tried }, wanted.json);
    wanted.signal.throwIfAborted();
    return statusOf(tried, asking);
  } finally {
    terminal.endLive();
    await opened.close();
  }
}

function requireLive({ answer, title }: Provider): void {
  if (answer !== null) return;
  throw new RowmillError("refused", `The provider ${title} has no live endpoint, so no row can be tried.`, {
    hints: ["Its batches work as they are: rowmill up"],
  });
}

/** Mistakes are found before anything is made. */
async function prepareAsking(database: Database, config: PipelineConfig, provider: Provider): Promise<Asking> {
  try {
    const examined = await examineSource(database, config);
    await ensureLedger(database);
    return await previewPipeline(database, examined, provider);
  } catch (error) {
    if (!(error instanceof RowmillError) || error.message.startsWith("pipelines.")) throw error;
    const isOfPipeline = error.code === "config_invalid" || error.code === "source_unsupported";
    throw isOfPipeline ? prefixed(error, `pipelines.${config.name}: `) : error;
  }
}

/** Tries are kept, also before the first `up`. An older ledger is left to `up`. */
async function ensureLedger(database: Database): Promise<void> {
  if (await overview.ledgerExists(database)) {
    await understood.requireUnderstood(database);
    await requireBroughtForward(database);
  } else await prepareSchemas(database);
}

async function prepareRows(database: Database, asking: Asking, choice: Choice): Promise<Preparation> {
  const rows = await chooseRows(database, asking, choice);
  const { config, definitionHash } = asking;
  const sizes = await outputSizes.sizesOf(database, { pipeline: config.name, definitionHash });
  return prepareTry(asking, rows, sizes);
}

/** @throws RowmillError `refused` where it has no room for all rows */
async function requireBudget(database: Database, asking: Asking, { rows, boundNanoUsd }: Preparation): Promise<void> {
  const { budget, name } = asking.config;
  const left = await budgetLeft(database, asking);
  if (budget === null || left === null || (boundNanoUsd ?? 0) <= left) return;
  let room = left;
  const fitting = rows.findIndex((row) => (room -= boundOf(row)) < 0);
  const these = rows.length === 1 ? "this row" : `these ${rows.length} rows`;
  throw new RowmillError(
    "refused",
    `The budget of ${budgetWords(budget)} has ${formatUsd(Math.max(0, left))} left, and ` +
      `${these} may cost up to ${formatUsd(boundNanoUsd ?? 0)} live.`,
    {
      hints: [
        ...(fitting > 0 ? [`Try fewer rows: rowmill try ${name} -n ${fitting}`] : []),
        `Or raise pipelines.${name}.budget.usd, or lower pipelines.${name}.request.maxOutputTokens.`,
      ],
    },
  );
}

async function confirmed(
  terminal: Terminal,
  { config }: Asking,
  { preparation, wanted }: { readonly preparation: Preparation; readonly wanted: Wanted },
): Promise<boolean> {
  const { sent, likelyNanoUsd, boundNanoUsd } = preparation;
  const isCheap = likelyNanoUsd !== null && likelyNanoUsd <= config.approveAboveUsd * 1e9;
  if (sent === 0 || isCheap || wanted.yes) return true;
  const price =
    likelyNanoUsd === null || boundNanoUsd === null
      ? `the price of ${config.request.model} is unknown`
      : `estimated ${formatUsd(likelyNanoUsd)} (cap ${formatUsd(boundNanoUsd)})`;
  terminal.note(`${config.name}: to ask live: ${counted(sent, "row")}; ${price}`);
  if (terminal.interactive) return askYesNo(`Ask ${sent === 1 ? "this row" : "these rows"} now?`, wanted.signal);
  throw noTerminal("no row was asked", `To ask without a question: rowmill try ${config.name} --yes`);
}

interface Asked {
  readonly database: Database;
  readonly asking: Asking;
  readonly preparation: Preparation;
  readonly overridden: Overridden;
}

async function ask(terminal: Terminal, asked: Asked & { readonly signal: AbortSignal }): Promise<Tried> {
  const { asking, preparation } = asked;
  const total = preparation.rows.length;
  const onRow = (done: number) => {
    if (terminal.drawsOver) terminal.live([`${asking.config.name}: ${done} of ${counted(total, "row")} asked`]);
  };
  onRow(0);
  const tried = await runTry({ ...asked, onRow });
  terminal.endLive();
  return tried;
}

async function show(terminal: Terminal, asked: Asked & { readonly tried: Tried }, json: boolean): Promise<void> {
  const { database, asking, preparation, tried } = asked;
  const cells = new Map(preparation.rows.map(({ row }) => [row.key, row.cells]));
  const before = await orNote(terminal, "compared with earlier answers", new Map<string, Before>(), () =>
    answersBefore(database, asking, tried.answers),
  );
  const rows = tried.answers.map((answer): ShownRow => ({
    answer,
    cells: cells.get(answer.key) ?? null,
    before: answer.cells === null ? null : (before.get(answer.key) ?? null),
  }));
  const all = await orNote(terminal, "counted", null, () => allRowsByBatch(database, asking, tried.answers));
  const ended = await endOf(asked, all);
  if (json) {
    terminal.data(JSON.stringify(triedJson(ended, rows)));
    return;
  }
  // Where the provider answers no one, its error says it once for all of them.
  for (const row of isUnanswered(tried) ? [] : rows) {
    terminal.print(rowTitle(row));
    for (const line of rowLines(row, shownColumns(terminal.columns()))) terminal.quote(line);
    terminal.print("");
  }
  for (const line of summaryLines(ended)) terminal.print(line);
}

/** The answers are paid for: they are shown whatever fails beside them. */
async function orNote<T>(terminal: Terminal, what: string, otherwise: T, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof RowmillError)) throw error;
    terminal.note(`! The rows could not be ${what}: ${error.message}`);
    return otherwise;
  }
}

async function endOf(
  { database, asking, overridden, tried }: Asked & { readonly tried: Tried },
  all: AllRows | null,
): Promise<Ended> {
  const { config, rates, definitionHash } = asking;
  const row = await pipelines.byName(database, config.name);
  const isSetUp = row !== null && row.uninstalledAt === null;
  return {
    pipeline: config.name,
    model: config.request.model,
    price: rates.price,
    overridden,
    tried,
    all,
    registered: !isSetUp ? null : row.definitionHash === definitionHash ? "same" : "other",
  };
}

/** @throws RowmillError where the provider gave no answer at all */
function statusOf(tried: Tried, { config }: Asking): number {
  const { answers, notAsked, stop } = tried;
  if (isUnanswered(tried) && stop?.kind === "provider")
    throw new RowmillError(stop.error.code, stop.error.message, {
      cause: stop.error,
      hints: ["Check your setup: rowmill doctor", `Then try again: rowmill try ${config.name}`],
    });
  if (stop?.kind === "budget") return EXIT_STATUS.blocked;
  const isWhole = notAsked === 0 && answers.every(({ outcome }) => outcome === "answered");
  return isWhole ? EXIT_STATUS.ok : EXIT_STATUS.rowsFailed;
}
