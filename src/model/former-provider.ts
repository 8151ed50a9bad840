/** The provider as it is asked today; provider.ts is what it becomes, call by call. */
import type { AnswerOutcome, ModelRequest } from "./outcome.js";
import type { Json } from "./pipeline.js";
import {
  ProviderError,
  type CallOptions,
  type Dialect as WholeDialect,
  type ProviderFinding,
} from "./provider.js";
import type { Adapter as ListedAdapter, ProviderChoice as Choice } from "./provider-choice.js";
import type { BatchInputError } from "./refusal.js";

export { ProviderError, type CallOptions, type ProviderErrorKind } from "./provider.js";

/** A file that is longer than anything that was asked, or has a line that no memory holds: what came before was read. */
export class OverlongFile extends ProviderError {
  constructor(fileId: string, why: string, cause?: unknown) {
    super("refused", `file ${fileId} cannot be read to its end: ${why}`, { cause });
  }
}

/** OpenAI's eight, and `unknown` for any word that we do not know, and none at all: it counts as not terminal. */
export type ProviderBatchStatus =
  | "validating"
  | "failed"
  | "in_progress"
  | "finalizing"
  | "completed"
  | "expired"
  | "cancelling"
  | "cancelled"
  | "unknown";

export interface ProviderBatch {
  readonly id: string;
  readonly status: ProviderBatchStatus;
  /** The same, or the provider's own word where we do not know it. */
  readonly statusText: string;
  readonly terminal: boolean;
  readonly inputFileId: string;
  /** Null, absent and "" on the wire are all null here. */
  readonly outputFileId: string | null;
  readonly errorFileId: string | null;
  /** Seconds since the epoch, the provider's clock; null: it does not say, or not so that it can be read. */
  readonly createdAt: number | null;
  readonly counts: { readonly total: number; readonly completed: number; readonly failed: number } | null;
  readonly errors: readonly BatchInputError[];
  readonly metadata: Readonly<Record<string, string>>;
}

/** A batch may be made of a `ready` file, perhaps of one that is `uploaded`, not yet of a `pending` one, and never of a `failed` one. */
export type FileReadiness = "ready" | "uploaded" | "pending" | "failed";

/** What the provider says about a file: a hint. What is in it, and whether a batch can be made of it, only the file itself tells. */
export interface ProviderFile {
  readonly id: string;
  readonly filename: string;
  /** Null: not said. */
  readonly bytes: number | null;
  /** Seconds since the epoch, the provider's clock; null: not said. */
  readonly createdAt: number | null;
  /** `ready` too where the provider does not say. */
  readonly readiness: FileReadiness;
  /** What is wrong with it, in the provider's words. */
  readonly details: string | null;
}

export interface FoundBatches {
  /** Those that match, newest first. */
  readonly found: readonly ProviderBatch[];
  /** Entries of the list that do not say whose they are, by field and value: beside them, "not found" is no proof of absence. */
  readonly untold: readonly string[];
}

/** What a file may have: whoever sends it does not decide how much is read. */
export interface FileBounds {
  readonly linesMax: number;
  readonly bytesMax: number;
}

export interface ReadOptions extends CallOptions {
  /** By default twice the lines of the largest batch, and five times the bytes of the largest input file. */
  readonly bounds?: FileBounds;
}

/** Without the encoder, which comes with the provider as it becomes. */
export type Dialect = Omit<WholeDialect, "encoder">;
export type ProviderChoice = Choice<Provider, Dialect>;
export type Adapter = ListedAdapter<ProviderChoice>;

export interface Provider extends Dialect {
  /** Base URL, organisation and project, without secrets: `https://api.openai.com/v1|org|project`. Stands on the batch. */
  readonly account: string;
  /** The longest that a create is on its way, in ms: then its call is given up, and its effect is there or never comes. */
  readonly createMs: number;

  /** The request body for one row: canonical key order, so that equal inputs give equal bytes. Pure. */
  buildBody(request: ModelRequest): Json;
  /** A body without what a single try may add to it (the room for its answer): what the fingerprint is of. Pure. */
  questionOf(body: Json): Json;
  /** One JSONL line without the line feed. Pure. */
  renderLine(customId: string, body: Json): string;

  /** Streams the file from disk (bounded memory). May be retried by the adapter: a second upload costs nothing. */
  uploadInput(input: { path: string; filename: string }, options?: CallOptions): Promise<ProviderFile>;
  /** Input files whose name starts with `prefix`, newest first; pages bounded. None where the server has no list of files. */
  findInputs(prefix: string, options?: CallOptions): Promise<readonly ProviderFile[]>;
  /** What the record of a file says; null: the server does not say. */
  inspectFile(fileId: string, options?: CallOptions): Promise<ProviderFile | null>;
  /** True when it was there; false when it was already gone (404). */
  deleteFile(fileId: string, options?: CallOptions): Promise<boolean>;

  /** Exactly one POST, never retried. Time-out, reset and 5xx throw kind `ambiguous`. */
  createBatch(
    input: { inputFileId: string; metadata: Readonly<Record<string, string>> },
    options?: CallOptions,
  ): Promise<ProviderBatch>;
  /** All batches created at or after `sinceSeconds` (provider's clock), or at a time that is not said, that match; pages bounded. */
  findBatches(
    sinceSeconds: number,
    match: (batch: ProviderBatch) => boolean,
    options?: CallOptions,
  ): Promise<FoundBatches>;
  retrieveBatch(id: string, options?: CallOptions): Promise<ProviderBatch>;
  /** Repeatable: a batch that already ended is returned as it is. */
  cancelBatch(id: string, options?: CallOptions): Promise<ProviderBatch>;
  /** The file's lines as raw bytes decoded to strings, split on 0x0A, without BOM and trailing CR; empty lines skipped.
   *  A body that stalls, or that is cut short, throws kind `retryable`; one beyond its bounds `OverlongFile`. */
  readLines(fileId: string, options?: ReadOptions): AsyncIterable<string>;
  /** Is the key accepted, are these models there? Asks once, without retries. */
  examine(models: readonly string[], options?: CallOptions): Promise<readonly ProviderFinding[]>;
  /** What one output or error line says. Never throws: a broken line is an outcome too. Pure. */
  readOutcome(line: string): AnswerOutcome;
  /** Does the demo model answer here, which is no language model? A server that answers and does not say so is none. */
  servesDemo(options?: CallOptions): Promise<boolean>;
  /** The provider's clock at its last reply (its Date header), seconds since the epoch; null before any reply. */
  clockSeconds(): number | null;
}
