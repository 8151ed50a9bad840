/** What a check of the doctor is, and what the doctor knows so far: given at the start, or learned on the way. */
import { connectionFacts } from "../../config/database/connection.js";
import type { Environment } from "../../config/load/environment.js";
import { RowmillError } from "../../model/errors.js";
import type { PipelineConfig, ProjectConfig } from "../../model/pipeline.js";
import type { Provider, ProviderFinding } from "../../model/provider/provider.js";
import { asSentence } from "../../model/words/as-sentence.js";
import { problem, type Finding } from "../../model/words/finding.js";
import type { Queryable } from "../../postgres/database.js";
import type { ConnectionFacts } from "../../postgres/failure.js";
import type { SourceTable } from "../../sources/table/inspection.js";
import type { OpenedDatabase } from "../open/open-database.js";

export const GROUPS = ["Machine", "Config", "Database", "Tables", "Elsewhere", "Provider", "Pipelines"] as const;

export interface Check {
  /** Stable: programs use it. */
  readonly id: string;
  readonly group: (typeof GROUPS)[number];
  readonly title: string;
  /** Ids of checks that must have come out without a problem; they stand earlier in the list. */
  readonly needs: readonly string[];
  /** Why the others could not run, when this one has a problem. */
  readonly otherwise: string;
  /** Only reads. No finding: there is nothing to check. */
  run(look: Look): Promise<readonly Finding[]> | readonly Finding[];
}

/** A statement of the doctor reads the catalogue, or counts. */
const STATEMENT_MS_MAX = 6_000;

export interface SeenProvider {
  /** Names of the pipelines that ask it. */
  readonly pipelines: readonly string[];
  readonly provider: Provider;
  readonly findings: readonly ProviderFinding[];
  /** When it was asked, by our own clock. */
  readonly atSeconds: number;
}

export interface Look {
  readonly cwd: string;
  /** From `--config FILE`. */
  readonly configFile: string | undefined;
  /** Completed from `.env` when the config is loaded. */
  readonly variables: Record<string, string | undefined>;
  /** As `process.versions.node` has it. */
  readonly nodeVersion: string;
  config: ProjectConfig | null;
  environment: Environment | null;
  opened: OpenedDatabase | null;
  /** A pooler or proxy stands between us and the database. */
  pooled: boolean;
  /** By the name of the pipeline: sources that were found. */
  readonly tables: Map<string, SourceTable>;
  /** One for each account that the pipelines ask. */
  seen: readonly SeenProvider[] | null;
}

export function startLook(given: Pick<Look, "cwd" | "configFile" | "variables" | "nodeVersion">): Look {
  return {
    ...given,
    config: null,
    environment: null,
    opened: null,
    pooled: false,
    tables: new Map(),
    seen: null,
  };
}

/** For what a check's `needs` have seen to. */
export function known<T>(value: T | null, what: string): T {
  if (value === null) throw new RowmillError("internal", `A check of the doctor ran without ${what}.`);
  return value;
}

/** One transaction in which the server refuses every write. */
export async function readOnly<T>(look: Look, work: (tx: Queryable) => Promise<T>): Promise<T> {
  const { database } = known(look.opened, "a database");
  return database.transaction(work, { readOnly: true, statementTimeoutMs: STATEMENT_MS_MAX });
}

/** Null for the embedded database. */
export function factsOf(look: Look): ConnectionFacts | null {
  const { database } = known(look.config, "a config");
  return database.kind === "server" ? connectionFacts(database, known(look.environment, "variables")) : null;
}

/** The first line is about the whole, each further one is a mistake. */
export function findingOf(error: unknown): Finding {
  if (!(error instanceof RowmillError)) throw error;
  const [first = "", ...mistakes] = error.message.split("\n");
  return problem(asSentence(first), { fixes: [...mistakes.map((line) => line.trim()), ...error.hints] });
}

/** The findings of all pipelines; what a look throws is one of its own. */
export async function eachPipeline(
  look: Look,
  work: (pipeline: PipelineConfig, look: Look) => Promise<readonly Finding[]>,
): Promise<readonly Finding[]> {
  const findings: Finding[] = [];
  for (const pipeline of known(look.config, "a config").pipelines) {
    try {
      findings.push(...(await work(pipeline, look)));
    } catch (error) {
      if (!(error instanceof RowmillError) || error.code === "internal") throw error;
      findings.push(problem(`${pipeline.name}: ${error.message}`, { fixes: error.hints }));
    }
  }
  return findings;
}
