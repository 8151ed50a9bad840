/**
 * What a provider of batches must answer: the seam between the engine and a vendor. The stages know only this; file ids, status words,
 * metadata and messages of a vendor stay in `src/providers/<vendor>/`. How to write one: docs/internals/adding-a-provider.md.
 *
 * Every call has a time-out of its own, bounded retries where repeating is harmless, and none at `create`. Errors are `ProviderError`,
 * whose `kind` says what may be done next.
 */
import { RowmillError, type ErrorCode } from "../errors.js";
import type { AnswerOutcome, ModelRequest, Question } from "./outcome.js";
import type { Json } from "../pipeline.js";
import type { Rates } from "./pricing.js";
import type { BatchInputError, Refusal } from "../batch/refusal.js";

export type ProviderErrorKind =
  /** Certainly had no effect; the same call may be made again (425, 429, a redirect, connect refused, 5xx on reads). */
  | "retryable"
  /** May or may not have taken effect: time-out, reset, 5xx on a create. */
  | "ambiguous"
  /** The thing named does not exist (any more): 404. At a create: its staged input. */
  | "notFound"
  /** As much as the account may have is queued or running: no effect. Hours cure it; it counts as no failure. */
  | "capacity"
  /** Key, organisation, project, quota, storage or billing: nothing will work until a person acts (401, 403, a quota that is used up). */
  | "account"
  /** The server has no such call (405, 501): it had no effect, and never will. */
  | "unsupported"
  /** The provider looked at it and said no: 400, 409, 413, 422. `about` says what it is about. */
  | "refused";

const NAME = "ProviderError";

export class ProviderError extends RowmillError {
  /** By what it says: a provider that a user wrote may have it from another copy of this module. */
  static override [Symbol.hasInstance](value: unknown): boolean {
    // A class that extends this one is no brand: its own instances alone are of it.
    if (this !== ProviderError) return Function.prototype[Symbol.hasInstance].call(this, value);
    return value instanceof Error && value.name === NAME && "kind" in value && "refusal" in value;
  }

  override readonly name = NAME;
  readonly kind: ProviderErrorKind;
  readonly status: number | null;
  /** The provider's own code for what is wrong. */
  readonly providerCode: string | null;
  /** From Retry-After, already capped by the adapter; null when the provider said nothing. */
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
      /** `line`: 1-based, where the input goes with the create. */
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
  const isSaid = kind === "refused" || kind === "notFound" || kind === "unsupported";
  return isSaid ? "provider_refused" : "provider_unreachable";
}

/** Ours; an adapter maps its vendor's words to them. `failed`: the input was refused and nothing ran. `unknown`: no word that it knows; not ended. */
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

/** What a batch says of itself at the provider, where the vendor shows back what a create was given: all four fields. */
export interface BatchMark {
  /** Of the ledger: `rowmill deployment`. */
  readonly deployment: string;
  /** The batch's uuid in that ledger. */
  readonly batch: string;
  readonly pipeline: string;
  readonly definition: string;
}

/** By what a batch is asked for again. */
export interface BatchRef {
  /** The provider's id of it. */
  readonly id: string;
  /** As the adapter gave it with the batch. Read by the adapter alone; the ledger keeps it. */
  readonly refs: Json;
}

export interface ProviderBatch extends BatchRef {
  readonly status: ProviderBatchStatus;
  /** The same, or the provider's own word where the adapter does not know it. */
  readonly statusText: string;
  /** It has ended: nothing of it changes any more. */
  readonly terminal: boolean;
  /** Seconds since the epoch, by the provider's clock; null: it does not say, or not so that it can be read. */
  readonly createdAt: number | null;
  /** Null: not said. `completed`: answers; `failed`: requests that ended without one, or never ran. `total` may be known first. */
  readonly counts: { readonly total: number; readonly completed: number; readonly failed: number } | null;
  /** What is wrong with its input, of one that failed. */
  readonly errors: readonly BatchInputError[];
  /** Null: it has none of ours. Always null where `recovery.find` is not `name`. */
  readonly mark: BatchMark | null;
}

