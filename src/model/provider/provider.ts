/**
 * Owns what the engine knows of a provider of batches. File ids, status words, metadata and messages of a vendor
 * stay in `src/providers/<vendor>/`. How to write one: docs/internals/adding-a-provider.md.
 *
 * Each call has its own time-out, and bounded retries if a repetition is harmless, so none at `create`. Errors are
 * `ProviderError`, whose `kind` says what may be done next.
 */
import { RowmillError, type ErrorCode } from "../errors.js";
import type { AnswerOutcome, ModelRequest, Question } from "./outcome.js";
import type { Json } from "../pipeline.js";
import type { Rates } from "./pricing.js";
import type { BatchInputError, Refusal } from "../batch/refusal.js";

export type ProviderErrorKind =
  /** Certainly had no effect; the call may be repeated (425, 429, a redirect, connect refused, 5xx on reads). */
  | "retryable"
  /** May or may not have taken effect: time-out, reset, 5xx on a create. */
  | "ambiguous"
  /** The thing named does not exist (any more): 404. At a create: its staged input. */
  | "notFound"
  /** The account has as much queued or running as it may: no effect. It ends in hours, and is not a failure. */
  | "capacity"
  /** Key, organization, project, quota, storage or billing: nothing works until you act (401, 403, an empty quota). */
  | "account"
  /** The server has no such call (405, 501): it had no effect, and never will. */
  | "unsupported"
  /** The provider refused it: 400, 409, 413, 422. `refusal.about` says why. */
  | "refused";

const NAME = "ProviderError";

export class ProviderError extends RowmillError {
  /** By shape: a user's own provider may use another copy of this module. */
  static override [Symbol.hasInstance](value: unknown): boolean {
    // A subclass has only its own instances.
    if (this !== ProviderError) return Function.prototype[Symbol.hasInstance].call(this, value);
    return value instanceof Error && value.name === NAME && "kind" in value && "refusal" in value;
  }

  override readonly name = NAME;
  readonly kind: ProviderErrorKind;
  readonly status: number | null;
  /** The provider's own code for what is wrong. */
  readonly providerCode: string | null;
  /** From Retry-After, capped by the adapter; null if the provider sent none. */
  readonly retryAfterMs: number | null;
  /** Of the kind `refused`. */
  readonly refusal: BatchInputError;
  constructor(
    kind: ProviderErrorKind,
    message: string,
    details: {
      status?: number | null;
      providerCode?: string | null;
      retryAfterMs?: number | null;
      /** `line`: 1-based, if the input goes with the create. */
      refusal?: Refusal & Partial<Pick<BatchInputError, "line" | "param">>;
      cause?: unknown;
    } = {},
  ) {
    super(codeOf(kind), message, { cause: details.cause });
    this.kind = kind;
    this.status = details.status ?? null;
    this.providerCode = details.providerCode ?? null;
    this.retryAfterMs = details.retryAfterMs ?? null;
    const refusal = { line: null, param: null, about: "other", limit: null, ...details.refusal } as const;
    this.refusal = { code: this.providerCode, message, ...refusal };
  }
}

function codeOf(kind: ProviderErrorKind): ErrorCode {
  if (kind === "account") return "provider_account";
  const isAnswer = kind === "refused" || kind === "notFound" || kind === "unsupported";
  return isAnswer ? "provider_refused" : "provider_unreachable";
}

/** An adapter maps its vendor's words to these. `failed`: the input was refused, nothing ran. `unknown`: not ended. */
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

/** What Rowmill gives to a batch at the provider, if the vendor shows it again: all four fields. */
export interface BatchMark {
  /** The ledger's: `rowmill deployment`. */
  readonly deployment: string;
  /** The batch's uuid in that ledger. */
  readonly batch: string;
  readonly pipeline: string;
  readonly definition: string;
}

/** What identifies a batch at the provider. */
export interface BatchRef {
  /** The provider's id of it. */
  readonly id: string;
  /** Written and read by the adapter alone; the ledger keeps it. */
  readonly refs: Json;
}

