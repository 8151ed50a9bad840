/**
 * What a request may cost, from a sample of the rows that wait. Reservations take the upper bound: the highest tokens per byte
 * seen, a margin, and the full output limit. Counting every row exactly would take longer than asking (26,000 rows/s).
 */
import { formatCustomId } from "../../model/request/custom-id.js";
import { costNanoUsd, type Rates } from "../../model/provider/pricing.js";
import type { ModelRequest, TokenUsage } from "../../model/provider/outcome.js";
import type { Encoder } from "../../model/provider/provider.js";
import {
  SAMPLE_CHARACTERS_MAX,
  tokensPerByte,
  TOKENS_PER_MESSAGE,
  TOKENS_PER_REPLY,
  type TokenRatio,
} from "../../model/request/tokens.js";
import type { Queryable } from "../../postgres/database.js";
import * as arrivals from "../../store/requests/arrivals.js";
import * as estimates from "../../store/batches/estimates.js";
import * as queue from "../../store/requests/queue.js";
import { firstAttempt, type Pipeline, type WorkerContext } from "../context.js";

const SAMPLE_ROWS = 100;
/** How long one sample serves: contents of one table seldom change their nature within minutes. */
const SAMPLE_AGE_MAX_MS = 300_000;
const RATIO_MARGIN = 1.1;
/** When there is no row to look at: typical of English prose, with the margin that an unknown text needs. */
const RATIO_UNKNOWN: TokenRatio = { mean: 0.3, max: 0.6 };
const UNKNOWN_BYTES = 1_000;
/** Of the two messages, and what opens the answer. */
const FRAMING_TOKENS = 2 * TOKENS_PER_MESSAGE + TOKENS_PER_REPLY;
/** As short as any: better a line planned in vain now and then than files that are never full. */
const SHORT_ID = formatCustomId("1", 1, "0".repeat(12));

/** Upper bounds for one request of average size. */
export interface RequestBounds {
  readonly tokensEach: number;
  readonly nanoUsdEach: number;
  /** Of the average line with what separates it from the next: no bound, but what a batch file may be expected to hold of them. */
  readonly bytesEach: number;
  /** The dearest line that did not fit its reservation before; 0: none. */
  readonly tokensMost: number;
  readonly nanoUsdMost: number;
  readonly ratio: TokenRatio;
}

interface Sample {
  readonly takenAtMs: number;
  readonly definitionHash: string;
  readonly ratio: TokenRatio;
  /** UTF-8 bytes of the messages and the schema of one request. */
  readonly meanBytes: number;
  /** The upper bound of the average line's input tokens, as rendering will bound it. */
  readonly meanBound: number;
  /** UTF-8 bytes of the line, with what separates it from the next. */
  readonly meanLineBytes: number;
  readonly rows: number;
}

type Sampling = Pick<WorkerContext, "database" | "read" | "step">;

const samples = new WeakMap<Pipeline, Sample>();

/** `rates`: those of the batch that is bounded. */
export async function requestBounds(
  context: Sampling,
  pipeline: Pipeline,
  rates: Rates,
): Promise<RequestBounds> {
  const sample = await sampleOf(context, pipeline);
  const learned = await estimates.lineMaxima(context.read, pipeline.id);
  const line = lineBound({ pipeline, rates }, sample.meanBound);
  return {
    tokensEach: line.tokens,
    nanoUsdEach: line.nanoUsd,
    bytesEach: sample.meanLineBytes,
    tokensMost: learned.tokens,
    nanoUsdMost: learned.nanoUsd,
    ratio: sample.ratio,
  };
}

/** Writes a pipeline's requests. `ratio`: of tokens to bytes in its rows, for what a line may need. */
export function encoderFor(
  { provider, config, answer }: Pick<Pipeline, "provider" | "config" | "answer">,
  ratio: TokenRatio = RATIO_UNKNOWN,
): Encoder {
  const { model, parameters, maxOutputTokens } = config.request;
  const { schema } = answer;
  return provider.encoder({
    model,
    parameters,
    maxOutputTokens,
    schema,
    tokensPerByte: ratio.max * RATIO_MARGIN,
  });
}

interface Billed {
  readonly pipeline: Pipeline;
  readonly rates: Rates;
}

/** What one line may need, by its input tokens and all of the room for its answer. */
export function lineBound({ pipeline, rates }: Billed, tokens: number): { tokens: number; nanoUsd: number } {
  const usage: TokenUsage = {
    inputTokens: tokens,
    cachedInputTokens: 0,
    outputTokens: pipeline.config.request.maxOutputTokens,
  };
  return { tokens, nanoUsd: costNanoUsd(usage, rates, "batch") ?? 0 };
}

/** "At most" is when every row takes all its tries, and each answer all of its room. */
export interface Estimate {
  readonly rows: number;
  /** Of these, at most: they have arrived, and what is to be asked of them is not known yet. */
  readonly arrived: number;
  readonly tries: number;
  /** When each row is asked once. */
  readonly inputTokens: number;
  /** At most. */
  readonly outputTokens: number;
  /** At most; null: the model's price is not known. */
  readonly batchNanoUsd: number | null;
  readonly liveNanoUsd: number | null;
}

