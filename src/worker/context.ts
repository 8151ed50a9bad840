/** What a stage is given: the parts that `app.ts` put together. A worker holds nothing here that a crash may take. */
import type { Logger } from "pino";
import type { AnswerColumn } from "../model/answer/answer-columns.js";
import type { CompiledAnswer } from "../model/answer/answer.js";
import type { PipelineConfig, RowCells } from "../model/pipeline.js";
import type { Rates } from "../model/provider/pricing.js";
import type { Attempt, Encoder, Provider } from "../model/provider/provider.js";
import type { Rendered } from "../model/request/render-request.js";
import type { SourceTable } from "../sources/table/inspection.js";
import type { Source } from "../sources/source.js";
import type { Database, Reader } from "../postgres/database.js";
import type { Target } from "../targets/target.js";
import type { LeaseKeeper } from "./lease-keeper.js";
import type { RunStep } from "./step.js";

/** A pipeline of the config, bound to its database objects. */
export interface Pipeline {
  readonly id: number;
  readonly config: PipelineConfig;
  readonly definitionHash: string;
  readonly answer: CompiledAnswer;
  readonly render: (row: RowCells) => Rendered;
  readonly provider: Provider;
  /** For what is compared; what is sent is bounded by a sample of the rows. */
  readonly encode: Encoder;
  /** Of what is planned from now on; a batch keeps its own. */
  readonly rates: Rates;
  /** Replaced when the table changes under us: a partition attached, a column retyped, the table swapped. */
  table: SourceTable;
  source: Source;
  target: Target;
  /** The target for the answers that another definition asked for; text: why it cannot hold them as it is now. */
  readonly targetFor: (client: Reader, asked: AskedAnswer) => Promise<Target | string>;
  /** False: the target, or what this user may do with it, has changed since `checkTarget` found it well. */
  readonly isTargetChecked: (client: Reader) => Promise<boolean>;
  /** @throws RowmillError `target_unsupported` where it cannot hold every answer that the schema allows */
  readonly checkTarget: () => Promise<void>;
  /** The same rows with these columns as their content. @throws RowmillError `source_unsupported` when one is not there any more. */
  readonly sourceFor: (client: Reader, columns: readonly string[]) => Promise<Source>;
}

/** Where the fields of another definition's answer go. */
export interface AskedAnswer {
  readonly answer: readonly AnswerColumn[];
  /** Answer field → column, for those whose column has another name. */
  readonly columns: Readonly<Record<string, string>>;
}

export interface WorkerContext {
  /** To be written to inside a step only; the linter sees to it. */
  readonly database: Database;
  /** The same, for what only reads. */
  readonly read: Reader;
  readonly step: RunStep;
  readonly pipelines: ReadonlyMap<number, Pipeline>;
  readonly workerId: string;
  /** One `up`: what a budget `per: "run"` counts. */
  readonly runId: string;
  /** Where spool files are, mode 0700. */
  readonly spoolFolder: string;
  readonly leases: LeaseKeeper;
  readonly log: Logger;
  /** 0 ≤ x < 1. */
  readonly random: () => number;
  /** Another word after any change by which a look at a table, its triggers or its target could end differently. */
  readonly catalogueState: () => Promise<string>;
  /** Looks at the table again: new partitions, types, triggers. Null: the pipeline cannot go on and was paused. */
  readonly refreshSource: (pipeline: Pipeline) => Promise<void>;
}

/** What would be asked about a row now; null when there is nothing to ask, it cannot be rendered, or it is too large to be read. */
export function currentFingerprint(pipeline: Pipeline, cells: RowCells | null): string | null {
  if (cells === null) return null;
  const rendered = pipeline.render(cells);
  if (rendered.kind !== "request") return null;
  return pipeline.encode("", rendered.request, firstAttempt(pipeline.config)).fingerprint;
}

/** As much room as the config gives, and nothing that a try has of its own. */
export function firstAttempt({ request }: Pick<PipelineConfig, "request">): Attempt {
  return { maxOutputTokens: request.maxOutputTokens, told: null, model: request.model };
}

/** Each account once, by one of the pipelines that use it. */
export function providersOf({ pipelines }: Pick<WorkerContext, "pipelines">): Iterable<Provider> {
  return new Map([...pipelines.values()].map(({ provider }) => [provider.account, provider])).values();
}