export interface ProviderBatch extends BatchRef {
  readonly status: ProviderBatchStatus;
  /** The same, or the provider's own word if the adapter does not know it. */
  readonly statusText: string;
  /** It has ended and does not change any more. */
  readonly terminal: boolean;
  /** Seconds since the epoch, by the provider's clock; null: unknown. */
  readonly createdAt: number | null;
  /** `completed`: answers. `failed`: requests that ended without one, or never ran. Null: unknown. */
  readonly counts: { readonly total: number; readonly completed: number; readonly failed: number } | null;
  /** What is wrong with the input of a failed batch. */
  readonly errors: readonly BatchInputError[];
  /** Null: it has none of ours, as always if `recovery.find` is not `name`. */
  readonly mark: BatchMark | null;
}

export type EndedBatch = BatchRef & Pick<ProviderBatch, "counts">;

/** An entry of the provider's list. */
export interface ListedBatch {
  readonly batch: ProviderBatch;
  /** Why its owner is unknown: neither mark nor input is readable. Null: it is ours, or another client's. */
  readonly untold: string | null;
}

/** Staged input can be used when `ready`, perhaps when `staged`, not yet when `pending`, never when `failed`. */
export type Readiness = "ready" | "staged" | "pending" | "failed";

/** Input that waits at the provider for its create. */
export interface Staged {
  /** Read by the adapter alone; the ledger keeps it. */
  readonly ref: Json;
  /** Also `ready` if the provider does not say. */
  readonly readiness: Readiness;
  /** What is wrong with it, in the provider's words. */
  readonly details: string | null;
}

/** The rendered requests of one batch: `frame` with the encoder's lines in it. */
export interface SpoolFile {
  readonly batchId: string;
  /** On this machine. */
  readonly path: string;
  readonly bytes: number;
  /** Hexadecimal. */
  readonly sha256: string;
}

export interface CallOptions {
  readonly signal?: AbortSignal;
}

/** Capability: input is uploaded before the create. Each call may be repeated. */
export interface Staging {
  /** Streams the file in bounded memory. A duplicate costs nothing. @throws RowmillError `spool_failed` */
  send(spool: SpoolFile, options?: CallOptions): Promise<Staged>;
  /** What a crashed worker staged for this batch: `same`, the same input; `others`, which the engine removes. */
  find(
    spool: SpoolFile,
    options?: CallOptions,
  ): Promise<{ readonly same: Staged | null; readonly others: readonly Json[] }>;
  /** Its state; null: the provider does not say, and the engine creates the batch. */
  inspect(ref: Json, options?: CallOptions): Promise<Staged | null>;
  /** True if it was there, false if it was already gone. */
  remove(ref: Json, options?: CallOptions): Promise<boolean>;
}

/** A create that is to be made, or may have been made, as committed before its call. */
export interface CreateIntent {
  readonly mark: BatchMark;
  /** Null: nothing is staged, and the spool file is the body. */
  readonly staged: Json | null;
  readonly baseline: Json | null;
  readonly spool: SpoolFile;
  readonly requests: number;
  readonly model: string;
}

export interface CreatedBatch extends ProviderBatch {
  /** False: made by an earlier create of the same batch, from earlier input. */
  readonly isOfThisCreate: boolean;
}

export interface FoundBatches {
  /** Made for this intent's batch, as a mark, a staged input or other facts prove. Newest first. */
  readonly certain: readonly CreatedBatch[];
  /** They may be, by time and number of requests. Oldest first. */
  readonly possible: readonly ProviderBatch[];
  /** Why "not found" proves nothing: entries without a known owner, by field and value. Empty: the list is whole. */
  readonly doubts: readonly string[];
}

/** An adapter's promise as data: how it finds a create whose reply was lost, and whether it can make it harmless. */
export interface Recovery {
  /**
   * `token`: the same create with the same token has no second effect. `name`: the list shows our uuid. `input`: it
   * shows the staged input. `circumstance`: it shows neither; time and number of requests hint, results prove.
   */
  readonly find: "token" | "name" | "input" | "circumstance";
  /** Removing the staged input stops a late create: `recorded` with the live service, `tried` without proof. */
  readonly fence: "recorded" | "tried" | "none";
  /** No one else creates batches in the account. Matters only to `circumstance`. */
  readonly exclusive: boolean;
}