/** What all rows would cost that wait or have arrived, for the question before the first batch. */
export async function estimatePipeline(
  context: Sampling,
  pipeline: Pipeline,
  { waiting, arrived }: { readonly waiting: number; readonly arrived: number },
): Promise<Estimate> {
  const rows = Math.min(waiting + arrived, pipeline.config.limit ?? Infinity);
  const estimate = estimateOf(pipeline, await sampleOf(context, pipeline), rows);
  return { ...estimate, arrived: Math.max(0, rows - waiting) };
}

/** What it would cost to ask so many rows again, of which these keys are some: no `limit` holds them back. */
export async function estimateAgain(
  context: Sampling,
  pipeline: Pipeline,
  { rows, keys }: { rows: number; keys: readonly string[] },
): Promise<Estimate> {
  const sample = await takeSample(context, pipeline, () => Promise.resolve(keys.slice(0, SAMPLE_ROWS)));
  return estimateOf(pipeline, sample, rows);
}

function estimateOf(pipeline: Pipeline, sample: Sample, rows: number): Estimate {
  const each = Math.ceil(sample.meanBytes * sample.ratio.mean) + FRAMING_TOKENS;
  const tries = pipeline.config.attempts;
  const usage: TokenUsage = {
    inputTokens: rows * each * tries,
    cachedInputTokens: 0,
    outputTokens: rows * pipeline.config.request.maxOutputTokens * tries,
  };
  return {
    rows,
    arrived: 0,
    tries,
    inputTokens: rows * each,
    outputTokens: usage.outputTokens,
    batchNanoUsd: costNanoUsd(usage, pipeline.rates, "batch"),
    liveNanoUsd: costNanoUsd(usage, pipeline.rates, "live"),
  };
}

async function sampleOf(context: Sampling, pipeline: Pipeline): Promise<Sample> {
  const known = samples.get(pipeline);
  if (
    known &&
    known.rows > 0 &&
    known.definitionHash === pipeline.definitionHash &&
    performance.now() - known.takenAtMs < SAMPLE_AGE_MAX_MS
  )
    return known;
  const sample = await takeSample(context, pipeline, async (tx) => [
    ...(await queue.waitingSample(tx, pipeline.id, SAMPLE_ROWS)),
    ...(await arrivals.arrivedSample(tx, pipeline.id, SAMPLE_ROWS / 2)),
  ]);
  samples.set(pipeline, sample);
  return sample;
}

type SampleKeys = (tx: Queryable) => Promise<readonly string[]>;

async function takeSample(context: Sampling, pipeline: Pipeline, keysOf: SampleKeys): Promise<Sample> {
  const requests = await sampleRequests(context, pipeline, keysOf);
  const prompts = requests.map(promptOf);
  const starts = prompts.map((prompt) => prompt.slice(0, SAMPLE_CHARACTERS_MAX));
  const { model } = pipeline.config.request;
  const ratio =
    prompts.length === 0 ? RATIO_UNKNOWN : tokensPerByte(starts, await pipeline.provider.tokenizer(model));
  const encode = encoderFor(pipeline, ratio);
  const attempt = firstAttempt(pipeline.config);
  const lines = requests.map((request) => {
    const { line, boundTokens } = encode(SHORT_ID, request, attempt);
    return { bytes: Buffer.byteLength(line), boundTokens };
  });
  const separator = Buffer.byteLength(pipeline.provider.frame.separator);
  return {
    takenAtMs: performance.now(),
    definitionHash: pipeline.definitionHash,
    ratio,
    meanBytes: mean(prompts.map((prompt) => Buffer.byteLength(prompt))) ?? UNKNOWN_BYTES,
    meanBound: Math.ceil(mean(lines.map(({ boundTokens }) => boundTokens)) ?? UNKNOWN_BYTES + FRAMING_TOKENS),
    meanLineBytes: mean(lines.map(({ bytes }) => bytes + separator)) ?? UNKNOWN_BYTES,
    rows: requests.length,
  };
}

function mean(numbers: readonly number[]): number | null {
  return numbers.length === 0 ? null : numbers.reduce((sum, number) => sum + number, 0) / numbers.length;
}

/** What the model would read of one row. */
function promptOf({ system, user, schema }: ModelRequest): string {
  return [system ?? "", user, schema === null ? "" : JSON.stringify(schema)].join("\n");
}

async function sampleRequests(
  context: Sampling,
  pipeline: Pipeline,
  keysOf: SampleKeys,
): Promise<ModelRequest[]> {
  const rows = await context.step("plan.sample", () =>
    context.database.transaction(async (tx) => {
      return (await pipeline.source.readRows(tx, await keysOf(tx))).rows;
    }),
  );
  return rows.flatMap(({ cells }) => {
    const rendered = cells === null ? null : pipeline.render(cells);
    return rendered?.kind === "request" ? [rendered.request] : [];
  });
}
