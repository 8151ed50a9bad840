/** Reads which rows a batch of other code asks about. Keeps names and keys in memory, never a line. Only reads. */
import { RowmillError } from "../../model/errors.js";
import { compileCustomIdPattern, type CustomIdPattern } from "../../model/request/custom-id-pattern.js";
import { READ_KEYS_MAX } from "../../sources/source.js";
import type { Pipeline, WorkerContext } from "../../worker/context.js";
import { spellKeys } from "../story/row-key.js";
import { batchLines, type BatchLine, type Reading } from "./batch-lines.js";
import type { TakenLine } from "./take-over.js";

/** Enough to show that the batch asked another model. */
const MODELS_MAX = 5;

export interface NamedLine extends TakenLine {
  /** In the ledger's spelling. */
  readonly key: string;
}

export interface NamedLines {
  /** One for each row, in the order of the file. */
  readonly named: readonly NamedLine[];
  readonly lines: number;
  readonly bytes: number;
  /** Lines whose name does not fit the pattern, or in more than one way, or names no possible key. */
  readonly unreadable: number;
  /** The first of those names, to show. */
  readonly unreadableExample: string | null;
  /** Further lines about a row that an earlier line names. */
  readonly repeated: number;
  /** Models that the lines ask for; none where only the answers could be read. */
  readonly models: readonly string[];
  /** The one model that its lines ask for, else one that gave an answer; null: no line names one. */
  readonly model: string | null;
}

/** @throws RowmillError `usage` for an unusable pattern, `refused` for a batch that this pipeline cannot read */
export async function readNamedLines(
  context: WorkerContext,
  pipeline: Pipeline,
  { pattern, ...reading }: Omit<Reading, "provider"> & { readonly pattern: string },
): Promise<NamedLines> {
  const tally = new Tally(pipeline, compileCustomIdPattern(pattern, pipeline.table.key));
  for await (const line of batchLines({ ...reading, provider: pipeline.provider })) tally.take(line);
  const keys: (string | null)[] = [];
  for (let start = 0; start < tally.parts.length; start += READ_KEYS_MAX) {
    const chunk = tally.parts.slice(start, start + READ_KEYS_MAX).map(({ parts }) => parts);
    keys.push(...(await context.database.transaction((tx) => spellKeys(tx, pipeline.table, chunk))));
  }
  return tally.finish(keys);
}

class Tally {
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

  take({ customId, bytes, endpoint, model, room, answeredBy }: BatchLine): void {
    this.#lines++;
    this.#bytes += bytes;
    if (customId === null) return this.#refuseName(null);
    this.#requireEndpoint(endpoint);
    if (model !== null && this.#models.size < MODELS_MAX) this.#models.add(model);
    this.#answeredBy ??= answeredBy;
    const parts = this.#pattern.read(customId);
    if (parts === null) this.#refuseName(customId);
    // You confirmed that the batch asks what the pipeline asks now.
    else this.parts.push({ customId, fingerprint: null, room, line: this.#lines, parts });
  }

  finish(keys: readonly (string | null)[]): NamedLines {
    const byKey = new Map<string, NamedLine>();
    let repeated = 0;
    for (const [index, { parts: _, ...line }] of this.parts.entries()) {
      const key = keys[index] ?? null;
      if (key === null) this.#refuseName(line.customId);
      else if (byKey.has(key)) repeated++;
      else byKey.set(key, { ...line, key });
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
      `The batch asks ${url}, but this pipeline asks ${endpoint} and could not read the answers.`,
    );
  }
}