/** By what its results are asked for. */
export type EndedBatch = BatchRef & Pick<ProviderBatch, "counts">;

/** An entry of the provider's list. */
export interface ListedBatch {
  readonly batch: ProviderBatch;
  /** Why it does not say whose it is: neither mark nor input can be read, or the vendor shows none. Null: ours, or another client's. */
  readonly untold: string | null;
}

/** Staged input may be used for a batch when `ready`, perhaps when `staged`, not yet when `pending`, and never when `failed`. */
export type Readiness = "ready" | "staged" | "pending" | "failed";

/** Input that lies at the provider and waits for its create. */
export interface Staged {
  /** Read by the adapter alone; the ledger keeps it. */
  readonly ref: Json;
  /** `ready` too where the provider does not say. */
  readonly readiness: Readiness;
  /** What is wrong with it, in the provider's words. */
  readonly details: string | null;
}

/** The requests of one batch, rendered: the whole of `frame` with the encoder's lines in it. */
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

/** Input that is brought to the provider before the create. Each call may be repeated without harm. */
export interface Staging {
  /** Streams the file from disk in bounded memory. A second one costs nothing. @throws RowmillError `spool_failed`: it cannot be read */
  send(spool: SpoolFile, options?: CallOptions): Promise<Staged>;
  /** What a crashed worker staged for this batch: `same`, the very same input, not failed; `others`, which the engine removes. */
  find(
    spool: SpoolFile,
    options?: CallOptions,
  ): Promise<{ readonly same: Staged | null; readonly others: readonly Json[] }>;
  /** How it stands; null: the provider does not say, and the engine creates the batch. */
  inspect(ref: Json, options?: CallOptions): Promise<Staged | null>;
  /** True when it was there; false when it was already gone. */
  remove(ref: Json, options?: CallOptions): Promise<boolean>;
}

/** A create that is to be made, or that may have been made: as it was committed before its call. */
export interface CreateIntent {
  readonly mark: BatchMark;
  /** Null where nothing is staged: then the spool file is the body. */
  readonly staged: Json | null;
  readonly baseline: Json | null;
  readonly spool: SpoolFile;
  readonly requests: number;
  readonly model: string;
}

export interface CreatedBatch extends ProviderBatch {
  /** True: made from `intent.staged`, or nothing is staged. False: by an earlier create of the same batch, from earlier input. */
  readonly isOfThisCreate: boolean;
}

export interface FoundBatches {
  /** Made for this intent's batch: by a mark, a staged input, or whatever else proves it. Newest first. */
  readonly certain: readonly CreatedBatch[];
  /** They may be, by circumstance: time and number of requests. Oldest first. */
  readonly possible: readonly ProviderBatch[];
  /** Why "not found" proves nothing: entries that do not say whose they are, by field and value. Empty: the list is whole. */
  readonly doubts: readonly string[];
}

/** The promise of an adapter as data: how a create whose reply was lost is found, and whether it can be made harmless. */
export interface Recovery {
  /**
   * `token`: the same create with the same token has no second effect. `name`: our uuid stands in the list. `input`: the staged input does.
   * `circumstance`: nothing of ours does; time and number of requests hint, results prove.
   */
  readonly find: "token" | "name" | "input" | "circumstance";
  /** Removing the staged input makes a create harmless that was not found: `recorded` of the live service, `tried` without proof, or there is nothing to remove. */
  readonly fence: "recorded" | "tried" | "none";
  /** Nobody else creates batches in the account. Only circumstance asks. */
  readonly exclusive: boolean;
}

export interface ProviderLimits {
  readonly requestsMin: number;
  readonly requestsMax: number;
  /** Of the whole input, its frame included. */
  readonly bytesMax: number;
  /** All requests of a batch ask one model. */
  readonly oneModel: boolean;
  /** After how long a batch has ended, from its creation. */
  readonly windowHours: number;
  /** How long results can be read after the end. */
  readonly resultsKeptHours: number;
}

