/** A folder with a config, for the built `rowmill`: the one pipeline of the bench. */
import { mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { removeWithBench } from "./clean-up.js";
import { model, system } from "./films.js";
import type { Command } from "./measured-process.js";

export interface PipelineOptions {
  /** The built command line. */
  readonly cli: string;
  readonly batchRequests: number;
  readonly maxOutputTokens?: number;
  /** Rowmill's own default, if not said. */
  readonly dedupe?: boolean;
  /** How many have to wait before they are sent without being asked for. */
  readonly whenRows?: number;
}

export interface MillProject {
  readonly folder: string;
  /** `rowmill …`, with what it says cut to errors. */
  command(...args: readonly string[]): Command;
}

/** Removes the folder afterwards. */
export async function withMillProject<T>(
  at: { readonly databaseUrl: string; readonly providerUrl: string },
  options: PipelineOptions,
  work: (project: MillProject) => Promise<T>,
): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), "rowmill-bench-"));
  const remove = removeWithBench(folder);
  const env = {
    DATABASE_URL: at.databaseUrl,
    OPENAI_API_KEY: "sk-bench",
    OPENAI_BASE_URL: at.providerUrl,
    PGSSLMODE: "disable",
  };
  try {
    await writeFile(join(folder, "rowmill.config.mjs"), configText(options));
    return await work({ folder, command: (...args) => ({ args: [options.cli, ...args], cwd: folder, env }) });
  } finally {
    remove();
  }
}

function configText({ batchRequests, maxOutputTokens = 200, whenRows = 1_000_000, dedupe }: PipelineOptions): string {
  return `import { defineConfig, pipeline, z } from "rowmill";
const films = pipeline({
  source: { table: "films", key: "id", columns: ["title", "description"] },
  when: { rows: ${whenRows}, maxWait: "7d" },
  batch: { maxRequests: ${batchRequests} },
  polling: { min: "200ms", max: "1s" },
  request: {
    model: ${JSON.stringify(model)},
    temperature: 0.1,
    maxOutputTokens: ${maxOutputTokens},
    system: process.env.BENCH_SYSTEM ?? ${JSON.stringify(system)},
    user: "{{ title }}: {{ description }}",
  },
  answer: z.object({ categories: z.array(z.string()), summary: z.string() }),
  target: { table: "film_labels" },${
    dedupe === undefined
      ? ""
      : `
  dedupe: ${dedupe},`
  }
});
export default defineConfig({ database: process.env.DATABASE_URL, pipelines: { films } });
`;
}