export interface ProviderLimits {
  readonly requestsMin: number;
  readonly requestsMax: number;
  /** The whole input with its frame. */
  readonly bytesMax: number;
  /** All requests of a batch ask one model. */
  readonly oneModel: boolean;
  /** From its creation until a batch has ended. */
  readonly windowHours: number;
  /** From its end until its results are gone. */
  readonly resultsKeptHours: number;
}

/** The text around and between the lines of a batch's input. */
export interface Frame {
  readonly head: string;
  readonly separator: string;
  readonly tail: string;
}

/** One JSON value a line: each ends with a line feed. */
export const LINES: Frame = { head: "", separator: "\n", tail: "\n" };

/** What differs between tries. It never changes the fingerprint. */
export interface Attempt {
  /** Output tokens. */
  readonly maxOutputTokens: number;
  /** What was wrong with the previous answer, for the model; null: nothing. */
  readonly told: string | null;
  readonly model: string;
}

export interface Encoded {
  /** One line, without the frame. */
  readonly line: string;
  /** 32 hexadecimal digits, equal for equal questions of a definition in all tries. */
  readonly fingerprint: string;
  /** The most input tokens that the model will read. */
  readonly boundTokens: number;
}

/** Pure; the body is serialised once. */
export type Encoder = (customId: string, question: Question, attempt: Attempt) => Encoded;

/** What every request of a pipeline shares. */
export type RequestShape = Omit<ModelRequest, keyof Question> & {
  /** Upper bound for tokens per byte of ASCII text, from a sample of prompts. 1: unknown. */
  readonly tokensPerByte: number;
};

/** How the reading of results ended. `complete`: all was read, so a request that no line names has no answer. */
export interface ResultsEnd {
  readonly complete: boolean;
  /** Lines read in all parts, with broken ones. */
  readonly lines: number;
  /** Parts that the provider has deleted, in words: `file file-abc`. */
  readonly gone: readonly string[];
  /** Why a part will never be read to its end; null: each was. */
  readonly unread: string | null;
  /** What the provider counts but does not show yet; null: nothing. `isPaid`: answers are among it. */
  readonly pending: { readonly text: string; readonly isPaid: boolean } | null;
  /** `batch.refs`, with what the reading added; the ledger keeps it. */
  readonly refs: Json;
}

export type Results = AsyncGenerator<AnswerOutcome, ResultsEnd>;

export interface ResultsOptions extends CallOptions {
  /** Requests in the batch. Far more lines end the reading with `unread`. */
  readonly requests: number;
}

/** One request of a batch's input, perhaps written by other code. */
export interface InputLine {
  /** Null: it has none, or is unreadable. */
  readonly customId: string | null;
  readonly bytes: number;
  readonly endpoint: string | null;
  readonly model: string | null;
  /** Null: unknown. */
  readonly fingerprint: string | null;
  /** The most tokens that the answer may have; null: unknown. */
  readonly room: number | null;
}

/** Capability: reads what a batch asked, for `adopt` and for a restored database. */
export interface Inputs {
  /** @throws ProviderError `notFound` if the input is gone */
  read(batch: BatchRef, options?: CallOptions): AsyncIterable<InputLine>;
  /** What of an ended batch is still readable: its input, any of its results; `gone`: the other parts, in words. */
  kept(
    batch: BatchRef,
    options?: CallOptions,
  ): Promise<{ readonly input: boolean; readonly results: boolean; readonly gone: readonly string[] }>;
}

export interface ParameterProblem {
  /** Its wire name. */
  readonly name: string;
  /** What is wrong and what to write instead. */
  readonly problem: string;
}

