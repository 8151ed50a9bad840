/** What the suite of providers needs of a vendor's stand-in, and how it makes what the engine would give to an adapter. */
import { createHash, randomUUID } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { z } from "zod";
import { compileAnswer } from "../../src/model/answer.js";
import type { CreateIntent, Provider, RequestShape, SpoolFile } from "../../src/model/provider.js";

export type SuiteCall = "create" | "list" | "status" | "results" | "cancel";

export type SuiteFault =
  | { readonly kind: "drop" }
  | {
      readonly kind: "reply";
      readonly status: number;
      readonly body?: object | string;
      readonly headers?: Readonly<Record<string, string>>;
    }
  | { readonly kind: "cut" | "stall"; readonly afterBytes: number };

export interface SuiteChanges {
  /** Of another server: `http://127.0.0.1:PORT`. */
  readonly origin?: string;
  readonly callMs?: number;
  readonly createMs?: number;
  readonly stallMs?: number;
}

type Reply = Extract<SuiteFault, { kind: "reply" }>;

export interface ConformanceStandIn {
  /** That the adapter sends. */
  readonly key: string;
  /** One that it knows. */
  readonly model: string;
  /** At the stand-in, or at another server; backs off for no time. */
  provider(changes?: SuiteChanges): Provider;
  /** What is wrong with the next calls of that kind, before or after their effect. */
  break(call: SuiteCall, at: "before" | "after", fault: SuiteFault, times?: number): void;
  /** Nothing is wrong any more. */
  mend(): void;
  /** Batches stand still; false: they go on. */
  hold(isHeld: boolean): void;
  /** Of a batch that stands still: so many requests are answered, then its time is over. */
  expire(id: string, afterRequests: number): Promise<void>;
  /** Resolves when it has ended. */
  until(id: string): Promise<void>;
  /** Its clock is so much later from now on. */
  advance(ms: number): Promise<void>;
  nowSeconds(): number;
  /** Another client of the account makes a batch; answers its id. */
  createForeign(requests: number): Promise<string>;
  /** Makes a part of a batch's results disappear; answers how many outcomes are left. */
  losePart(id: string): Promise<number>;
  /** Creates that arrived. */
  creates(): Promise<number>;
  /** Batches that there are. */
  batches(): Promise<number>;
  /** Requests that were executed, all batches together. */
  executed(): Promise<number>;
  /** Replies in the vendor's words. */
  readonly words: {
    /** A create is refused: as much is queued as may be. Null: it has no word for it. */
    readonly capacity: Reply | null;
    /** A page of the list with these batches, which says whether there is more; null: an entry that nobody can read. */
    page(ids: readonly (string | null)[], more: boolean): Promise<Reply>;
    /** That batch with another word for its status, and a time that is none. */
    strangeBatch(id: string, word: string): Promise<Reply>;
    /** An error as the vendor words it. */
    error(message: string): object;
  };
  close(): Promise<void>;
}

export type MakeStandIn = () => Promise<ConformanceStandIn>;

export const FAR_PAST = 0;

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

  /** The custom ids of so many requests, sorted as their prompts were given. */
  ids(count: number): string[] {
    return Array.from({ length: count }, (_, index) => `${100 + index}-1-aaaaaaaaaaaa`);
  }

  async make(
    prompts: readonly string[],
    provider: Provider = this.standIn.provider(),
  ): Promise<CreateIntent> {
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

  async spool(prompts: readonly string[]): Promise<SpoolFile> {
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
    const batchId = randomUUID();
    const path = join(this.folder, `${batchId}.spool`);
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