/** What stands around and between the lines of a batch's input. */
export interface Frame {
  readonly head: string;
  readonly separator: string;
  readonly tail: string;
}

/** One JSON value a line: each ends with a line feed. */
export const LINES: Frame = { head: "", separator: "\n", tail: "\n" };

/** What one try may have of its own: it never shapes the fingerprint. */
export interface Attempt {
  /** Output tokens. */
  readonly maxOutputTokens: number;
  /** What was wrong with the answer before, told to the model; null: nothing is. */
  readonly told: string | null;
  readonly model: string;
}

export interface Encoded {
  /** Without anything around it; no line feed inside. */
  readonly line: string;
  /** 32 hexadecimal digits: equal for equal questions of a definition, whatever a try had of its own. */
  readonly fingerprint: string;
  /** Input tokens that the model will read, at most. */
  readonly boundTokens: number;
}

/** Pure; the body is serialised once. */
export type Encoder = (customId: string, question: Question, attempt: Attempt) => Encoded;

/** What every request of a pipeline shares. */
export type RequestShape = Omit<ModelRequest, keyof Question> & {
  /** Upper bound for tokens per byte of ASCII text: by a sample of prompts; schema and system text may be denser. 1: nothing is known. */
  readonly tokensPerByte: number;
};

/** How the reading of results ended. Complete: everything that the provider ever had was read, so a request that no line names has no answer. */
export interface ResultsEnd {
  readonly complete: boolean;
  /** Lines read, of all parts, broken ones included. */
  readonly lines: number;
  /** Parts that the provider does not have any more, in words: `file file-abc`. They do not come back. */
  readonly gone: readonly string[];
  /** Why a part was not read to its end, and never will be; null: each was. */
  readonly unread: string | null;
  /** What it counts and does not show yet: not complete then; null: nothing. `isPaid`: answers, not failures alone. */
  readonly pending: { readonly text: string; readonly isPaid: boolean } | null;
  /** `batch.refs`, with what was learned while reading: the ledger keeps it from now on. */
  readonly refs: Json;
}

export type Results = AsyncGenerator<AnswerOutcome, ResultsEnd>;

export interface ResultsOptions extends CallOptions {
  /** Requests in the batch. Bounds what is read: far more lines end the reading with `unread`. */
  readonly requests: number;
}

/** One request of a batch's input, as other code may have written it. */
export interface InputLine {
  /** Null: it names no request, or cannot be read. */
  readonly customId: string | null;
  readonly bytes: number;
  readonly endpoint: string | null;
  readonly model: string | null;
  /** Of what was asked; null: it does not say. */
  readonly fingerprint: string | null;
  /** The most tokens that the answer may have; null: it does not say. */
  readonly room: number | null;
}

/** Capability: what a batch asked that this ledger did not make, for `adopt` and for a restored database. */
export interface Inputs {
  /** @throws ProviderError `notFound` when the input is gone. */
  read(batch: BatchRef, options?: CallOptions): AsyncIterable<InputLine>;
  /** What of an ended batch can still be read: its input, any part of its results; and the parts that are gone, in words. */
  kept(
    batch: BatchRef,
    options?: CallOptions,
  ): Promise<{ readonly input: boolean; readonly results: boolean; readonly gone: readonly string[] }>;
}

/** Of one parameter of the config. */
export interface ParameterProblem {
  /** On the wire. */
  readonly name: string;
  /** What is wrong and what to write instead. */
  readonly problem: string;
}

