/** What every stage works with; `openProject` puts it together. Nothing here is durable: a crash loses nothing. */
import type { Logger } from "pino";
import type { AnswerColumn } from "../model/answer/answer-columns.js";
import type { CompiledAnswer } from "../model/answer/answer.js";
import type { TargetConnector } from "../model/connector.js";
import type { PipelineConfig, RowCells } from "../model/pipeline.js";
import type { Rates } from "../model/provider/pricing.js";
import type { Attempt, Encoder, Provider } from "../model/provider/provider.js";
import type { Rendered } from "../model/request/render-request.js";
import type { TokenRatio } from "../model/request/tokens.js";
import type { SourceTable } from "../sources/table/inspection.js";
import type { Source } from "../sources/source.js";
import type { ExpiryPlace } from "../store/replicas/expiry.js";
import type { Lease } from "../store/batches/batches.js";
import type { Database, Queryable, Reader } from "../postgres/database.js";
import type { Target } from "../targets/target.js";
import type { LeaseKeeper } from "./lease-keeper.js";
import type { ThrowMemory } from "./rounds/delivery-group.js";
import type { RunStep } from "./step.js";

/** A pipeline of the config, bound to its database objects. */
export interface Pipeline {
  readonly id: number;
  readonly config: PipelineConfig;
  readonly definitionHash: string;
  readonly answer: CompiledAnswer;
  readonly render: (row: RowCells) => Rendered;
  readonly provider: Provider;
  /** For comparing requests. What is sent gets its token bounds from a sample of the rows instead. */
  readonly encode: Encoder;
  /** For batches planned from now on; a planned batch keeps its own. */
  readonly rates: Rates;
  /** Replaced when the table changes while we run: a partition attached, a column retyped, the table swapped. */
  table: SourceTable;
  source: Source;
  target: Target;
  /** Null: the target is a table. */
  readonly delivery: Delivery | null;
  /** The target for answers that another definition asked for; text: why it cannot hold them now. */
  readonly targetFor: (client: Reader, asked: AskedAnswer) => Promise<Target | string>;
  /** False: the target, or our rights on it, changed since `checkTarget` accepted it. */
  readonly isTargetChecked: (client: Reader) => Promise<boolean>;
  /** @throws RowmillError `target_unsupported` when it cannot hold every answer that the schema allows */
  readonly checkTarget: () => Promise<void>;
  /**
   * The same rows with these columns as their content.
   * @throws RowmillError `source_unsupported` when a column no longer exists
   */
  readonly sourceFor: (client: Reader, columns: readonly string[]) => Promise<Source>;
}

/** A target elsewhere, which gets from Rowmill's own table what was accepted. */
export interface Delivery {
  readonly connector: TargetConnector;
  /** It is the source itself: answers go into its rows. */
  readonly writesBack: boolean;
  /** Of what it is and where it writes. */
  readonly targetHash: string;
  /** Answers by key; keys without one are left out. */
  readonly read: (
    tx: Queryable,
    keys: readonly string[],
  ) => Promise<ReadonlyMap<string, { readonly json: string; readonly model: string | null }>>;
}

/** The half of a pipeline that asks, which needs no target and no ledger. */
export type Asking = Pick<
  Pipeline,
  "id" | "config" | "definitionHash" | "answer" | "render" | "provider" | "encode" | "rates" | "table" | "source"
>;

/** Where the fields of another definition's answer go. */
export interface AskedAnswer {
  readonly answer: readonly AnswerColumn[];
  /** Answer field → column, where the two names differ. */
  readonly columns: Readonly<Record<string, string>>;
}

/**
 * What this process remembers to save work and repeated warnings. A crash forgets it, which costs a look, never money.
 * Instants are from `performance.now()`, which never jumps.
 */
