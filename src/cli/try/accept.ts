/** `rowmill try PIPELINE --accept [N]`: makes answers of a try results. Needs no key. */
import { examinePipeline, joinPipeline } from "../../app/open/bind-pipeline.js";
import { configuredHash } from "../../app/open/open-project.js";
import { makeProvider } from "../../app/open/providers.js";
import { acceptTry, type AcceptedTry, type LeftAnswer } from "../../app/try/accept-try.js";
import { RowmillError } from "../../model/errors.js";
import type { PipelineConfig } from "../../model/pipeline.js";
import type { Database } from "../../postgres/database.js";
import * as pipelines from "../../store/pipelines/pipelines.js";
import * as tries from "../../store/tries/tries.js";
import type { Try } from "../../store/tries/tries.js";
import type { Pipeline } from "../../worker/context.js";
import { requireKnownPlace, withExistingLedger, type Project } from "../project.js";
import { EXIT_STATUS } from "../screen/exit-status.js";
import { counted, fit, fitKey } from "../screen/text.js";
import { knownTry } from "./history.js";

const DETAIL_CHARACTERS = 300;

/** `no`: null for the last try. */
export async function acceptAnswers(
  project: Project,
  config: PipelineConfig,
  { no, json, signal }: { readonly no: number | null; readonly json: boolean; readonly signal: AbortSignal },
): Promise<number> {
  const { terminal } = project;
  return withExistingLedger(project, async ({ database }) => {
    const tried = await chosenTry(database, config, no);
    const pipeline = await joined(project, database, { config, tried });
    const answers = await tries.answersOf(database, tried.no);
    const done = await terminal.during("Writing answers", () =>
      acceptTry({ database, pipeline, tried, answers, signal }),
    );
    if (json) terminal.data(JSON.stringify({ try: tried.no, pipeline: config.name, ...done }));
    else for (const line of acceptedLines(tried, done)) terminal.print(line);
    signal.throwIfAborted();
    return done.left.every(({ why }) => why === "already") ? EXIT_STATUS.ok : EXIT_STATUS.rowsFailed;
  });
}

async function chosenTry(database: Database, { name }: PipelineConfig, no: number | null): Promise<Try> {
  const tried = no === null ? await tries.last(database, name) : await knownTry(database, no);
  if (tried === null)
    throw new RowmillError("not_found", `There is no try of ${name} to accept.`, {
      hints: [`Make one: rowmill try ${name}`],
    });
  if (tried.pipeline === name) return tried;
  throw new RowmillError("usage", `Try ${tried.no} is of ${tried.pipeline}, not of ${name}.`, {
    hints: [`Accept it: rowmill try ${tried.pipeline} --accept ${tried.no}`],
  });
}

/** @throws RowmillError `refused` where the workers ask another question than the config or the try */
async function joined(
  project: Project,
  database: Database,
  { config, tried }: { readonly config: PipelineConfig; readonly tried: Try },
): Promise<Pipeline> {
  await requireKnownPlace(database);
  const row = (await pipelines.all(database)).find(({ name }) => name === config.name);
  if (row === undefined)
    throw new RowmillError("not_found", `${config.name} is not set up yet, so no row waits for an answer.`, {
      hints: [
        `To accept before the first batch, set pipelines.${config.name}.approveAboveUsd to 0 and start rowmill up: ` +
          "it then waits for your approval.",
      ],
    });
  if (row.uninstalledAt !== null)
    throw new RowmillError("refused", `${config.name} is uninstalled.`, { hints: ["Set it up again: rowmill up"] });
  if (configuredHash(config) !== row.definitionHash)
    throw new RowmillError(
      "refused",
      `The config of ${config.name} has changed since the last rowmill up, so nothing was accepted.`,
      { hints: ["Start a worker with this config, then accept: rowmill up"] },
    );
  if (tried.definitionHash !== row.definitionHash)
    throw new RowmillError("refused", `Try ${tried.no} asked another question than ${config.name} asks now.`, {
      hints: [`See what differs: rowmill try ${config.name} --list`],
    });
  const { environment } = project;
  const provider = await makeProvider(
    { config: project.config, environment: { ...environment, provider: { ...environment.provider, offline: true } } },
    config.name,
  );
  return joinPipeline(database, await examinePipeline(database, config), { provider, row });
}

function acceptedLines({ no, pipeline }: Try, { accepted, left }: AcceptedTry): string[] {
  const already = left.filter(({ why }) => why === "already").length;
  const others = left.filter(({ why }) => why !== "already");
  const before = already === 0 ? "" : `, ${already} accepted before`;
  const rest = others.length === 0 ? "" : `, ${others.length} not accepted`;
  const count = counted(accepted.length, "answer");
  const sign = others.length === 0 ? "✓" : "!";
  return [
    `${sign} ${pipeline}: ${count} of try ${no} accepted at no further cost${before}${rest}`,
    ...others.map((one) => `  ${fitKey(one.key)}: ${whyText(one, pipeline)}`),
  ];
}

function whyText({ why, detail }: LeftAnswer, pipeline: string): string {
  const said = fit(detail ?? "", DETAIL_CHARACTERS);
  switch (why) {
    case "already":
      return "it was accepted before";
    case "unusable":
      return said === "" ? "it has no usable answer" : `it has no usable answer: ${said}`;
    case "forgotten":
      return "its text was deleted, because it is older than 30 days";
    case "noRequest":
      return "Rowmill has no request for this row yet. Find new rows: rowmill sweep";
    case "notWaiting":
      return said === "batched" ? "its request is already in a batch" : `its request does not wait: it is ${said}`;
    case "gone":
      return "the row no longer exists, or no longer matches source.where";
    case "changed":
      return "the row has changed since the try";
    case "definition":
      return `the question has changed since the try. Ask again: rowmill try ${pipeline}`;
    case "demo":
      return "the demo model gave it, and the pipeline now has another account";
    case "invalid":
      return `it no longer fits: ${said}`;
    case "held":
      return `another transaction locks its row. After it: rowmill try ${pipeline} --accept`;
    case "unwritable":
      return `the target refuses it: ${said}`;
    case "later":
      return `there was no time for it. For the rest: rowmill try ${pipeline} --accept`;
  }
}
