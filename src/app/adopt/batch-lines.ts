/** Reads what a batch asks at its provider: its input as a stream, or its answers where that is gone. Keeps no line. */
import { RowmillError } from "../../model/errors.js";
import {
  ProviderError,
  type InputLine,
  type Inputs,
  type Provider,
  type ProviderBatch,
} from "../../model/provider/provider.js";

/** Twice what the largest known provider takes in a batch. */
const LINES_MAX = 100_000;

export interface Reading {
  readonly provider: Provider;
  readonly batch: ProviderBatch;
  readonly inputs: Inputs;
  readonly signal: AbortSignal;
}

export type BatchLine = InputLine & {
  /** Of a line of answers: the model that gave this one. */
  readonly answeredBy: string | null;
};

/** @throws RowmillError `refused` where neither can be read, or the batch has too many lines */
export async function* batchLines(reading: Reading): AsyncGenerator<BatchLine> {
  let lines = 0;
  for await (const line of anyLines(reading)) {
    if (++lines > LINES_MAX)
      throw new RowmillError(
        "refused",
        `${reading.batch.id} has more than ${LINES_MAX} lines, which no known provider accepts.`,
      );
    yield line;
  }
}

async function* anyLines({ provider, batch, inputs, signal }: Reading): AsyncGenerator<BatchLine> {
  try {
    for await (const line of inputs.read(batch, { signal })) yield { ...line, answeredBy: null };
    return;
  } catch (error) {
    if (!(error instanceof ProviderError) || error.kind !== "notFound") throw error;
    if (!batch.terminal)
      throw new RowmillError(
        "refused",
        `${batch.id} is ${batch.statusText} and its input file is gone, so Rowmill does not know yet which ` +
          "rows it asks about.",
        { cause: error, hints: ["Its answers name the rows. When the batch has ended, run this command again."] },
      );
  }
  for await (const outcome of provider.results(batch, { signal, requests: LINES_MAX })) {
    const { customId } = outcome;
    const answeredBy = "model" in outcome ? outcome.model : null;
    // All that the line holds of the question is the name.
    const bytes = Buffer.byteLength(customId ?? "") + 1;
    yield { customId, bytes, endpoint: null, model: null, fingerprint: null, room: null, answeredBy };
  }
}