export interface ProcessMemory {
  /** The last sample of each pipeline's rows, for estimates. */
  readonly samples: WeakMap<Asking, RowSample>;
  /** The last comparison of each provider's list of batches with the ledger. */
  readonly comparisons: WeakMap<Provider, { readonly atMs: number; readonly ended: Promise<void> }>;
  /** Whether each provider is the demo model, by its last reply; null: it did not say. */
  readonly demoReplies: WeakMap<Provider, { readonly atMs: number; readonly demo: boolean | null }>;
  /** Each pipeline's last error that may pass, and how many times in a row it came. */
  readonly repeatedErrors: WeakMap<Pipeline, { readonly message: string; readonly times: number }>;
  /** By the lease it was written under: what identifies a spool file, so that it is not read again to verify it. */
  readonly spoolFiles: WeakMap<Lease, string>;
  /** Batch id → when its last warning about being overdue was logged. */
  readonly overdueWarnedMs: Map<string, number>;
  /** Where the search for pushed rows whose time is over stands, if not at the oldest. */
  readonly expiries: WeakMap<Pipeline, ExpiryPlace>;
  /** Pipelines whose target elsewhere is ready, as its last call showed. */
  readonly preparedTargets: WeakSet<Pipeline>;
  /** How long the target's last `settle` took. */
  readonly settleMs: WeakMap<Pipeline, number>;
  /** What is known of a pipeline's target that throws. */
  readonly throws: WeakMap<Pipeline, ThrowMemory>;
  /** Ids of batches that ended here and were not reported yet: at most ENDED_REMEMBERED_MAX. */
  readonly endedBatches: string[];
}

/** Reports come every second or so; beyond that the oldest are not reported. */
export const ENDED_REMEMBERED_MAX = 1_000;

export function emptyMemory(): ProcessMemory {
  return {
    samples: new WeakMap(),
    comparisons: new WeakMap(),
    demoReplies: new WeakMap(),
    repeatedErrors: new WeakMap(),
    spoolFiles: new WeakMap(),
    overdueWarnedMs: new Map(),
    expiries: new WeakMap(),
    preparedTargets: new WeakSet(),
    settleMs: new WeakMap(),
    throws: new WeakMap(),
    endedBatches: [],
  };
}

/** What some rows of a pipeline say about the size of its requests. */
export interface RowSample {
  readonly takenAtMs: number;
  readonly definitionHash: string;
  readonly ratio: TokenRatio;
  /** UTF-8 bytes of one request's messages and schema. */
  readonly meanBytes: number;
  /** The average line's upper bound of input tokens, as rendering will compute it. */
  readonly meanBound: number;
  /** UTF-8 bytes of a line with its separator. */
  readonly meanLineBytes: number;
  readonly rows: number;
}

export interface WorkerContext {
  /** Written to only inside a step; the linter checks that. */
  readonly database: Database;
  /** The same database, for reads. */
  readonly read: Reader;
  readonly step: RunStep;
  readonly pipelines: ReadonlyMap<number, Pipeline>;
  readonly workerId: string;
  readonly memory: ProcessMemory;
  /** One `up`: what a budget `per: "run"` counts. */
  readonly runId: string;
  /** Where spool files are, mode 0700. */
  readonly spoolFolder: string;
  readonly leases: LeaseKeeper;
  readonly log: Logger;
  /** 0 ≤ x < 1. */
  readonly random: () => number;
  /** Changes with every change in the catalog that may affect a table, its triggers or its target. */
  readonly catalogueState: () => Promise<string>;
  /** Inspects the table again: new partitions, types, triggers. */
  readonly refreshSource: (pipeline: Pipeline) => Promise<void>;
}

/** The fingerprint of what would be asked about a row now; null: nothing to ask, or it cannot be rendered or read. */
export function currentFingerprint(
  pipeline: Pick<Pipeline, "config" | "render" | "encode">,
  cells: RowCells | null,
): string | null {
  if (cells === null) return null;
  const rendered = pipeline.render(cells);
  if (rendered.kind !== "request") return null;
  return pipeline.encode("", rendered.request, firstAttempt(pipeline.config)).fingerprint;
}

/** With as much room as the config gives, and nothing that belongs to one try. */
export function firstAttempt({ request }: Pick<PipelineConfig, "request">): Attempt {
  return { maxOutputTokens: request.maxOutputTokens, told: null, model: request.model };
}

/** One provider per account. */
export function providersOf({ pipelines }: Pick<WorkerContext, "pipelines">): Iterable<Provider> {
  return new Map([...pipelines.values()].map(({ provider }) => [provider.account, provider])).values();
}
