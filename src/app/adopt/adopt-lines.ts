/**
 * Reads which rows a batch of other code asked about: its input file as a stream, or where that is gone the answers. Keeps names and
 * keys in memory, never a line. Only reads.
 */
import { RowmillError } from "../../model/errors.js";
import { compileCustomIdPattern, type CustomIdPattern } from "../../model/request/custom-id-pattern.js";
import {
  ProviderError,
  type InputLine,
  type Inputs,
  type ProviderBatch,
} from "../../model/provider/provider.js";
import { READ_KEYS_MAX } from "../../sources/source.js";
import type { Pipeline, WorkerContext } from "../../worker/context.js";
import { answeredLines } from "./lost-lines.js";
import { spellKeys } from "../story/row-key.js";

/** Twice what the largest known provider takes in a batch. */
const LINES_MAX = 100_000;
/** Enough to tell a person that the batch asked another model. */
const MODELS_MAX = 5;

export interface NamedLine {
  readonly customId: string;
  /** In the ledger's spelling. */
  readonly key: string;
  /** The most tokens that the answer may have; null: it is not said. */
  readonly room: number | null;
  /** 1-based. */
  readonly line: number;
}

export interface NamedLines {
  /** One for each row, in the order of the file. */
  readonly named: readonly NamedLine[];
  readonly lines: number;
  readonly bytes: number;
  /** Lines whose name does not fit the pattern, or not in one way only, or names no possible key. */
  readonly unreadable: number;
  /** The first of those names, to show. */
  readonly unreadableExample: string | null;
  /** Further lines about a row that an earlier line names. */
  readonly repeated: number;
  /** Models that the lines ask for; none where only the answers could be read. */
  readonly models: readonly string[];
  /** What the batch is priced by: the one model that its lines ask for, else one that gave an answer; null: no line names one. */
  readonly model: string | null;
}

/** @throws RowmillError `usage` for a pattern that cannot be used, `refused` for a batch that this pipeline cannot read. */
export async function readNamedLines(
  context: WorkerContext,
  pipeline: Pipeline,
  wanted: { batch: ProviderBatch; inputs: Inputs; pattern: string; signal: AbortSignal },
): Promise<NamedLines> {
  const pattern = compileCustomIdPattern(wanted.pattern, pipeline.table.key);
  const reading = new Reading(pipeline, pattern);
  for await (const line of linesOf(pipeline, wanted)) reading.take(line);
  const keys: (string | null)[] = [];
  for (let start = 0; start < reading.parts.length; start += READ_KEYS_MAX) {
    const chunk = reading.parts.slice(start, start + READ_KEYS_MAX);
    keys.push(
      ...(await context.database.transaction((tx) =>
        spellKeys(
          tx,
          pipeline.table,
          chunk.map(({ parts }) => parts),
        ),
      )),
    );
  }
  return reading.finish(keys);
}

/** What one line says of its request. */
type Line = Pick<InputLine, "customId" | "bytes" | "endpoint" | "model" | "room"> & {
  /** Of a line of answers: the model that gave this one. */
  readonly answeredBy: string | null;
};

async function* linesOf(
  { provider }: Pipeline,
  { batch, inputs, signal }: { batch: ProviderBatch; inputs: Inputs; signal: AbortSignal },
): AsyncGenerator<Line> {
  try {
    for await (const line of inputs.read(batch, { signal })) yield { ...line, answeredBy: null };
    return;
  } catch (error) {
    if (!(error instanceof ProviderError) || error.kind !== "notFound") throw error;
    if (!batch.terminal) {
      throw new RowmillError(
        "refused",
        `The input file of ${batch.id} is gone, so nobody can tell which rows it asks about.`,
        {
          cause: error,
          hints: ["When the batch has ended its answers say so: adopt it then."],
        },
      );
    }
  }
  yield* answeredLines(provider, batch, signal);
}

class Reading {
  readonly parts: (Omit<NamedLine, "key"> & { readonly parts: readonly string[] })[] = [];
  readonly #pipeline: Pipeline;
  readonly #pattern: CustomIdPattern;
  readonly #models = new Set<string>();
  #answeredBy: string | null = null;
  #lines = 0;
  #bytes = 0;
  #unreadable = 0;
  #unreadableExample: string | null = null;

  constructor(pipeline: Pipeline, pattern: CustomIdPattern) {
    this.#pipeline = pipeline;
    this.#pattern = pattern;
  }

  take({ customId, bytes, endpoint, model, room, answeredBy }: Line): void {
    this.#lines++;
    this.#bytes += bytes;
    if (this.#lines > LINES_MAX)
      throw new RowmillError(
        "refused",
        `The batch has more than ${LINES_MAX} lines, which no known provider takes.`,
      );
    if (customId === null) return this.#refuseName(null);
    this.#requireEndpoint(endpoint);
    if (model !== null && this.#models.size < MODELS_MAX) this.#models.add(model);
    this.#answeredBy ??= answeredBy;
    const parts = this.#pattern.read(customId);
    if (parts === null) this.#refuseName(customId);
    else this.parts.push({ customId, room, line: this.#lines, parts });
  }

  finish(keys: readonly (string | null)[]): NamedLines {
    const byKey = new Map<string, NamedLine>();
    let repeated = 0;
    for (const [index, { customId, room, line }] of this.parts.entries()) {
      const key = keys[index] ?? null;
      if (key === null) this.#refuseName(customId);
      else if (byKey.has(key)) repeated++;
      else byKey.set(key, { customId, key, room, line });
    }
    return {
      named: [...byKey.values()],
      lines: this.#lines,
      bytes: this.#bytes,
      unreadable: this.#unreadable,
      unreadableExample: this.#unreadableExample,
      repeated,
      models: [...this.#models],
      model: [...this.#models][0] ?? this.#answeredBy,
    };
  }

  #refuseName(customId: string | null): void {
    this.#unreadable++;
    this.#unreadableExample ??= customId;
  }

  #requireEndpoint(url: string | null): void {
    const { endpoint } = this.#pipeline.provider;
    if (url === null || url === endpoint) return;
    throw new RowmillError(
      "refused",
      `The batch asks ${url}, and this pipeline asks ${endpoint}: it could not read the answers.`,
    );
  }
}
