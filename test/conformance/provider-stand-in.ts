/**
 * What the suite of providers needs of a vendor's stand-in, and how it makes what the engine would give to an
 * adapter. `fault-proxy.ts` does `break`, `fix` and `creates` for any server, `answerBySchema` of
 * `test/support/plain-answers.ts` the answers.
 */
import { createHash, randomUUID } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { z } from "zod";
import { compileAnswer } from "../../src/model/answer/answer.js";
import type { AnswerOutcome } from "../../src/model/provider/outcome.js";
import type {
  CreateIntent,
  Provider,
  ProviderBatch,
  RequestShape,
  ResultsEnd,
  SpoolFile,
} from "../../src/model/provider/provider.js";

export type SuiteCall = "create" | "list" | "status" | "results" | "cancel";

export type SuiteFault =
  /** The connection is closed without a reply. */
  | { readonly kind: "drop" }
  /** This reply instead of the true one. Default of `body`: an empty JSON object. */
  | {
      readonly kind: "reply";
      readonly status: number;
      readonly body?: object | string;
      readonly headers?: Readonly<Record<string, string>>;
    }
  /**
   * The headers announce the whole body; after this many bytes of it the connection is closed, or stays open and
   * silent.
   */
  | { readonly kind: "cut" | "stall"; readonly afterBytes: number };

export interface SuiteChanges {
  /** Of another server: `http://127.0.0.1:PORT`. */
  readonly origin?: string;
  /** The longest that a whole small call may take. */
  readonly callMs?: number;
  /** The same of a create. */
  readonly createMs?: number;
  /** The longest between two chunks of results. */
  readonly stallMs?: number;
}

type Reply = Extract<SuiteFault, { kind: "reply" }>;

/** A batch's id; `untold`: this batch, with none of the fields that tell whose it is; null: an entry without an id. */
export type SuiteEntry = string | { readonly untold: string } | null;

/** What one answer cost, each token in one of these only. A vendor may add some of them up. */
export interface SuiteTokens {
  readonly uncachedInput: number;
  readonly cachedInput: number;
  readonly shownOutput: number;
  readonly reasoning: number;
}

/**
 * A server as the vendor has it. It runs each batch at once unless it is held, answers by the request's schema, and
 * knows these words in a prompt: `[[demo:refuse]]`, `[[demo:truncate]]`, `[[demo:empty]]`, and `[[demo:error 429]]`,
 * `500` or `400` for an outcome that is
 * `rateLimited`, `transient` or `permanent`.
 */
export interface ConformanceStandIn {
  /** The key that the adapter sends. */
  readonly key: string;
  /** A model that it knows, with a price and a hyphen in its name. */
  readonly model: string;
  /** A new adapter at the stand-in, or at another server. It waits no time, or 1 ms, before a retry. */
  provider(changes?: SuiteChanges): Provider;
  /**
   * Breaks the next calls of that kind. `before`: they have no effect; `after`: they have it, and the reply is
   * broken. Faults queue up.
   */
  break(call: SuiteCall, at: "before" | "after", fault: SuiteFault, times?: number): void;
  /** Nothing is wrong any more. */
  fix(): void;
  /** All batches stand still, also those that are created later; false: they continue. */
  hold(isHeld: boolean): void;
  /** Ends a batch that stands still: this many of its requests are answered, the others expire. */
  expire(id: string, afterRequests: number): Promise<void>;
  /** Resolves when the batch has ended, at once if it has already. */
  until(id: string): Promise<void>;
  /** Its clock, with which it dates batches and replies (the Date header), is so much later from now on. */
  advance(ms: number): Promise<void>;
  /** That clock, in seconds since the epoch. */
  nowSeconds(): number;
  /** Another client of the account makes a batch of this many requests, with no name of ours; answers its id. */
  createForeign(requests: number): Promise<string>;
  /**
   * Deletes the part of an ended batch's results that has the answers; answers how many outcomes its other parts
   * have.
   */
  losePart(id: string): Promise<number>;
  /** Calls of create that arrived, broken ones included; not those of `createForeign`. */
  creates(): Promise<number>;
  /** Batches that were created. */
  batches(): Promise<number>;
  /** Requests that the model was asked, all batches together. */
  executed(): Promise<number>;
  /**
   * The ids of everything at the vendor that a client can delete: inputs, parts of results, and batches if it can
   * delete those.
   */
  lying(): Promise<readonly string[]>;
  /** What the vendor shows; without it, the tests that need it are skipped. */
  readonly shows: {
    /** A list of uploads. */
    readonly uploads: boolean;
    /** With a batch, of which upload it was made. */
    readonly input: boolean;
    /** With an answer, how many of its input tokens were cached. */
    readonly cached: boolean;
  };
  /** Replies in the vendor's words. */
  readonly words: {
    /** A create is refused: as much is queued as may be. Null: it has no word for it. */
    readonly capacity: Reply | null;
    /** A page of the list with these entries, which says whether there is more, after the last of them. */
    page(entries: readonly SuiteEntry[], more: boolean): Promise<Reply>;
    /** The reply to `status`: that batch with this word for its status, and a creation time that cannot be read. */
    strangeBatch(id: string, word: string): Promise<Reply>;
    /**
     * Replies to `status` of a batch that has ended with answers and failures: it counts them all, and some of its
     * parts, or all, have no name yet. A reply for each set of parts. Empty: results are found by the batch's id, or
     * have a name as soon as it has ended.
     */
    unnamed(id: string): Promise<readonly Reply[]>;
    /** A line of the results: an answer that cost this, in the vendor's way of counting. */
    answer(customId: string, tokens: SuiteTokens): string;
    /** The body of an error with this message. */
    error(message: string): object;
  };
  close(): Promise<void>;
}