/** What a vendor's API takes, and what it costs. Needs no key, and calls nobody. */
export interface Dialect {
  /** One lower-case word, as stored on the batch and shown by `status`. */
  readonly name: string;
  /** The vendor as people write it. */
  readonly title: string;
  /** One of its models, for examples. */
  readonly exampleModel: string;
  /** Which of the vendor's ways of asking, as a path: part of every fingerprint. */
  readonly endpoint: string;
  readonly limits: ProviderLimits;
  readonly recovery: Recovery;
  readonly frame: Frame;
  encoder(shape: RequestShape): Encoder;
  /** Counts the tokens of a text as a model does, or nearly. Loads what it needs. */
  tokenizer(model: string): Promise<(text: string) => number>;
  /** By the vendor's price list at a date. */
  rates(model: string, at: Date): Rates;
  /** The name of a known model that an unknown one was probably meant for; null for a known one. */
  nearModel(model: string, at: Date): string | null;
  /** What a strict schema of an answer may not have here: each begins with the path of the field. */
  schemaProblems(schema: Json): readonly string[];
  /** Without which, in any case, in one of the messages an answer that may be any JSON object is refused; null: there is none. */
  readonly freeJsonWord: string | null;
  parameterProblems(model: string, parameters: Readonly<Record<string, Json>>): readonly ParameterProblem[];
  /** An account in words. */
  accountText(account: string): string;
  /** Environment variables, as `NAME=value`, that lead from one account to another; a secret's name stands alone. */
  accountVariables(account: string, present: string): readonly string[];
}

/** What `doctor` says of the provider. */
export interface ProviderFinding {
  readonly about: "key" | "model";
  readonly level: "ok" | "warning" | "problem";
  readonly text: string;
  /** What to do, a sentence each. */
  readonly mends: readonly string[];
}

export interface Provider extends Dialect {
  /** What a batch belongs to, without secrets. Opaque; stands on the batch. */
  readonly account: string;
  /** The longest that a create is on its way, in ms: then its call is given up, and its effect is there or never comes. */
  readonly createMs: number;
  /** Null where the input goes with the create. */
  readonly staging: Staging | null;
  /** What is needed to find a create by circumstance: asked before it, and committed with its intent. Null: nothing. */
  readonly baseline: ((options?: CallOptions) => Promise<Json>) | null;
  /** Exactly one effect, never retried. Time-out, reset and 5xx throw kind `ambiguous`. */
  create(intent: CreateIntent, options?: CallOptions): Promise<ProviderBatch>;
  /** What became of a create. `since`: seconds since the epoch, by the provider's clock. Pages bounded. */
  find(intent: CreateIntent, since: number, options?: CallOptions): Promise<FoundBatches>;
  /**
   * Batches created at or after `since`, or at a time that is not said; each once. Pages bounded: a list that does not end throws
   * `retryable`, since half a list would say "not found" of a batch that was paid for.
   */
  list(since: number, options?: CallOptions): AsyncIterable<ListedBatch>;
  /** The id is enough: `adopt` knows no more. */
  status(id: string, options?: CallOptions): Promise<ProviderBatch>;
  /** Repeatable: a batch that already ended is returned as it is. */
  cancel(id: string, options?: CallOptions): Promise<ProviderBatch>;
  /** Deletes what the provider keeps of an ended batch, one part after the other. Returns how many there were. Repeatable. */
  forget(
    kept: { readonly batch: BatchRef | null; readonly staged: Json | null },
    options?: CallOptions,
  ): Promise<number>;
  /**
   * What the provider answered, in bounded memory, its parts merged; read again from the start after a crash. A body that stalls or is cut
   * short throws `retryable`. Lines that were given stay given.
   */
  results(batch: EndedBatch, options: ResultsOptions): Results;
  /** Null: what a batch asked cannot be read back, so none can be adopted. */
  readonly inputs: Inputs | null;
  /** One live call; its `customId` says nothing. */
  readonly answer: ((request: ModelRequest, options?: CallOptions) => Promise<AnswerOutcome>) | null;
  /** Is the key accepted, are these models there? Asks once, without retries. */
  examine(models: readonly string[], options?: CallOptions): Promise<readonly ProviderFinding[]>;
  /** Does the demo model answer here, which is no language model? */
  servesDemo(options?: CallOptions): Promise<boolean>;
  /** The provider's clock at its last reply (its Date header), seconds since the epoch; null before any reply. */
  clockSeconds(): number | null;
}
