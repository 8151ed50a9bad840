/**
 * Owns the question that a changed config raises: are rows that were answered before sent again? Shows how many and
 * what it costs, then asks on a terminal, takes `--yes` as yes, or leaves it to `rowmill approve`.
 */
import { configuredHash } from "../../app/open/open-project.js";
import * as changes from "../../store/pipelines/changes.js";
import type { ChangeDecision } from "../../store/pipelines/changes.js";
import type { Asking, Pipeline, WorkerContext } from "../../worker/context.js";
import { estimateAgain } from "../../worker/rounds/estimate.js";
import { choose } from "./ask.js";
import type { Terminal } from "./terminal.js";
import { counted, describeEstimate } from "./text.js";

const SAMPLE_ROWS = 100;

/** What an estimate takes: no worker. */
export type Estimating = Pick<WorkerContext, "database" | "read" | "step" | "memory">;

export interface AskingUser {
  readonly terminal: Terminal;
  readonly context: WorkerContext;
  /** For display: which command decides. */
  readonly by: string;
  /** In the question, instead of the pipeline's name and of how to decide later. */
  readonly shown?: { readonly title: string; readonly later: string };
}

/** `--yes`: before the first sweep, which then sends again at once. */
export async function reaskAll({ context, by }: AskingUser): Promise<void> {
  for (const pipeline of context.pipelines.values())
    if ((await changes.changeOf(context.read, pipeline.id))?.decision === "undecided")
      await decide(context, pipeline, { decision: "reask", by });
}

/** After a sweep counted them. True: something was decided, so another sweep has to act on it. */
export async function settleChanges(asking: AskingUser): Promise<boolean> {
  const { terminal, context } = asking;
  let decided = false;
  for (const pipeline of context.pipelines.values()) {
    const rows = await undecidedRows(context, pipeline);
    if (rows === 0) continue;
    terminal.note(`! ${await describeChange(context, pipeline, rows)}`);
    const { name } = pipeline.config;
    const decision = terminal.interactive ? await askAbout(name, rows, asking.shown) : "later";
    if (decision === "later") terminal.note(`! ${name}: ${undecidedText(name, rows)}`);
    else decided = (await decide(context, pipeline, { decision, by: asking.by })) || decided;
  }
  return decided;
}

/** Answered rows that wait for a decision. */
export async function undecidedRows({ read }: Pick<WorkerContext, "read">, { id }: Pipeline): Promise<number> {
  const change = await changes.changeOf(read, id);
  return change?.decision === "undecided" ? (change.rows ?? 0) : 0;
}

/** What sending them again would cost. */
export async function describeChange(context: Estimating, pipeline: Asking, rows: number): Promise<string> {
  const keys = await changes.answeredSample(context.read, pipeline.id, SAMPLE_ROWS);
  const estimate = await estimateAgain(context, pipeline, { rows, keys });
  const { config } = pipeline;
  return `${config.name}: the config changed. To send its answered rows again: ${describeEstimate(estimate, config)}`;
}

export async function askAbout(
  name: string,
  rows: number,
  { title, later } = { title: name, later: `rowmill approve ${name}` },
): Promise<ChangeDecision | "later"> {
  const answered = counted(rows, "answered row");
  const choices = [
    { value: "newOnly", label: "keep their answers", hint: "new and changed rows get the new version" },
    { value: "reask", label: "send them again", hint: "their answers stay until the new ones come" },
    { value: "keep", label: "keep their answers, and count them as answers to the new version" },
    { value: "later", label: "decide later", hint: later },
  ] as const;
  const chosen = await choose(`What should happen to ${answered} of ${title}?`, choices);
  return choices.find(({ value }) => value === chosen)?.value ?? "later";
}

/** Without the pipeline's name. */
export function undecidedText(name: string, rows: number): string {
  return `${undecidedWords(rows)}: rowmill approve ${name}`;
}

/** The same without the command. */
export function undecidedWords(rows: number): string {
  const have = rows === 1 ? "keeps its answer" : "keep their answers";
  return `${counted(rows, "row")} ${have} to the previous config until you decide`;
}

/** False: it was decided or changed by someone else in the meantime. */
function decide(
  { database }: Pick<WorkerContext, "database">,
  { id, config, provider: { account } }: Pipeline,
  { decision, by }: { readonly decision: ChangeDecision; readonly by: string },
): Promise<boolean> {
  const definitionHash = configuredHash(config);
  return database.transaction((tx) => changes.decide(tx, id, { definitionHash, decision, by, account }));
}
