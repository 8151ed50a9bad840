/** What the doctor knows so far: given at the start, or learned by a check that later ones need. */
import type { ConnectionFacts } from "../../postgres/failure.js";
import { RowmillError } from "../../model/errors.js";
import type { ProjectConfig } from "../../model/pipeline.js";
import type { Environment } from "../../config/load/environment.js";
import { connectionFacts } from "../../config/database/connection.js";
import type { Provider } from "../../model/provider/provider.js";
import type { ProviderFinding } from "../../model/provider/provider.js";
import type { SourceTable } from "../../sources/table/inspection.js";
import type { Queryable } from "../../postgres/database.js";
import type { OpenedDatabase } from "../open/open-database.js";

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
  /** Something between us and the database speaks for it. */
  pooled: boolean;
  /** By the name of the pipeline: those whose source can be watched. */
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
