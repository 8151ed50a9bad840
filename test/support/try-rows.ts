/** What `rowmill try` does, without its screen, in this process. */
import { join } from "node:path";
import { examinePipeline, examineSource, joinPipeline, previewPipeline } from "../../src/app/open/bind-pipeline.js";
import { acceptTry, type AcceptedTry } from "../../src/app/try/accept-try.js";
import { chooseRows, type Choice } from "../../src/app/try/choose-rows.js";
import { prepareTry } from "../../src/app/try/prepare.js";
import { runTry, type Tried } from "../../src/app/try/run-try.js";
import { validateConfig } from "../../src/config/read/validate.js";
import { defineConfig } from "../../src/index.js";
import type { PipelineConfig } from "../../src/model/pipeline.js";
import type { Provider } from "../../src/model/provider/provider.js";
import { createOpenAIProvider } from "../../src/providers/openai/adapter.js";
import * as outputSizes from "../../src/store/batches/output-sizes.js";
import * as pipelines from "../../src/store/pipelines/pipelines.js";
import * as tries from "../../src/store/tries/tries.js";
import type { TestProject } from "./project.js";

export type Pipelines = Parameters<typeof defineConfig>[0]["pipelines"];

/** The first of them. */
function configOf({ folder, url }: TestProject, pipelines: Pipelines): PipelineConfig {
  const config = validateConfig(defineConfig({ database: url, pipelines }), {
    file: join(folder, "rowmill.config.ts"),
    language: "script",
    databaseUrl: null,
  });
  const [first] = config.pipelines;
  if (first === undefined) throw new Error("The config has no pipeline.");
  return first;
}

export function gatewayProvider({ gateway }: TestProject): Provider {
  return createOpenAIProvider({ apiKey: "test", baseURL: gateway.url });
}

const ANY: Choice = { rows: 5, keys: [], where: null, random: false };

export interface TryOptions {
  readonly choice?: Partial<Choice>;
  readonly provider?: Provider;
  readonly signal?: AbortSignal;
}

export async function tryRows(project: TestProject, asked: Pipelines, options: TryOptions = {}): Promise<Tried> {
  const { database } = project;
  const config = configOf(project, asked);
  const provider = options.provider ?? gatewayProvider(project);
  const asking = await previewPipeline(database, await examineSource(database, config), provider);
  const rows = await chooseRows(database, asking, { ...ANY, ...options.choice });
  const { definitionHash } = asking;
  const sizes = await outputSizes.sizesOf(database, { pipeline: config.name, definitionHash });
  const preparation = await prepareTry(asking, rows, sizes);
  const signal = options.signal ?? new AbortController().signal;
  return runTry({ database, asking, preparation, overridden: {}, signal, onRow: () => undefined });
}

/** As if the command had found that the config is the registered one. */
export async function acceptRows(project: TestProject, asked: Pipelines, no: number): Promise<AcceptedTry> {
  const { database } = project;
  const config = configOf(project, asked);
  const row = await pipelines.byName(database, config.name);
  const tried = await tries.byNumber(database, no);
  if (row === null || tried === null) throw new Error("There is no such pipeline or try.");
  const provider = gatewayProvider(project);
  const pipeline = joinPipeline(database, await examinePipeline(database, config), { provider, row });
  const answers = await tries.answersOf(database, no);
  return acceptTry({ database, pipeline, tried, answers, signal: new AbortController().signal });
}
