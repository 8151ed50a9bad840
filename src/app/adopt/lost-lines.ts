/** Reads which requests a batch of ours asks that the ledger has lost, by our own custom ids. Only reads; keeps names, never a line. */
import { RowmillError } from "../../model/errors.js";
import { parseCustomId, type CustomId } from "../../model/request/custom-id.js";
import {
  ProviderError,
  type InputLine,
  type Inputs,
  type Provider,
  type ProviderBatch,
} from "../../model/provider/provider.js";

/** Twice what the largest known provider takes in a batch. */
const LINES_MAX = 100_000;

export interface LostLine {
  readonly name: CustomId;
  readonly customId: string;
  /** Of what was asked; null: only the answer can be read, which does not say. */
  readonly fingerprint: string | null;
  /** The most tokens that the answer may have; null: only the answer can be read. */
  readonly room: number | null;
  /** 1-based, in the file that was read. */
  readonly line: number;
}

export interface LostLines {
  readonly named: readonly LostLine[];
  /** What the batch is priced by: the model that was asked, else one that gave an answer; null: no line names one. */
  readonly model: string | null;
  readonly lines: number;
  readonly bytes: number;
}

/** From the input, or from the answers where that one is gone. @throws RowmillError `refused` when neither can be read. */
export async function readLostLines(
  provider: Provider,
  { batch, inputs, signal }: { batch: ProviderBatch; inputs: Inputs; signal: AbortSignal },
): Promise<LostLines> {
  const named = new Map<string, LostLine>();
  let lines = 0;
  let bytes = 0;
  let asked: string | null = null;
  let answeredBy: string | null = null;
  for await (const line of linesOf(provider, { batch, inputs, signal })) {
    lines++;
    bytes += line.bytes;
    if (lines > LINES_MAX) throw new RowmillError("refused", `${batch.id} has more than ${LINES_MAX} lines.`);
    asked ??= line.model;
    answeredBy ??= line.answeredBy;
    const { customId, fingerprint, room } = line;
    const name = customId === null ? null : parseCustomId(customId);
    if (customId === null || name === null || named.has(name.requestId)) continue;
    named.set(name.requestId, { name, customId, fingerprint, room, line: lines });
  }
  return { named: [...named.values()], model: asked ?? answeredBy, lines, bytes };
}

type Line = InputLine & { readonly answeredBy: string | null };

async function* linesOf(
  provider: Provider,
  { batch, inputs, signal }: { batch: ProviderBatch; inputs: Inputs; signal: AbortSignal },
): AsyncGenerator<Line> {
  try {
    for await (const line of inputs.read(batch, { signal })) yield { ...line, answeredBy: null };
    return;
  } catch (error) {
    if (!(error instanceof ProviderError) || error.kind !== "notFound") throw error;
    if (!batch.terminal)
      throw new RowmillError(
        "refused",
        `${batch.id} is ${batch.statusText}, and its input file is gone, so nobody can tell yet which rows it asks about.`,
        { cause: error, hints: ["When it has ended its answers say so: give the command again then."] },
      );
  }
  yield* answeredLines(provider, batch, signal);
}

/** What a batch asked as its answers tell: names, and who answered. */
export async function* answeredLines(
  provider: Provider,
  batch: ProviderBatch,
  signal: AbortSignal,
): AsyncGenerator<Line> {
  for await (const outcome of provider.results(batch, { signal, requests: LINES_MAX })) {
    const answeredBy = "model" in outcome ? outcome.model : null;
    const { customId } = outcome;
    // What the line said beside its name is the answer's.
    const bytes = Buffer.byteLength(customId ?? "") + 1;
    yield { customId, bytes, endpoint: null, model: null, fingerprint: null, room: null, answeredBy };
  }
}
