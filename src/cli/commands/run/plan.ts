/** `rowmill plan`: what `up` would send, and why, for how much, and what is wrong. Looks only; needs no key. */
import { hasDatabase, openProjectDatabase } from "../../../app/open/open-database.js";
import { withoutKey } from "../../../app/open/open-project.js";
import { openProviders } from "../../../app/open/providers.js";
import type { InFlightPlan, PipelinePlan, PlannedRequest, ProjectPlan } from "../../../app/plan/pipeline-plan.js";
import { readPlan } from "../../../app/plan/read-plan.js";
import { RowmillError } from "../../../model/errors.js";
import type { Json, PipelineConfig } from "../../../model/pipeline.js";
import type { Finding } from "../../../model/words/finding.js";
import type { Cli, ProjectOptions } from "../../cli.js";
import { loadProject, unknownPipeline, type Project } from "../../project.js";
import { EXIT_STATUS } from "../../screen/exit-status.js";
import { planLines } from "../../reports/plan-text.js";

export interface PlanOptions extends ProjectOptions {
  readonly requests: number;
  readonly json?: true;
}

/** `usage` when something has to be fixed first, `blocked` when a pipeline is paused. */
export async function runPlan(cli: Cli, name: string | undefined, options: PlanOptions): Promise<number> {
  const { terminal } = cli;
  const project = await loadProject(terminal, options.config);
  const wanted = wantedPipelines(project, name);
  const plan = await terminal.during("Looking at your rows", () => readHere(project, wanted, options.requests));
  if (options.json) terminal.data(JSON.stringify(planObject(plan)));
  else {
    for (const { text, quoted } of planLines(plan, terminal)) terminal[quoted ? "quote" : "print"](text);
    terminal.note("Nothing was sent or changed. To send: rowmill up");
  }
  return statusOf(plan);
}

function wantedPipelines({ config }: Project, name: string | undefined): readonly PipelineConfig[] {
  const wanted = config.pipelines.filter((pipeline) => name === undefined || pipeline.name === name);
  if (name === undefined || wanted.length > 0) return wanted;
  const known = config.pipelines.map((pipeline) => pipeline.name);
  throw unknownPipeline(name, known, `the config ${config.file}`);
}

async function readHere(
  { config, environment }: Project,
  wanted: readonly PipelineConfig[],
  requestsShown: number,
): Promise<ProjectPlan> {
  if (!(await hasDatabase(config)))
    throw new RowmillError("not_found", "The embedded database does not exist yet, so it has no rows to plan.", {
      hints: wanted.every(({ source }) => source.replica?.sync === null)
        ? ["Create it, and take pushed rows: rowmill up --http 127.0.0.1:8788"]
        : ["Create it with your tables: rowmill init --embedded --sql FILE", "Or let Rowmill create it: rowmill up"],
    });
  const providers = await openProviders({ config, environment: withoutKey(environment) });
  const opened = await openProjectDatabase(config, environment);
  try {
    return await readPlan({ config, database: opened.database, providers, requestsShown }, wanted);
  } finally {
    await opened.close();
  }
}

function statusOf({ findings, pipelines }: ProjectPlan): number {
  const all = [...findings, ...pipelines.flatMap((pipeline) => pipeline.findings)];
  if (all.some(({ level }) => level === "problem")) return EXIT_STATUS.usage;
  return pipelines.some(({ asking }) => asking !== null && asking.pause !== null)
    ? EXIT_STATUS.blocked
    : EXIT_STATUS.ok;
}

/** The shape of `plan --json`, with money in dollars. */
export function planObject({ findings, ledger, pipelines }: ProjectPlan): object {
  return { ledger, findings: findings.map(findingObject), pipelines: pipelines.map(pipelineObject) };
}

function findingObject({ level, text, fixes, sql }: Finding): object {
  return { status: level, text, fixes, sql };
}

function pipelineObject({ name, findings, setup, asking }: PipelinePlan): object {
  return {
    name,
    findings: findings.map(findingObject),
    setup,
    plan: asking === null ? null : { ...asking, ...moneyObject(asking), requests: asking.requests.map(requestObject) },
  };
}

const NANO_USD_PER_USD = 1e9;

function usd(nanoUsd: number | null): number | null {
  return nanoUsd === null ? null : nanoUsd / NANO_USD_PER_USD;
}

function moneyObject({ definition, estimate, budget }: NonNullable<PipelinePlan["asking"]>): object {
  const { likelyNanoUsd, capNanoUsd, liveNanoUsd, ...sizes } = estimate;
  const { likelyNanoUsd: again, inFlight, ...compared } = definition;
  const flying = inFlight === null ? null : inFlightObject(inFlight);
  return {
    definition: { ...compared, likelyUsd: usd(again), inFlight: flying },
    estimate: { ...sizes, likelyUsd: usd(likelyNanoUsd), capUsd: usd(capNanoUsd), liveUsd: usd(liveNanoUsd) },
    budget: budget === null ? null : budgetObject(budget),
  };
}

function inFlightObject({ likelyNanoUsd, ...rest }: InFlightPlan): object {
  return { ...rest, likelyUsd: usd(likelyNanoUsd) };
}

function budgetObject(budget: NonNullable<NonNullable<PipelinePlan["asking"]>["budget"]>): object {
  const { spentNanoUsd, reservedNanoUsd, leftNanoUsd, ...rest } = budget;
  return { ...rest, spentUsd: usd(spentNanoUsd), reservedUsd: usd(reservedNanoUsd), leftUsd: usd(leftNanoUsd) };
}

function requestObject({ line, ...request }: PlannedRequest): object {
  return { ...request, line: lineObject(line) };
}

/** As it goes into the file; of a provider of your own it may be something else than JSON. */
function lineObject(line: string): Json {
  try {
    // It is JSON of ours.
    const parsed: Json = JSON.parse(line);
    return parsed;
  } catch {
    return line;
  }
}