export type MakeStandIn = () => Promise<ConformanceStandIn>;

export const FAR_PAST = 0;

/** Why a test is skipped. */
export const UNSHOWN = "a batch does not show of which upload it was made";

export const answer = compileAnswer(
  z.object({
    categories: z.array(z.string()),
    summary: z.string(),
    mood: z.enum(["light", "dark"]).optional(),
  }),
);

export function shapeOf(model: string): RequestShape {
  return { model, maxOutputTokens: 200, parameters: {}, schema: answer.schema, tokensPerByte: 1 };
}

/** Makes intents as the stages do: renders, writes the spool file, stages, asks for the baseline. */
export class Intents {
  readonly folder: string;
  private readonly standIn: ConformanceStandIn;
  private readonly deployment = randomUUID();

  private constructor(standIn: ConformanceStandIn, folder: string) {
    this.standIn = standIn;
    this.folder = folder;
  }

  static async begin(standIn: ConformanceStandIn): Promise<Intents> {
    return new Intents(standIn, await mkdtemp(join(tmpdir(), "rowmill-provider-")));
  }

  end(): Promise<void> {
    return rm(this.folder, { recursive: true, force: true });
  }

  /** The custom ids of this many requests, sorted as their prompts were given. */
  ids(count: number): string[] {
    return Array.from({ length: count }, (_, index) => `${100 + index}-1-aaaaaaaaaaaa`);
  }

  async make(prompts: readonly string[], provider: Provider = this.standIn.provider()): Promise<CreateIntent> {
    const { model } = this.standIn;
    const spool = await this.spool(prompts);
    const staged = (await provider.staging?.send(spool)) ?? null;
    return {
      mark: {
        deployment: this.deployment,
        batch: spool.batchId,
        pipeline: "films",
        definition: "0123456789abcdef",
      },
      staged: staged?.ref ?? null,
      baseline: (await provider.baseline?.()) ?? null,
      spool,
      requests: prompts.length,
      model,
    };
  }

  /** `batchId`: of a batch that had another spool file before. */
  async spool(prompts: readonly string[], batchId: string = randomUUID()): Promise<SpoolFile> {
    const { model } = this.standIn;
    const provider = this.standIn.provider();
    const encode = provider.encoder(shapeOf(model));
    const attempt = { maxOutputTokens: 200, told: null, model };
    const ids = this.ids(prompts.length);
    const lines = prompts.map(
      (user, index) => encode(ids[index] ?? "", { system: "Label films.", user }, attempt).line,
    );
    const { head, separator, tail } = provider.frame;
    // Where a line ends as it is separated, so does the last one.
    const text = `${head}${lines.join(separator)}${tail === "" ? separator : tail}`;
    const path = join(this.folder, `${randomUUID()}.spool`);
    await writeFile(path, text);
    const sha256 = createHash("sha256").update(text).digest("hex");
    return { batchId, path, bytes: Buffer.byteLength(text), sha256 };
  }
}

/** What each test of the suite has. */
export interface At {
  readonly standIn: ConformanceStandIn;
  readonly intents: Intents;
}

export async function created(at: At, prompts: readonly string[], provider = at.standIn.provider()) {
  const intent = await at.intents.make(prompts);
  return { provider, intent, batch: await provider.create(intent) };
}

export async function ended(at: At, prompts: readonly string[], provider = at.standIn.provider()) {
  const { batch, intent } = await created(at, prompts, provider);
  await at.standIn.until(batch.id);
  return { provider, intent, batch: await provider.status(batch.id) };
}

export interface ReadResults {
  readonly outcomes: AnswerOutcome[];
  readonly end: ResultsEnd;
}

export async function readAll(
  provider: Provider,
  batch: Pick<ProviderBatch, "id" | "refs" | "counts">,
  { requests = batch.counts?.total ?? 0, seen = [] as AnswerOutcome[] } = {},
): Promise<ReadResults> {
  const results = provider.results(batch, { requests });
  for (;;) {
    const next = await results.next();
    if (next.done === true) return { outcomes: seen, end: next.value };
    seen.push(next.value);
  }
}

export async function drained(entries: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of entries) void _;
}

export const kinds = (outcomes: readonly AnswerOutcome[]) => outcomes.map(({ kind }) => kind).sort();