/** What a vendor's API takes, and what it costs. Needs no key, and calls no one. */
export interface Dialect {
  /** One lower-case word, stored with the batch and shown by `status`. */
  readonly name: string;
  /** The vendor's name in texts. */
  readonly title: string;
  /** A model for examples. */
  readonly exampleModel: string;
  /** Models to choose from, for a table of prices. */
  readonly suggestedModels: readonly string[];
  /** The path of the vendor's API for one request: part of every fingerprint. */
  readonly endpoint: string;
  readonly limits: ProviderLimits;
  readonly recovery: Recovery;
  readonly frame: Frame;
  encoder(shape: RequestShape): Encoder;
  /** Counts the tokens of a text as a model does, or nearly. */
  tokenizer(model: string): Promise<(text: string) => number>;
  /** From the vendor's price list at a date. */
  rates(model: string, at: Date): Rates;
  /** The known model that an unknown name probably means; null for a known one. */
  nearModel(model: string, at: Date): string | null;
  /** What this vendor refuses in an answer's strict schema. Each begins with the path of the field. */
  schemaProblems(schema: Json): readonly string[];
  /** The word that a message must have, in any case, if the answer may be any JSON object; null: none. */
  readonly freeJsonWord: string | null;
  parameterProblems(model: string, parameters: Readonly<Record<string, Json>>): readonly ParameterProblem[];
  /** An account in words. */
  accountText(account: string): string;
  /** Environment variables, as `NAME=value`, that change to this account; a secret has only its name. */
  accountVariables(account: string, present: string): readonly string[];
}

/** What `doctor` reports about the provider. */
export interface ProviderFinding {
  readonly about: "key" | "model";
  readonly level: "ok" | "warning" | "problem";
  readonly text: string;
  /** What to do, one sentence each. */
  readonly fixes: readonly string[];
}

export interface Provider extends Dialect {
  /** What a batch belongs to, without secrets. Opaque; stored with the batch. */
  readonly account: string;
  /** The time-out of a create, in ms. After it, the create has had its effect or never will. */
  readonly createMs: number;
  /** Null: the input goes with the create. */
  readonly staging: Staging | null;
  /** What `find` needs to find a create by circumstance, committed with its intent. Null: nothing. */
  readonly baseline: ((options?: CallOptions) => Promise<Json>) | null;
  /** Exactly one effect, never retried. Time-out, reset and 5xx throw kind `ambiguous`. */
  create(intent: CreateIntent, options?: CallOptions): Promise<ProviderBatch>;
  /** Finds a create. `since`: seconds since the epoch, by the provider's clock. Pages bounded. */
  find(intent: CreateIntent, since: number, options?: CallOptions): Promise<FoundBatches>;
  /**
   * Each batch created at or after `since`, or at an unknown time, once. Pages bounded: an endless list throws
   * `retryable`, because after half a list a paid batch would seem not found.
   */
  list(since: number, options?: CallOptions): AsyncIterable<ListedBatch>;
  /** The id is enough: `adopt` knows no more. */
  status(id: string, options?: CallOptions): Promise<ProviderBatch>;
  /** Repeatable: returns a batch that has already ended as it is. */
  cancel(id: string, options?: CallOptions): Promise<ProviderBatch>;
  /** Deletes what the provider keeps of an ended batch. Returns the number of parts. Repeatable. */
  forget(
    kept: { readonly batch: BatchRef | null; readonly staged: Json | null },
    options?: CallOptions,
  ): Promise<number>;
  /**
   * The answers of all parts, in bounded memory; after a crash they are read again from the start. A body that stalls
   * or is cut short throws `retryable`, after the lines before it.
   */
  results(batch: EndedBatch, options: ResultsOptions): Results;
  /** Null: input cannot be read back, so no batch can be adopted. */
  readonly inputs: Inputs | null;
  /** One live call; its `customId` has no meaning. */
  readonly answer: ((request: ModelRequest, options?: CallOptions) => Promise<AnswerOutcome>) | null;
  /** Checks key and models. Asks once, without retries. */
  diagnose(models: readonly string[], options?: CallOptions): Promise<readonly ProviderFinding[]>;
  /** Whether the demo model answers, which is not a language model. */
  servesDemo(options?: CallOptions): Promise<boolean>;
  /** The Date header of the last reply, in seconds since the epoch; null before any reply. */
  clockSeconds(): number | null;
}
