/**
 * What a request may cost, by a sample of the waiting rows. Reservations use an upper bound: the most tokens per byte
 * seen, a margin, and the output limit that it is sent with. Counting every row exactly would take longer than asking
 * (26,000 rows/s).
 */
import { formatCustomId } from "../../model/request/custom-id.js";
import { costNanoUsd, type Rates } from "../../model/provider/pricing.js";
import { likelyOutput, outputLimit, type OutputSizes } from "../../model/request/output-limit.js";
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
import * as outputSizes from "../../store/batches/output-sizes.js";
import * as money from "../../store/batches/money.js";
import * as queue from "../../store/requests/queue.js";
import { firstAttempt, type Asking, type RowSample, type WorkerContext } from "../context.js";

export const SAMPLE_ROWS = 100;
/** How long a sample is used: the contents of a table seldom change their nature within minutes. */
const SAMPLE_AGE_MAX_MS = 300_000;
const RATIO_MARGIN = 1.1;
/** Without a row to sample: typical of English prose, with a margin for unknown text. */
const RATIO_UNKNOWN: TokenRatio = { mean: 0.3, max: 0.6 };
const UNKNOWN_BYTES = 1_000;
/** For the two messages and the start of the reply. */
const FRAMING_TOKENS = 2 * TOKENS_PER_MESSAGE + TOKENS_PER_REPLY;
/** The shortest possible: a line that is planned and does not fit costs less than files that are never full. */
const SHORT_ID = formatCustomId("1", 1, "0".repeat(12));

/** Upper bounds for one request of average size. */
export interface RequestBounds {
  readonly tokensEach: number;
  readonly nanoUsdEach: number;
  /** What the average request likely costs, which is no bound. Null: the price is unknown. */
  readonly likelyNanoUsdEach: number | null;
  /** Of the average line and its separator: no bound, but tells how many lines a batch file is likely to hold. */
  readonly bytesEach: number;
  /** Output tokens that each answer may have, as its request will say. */
  readonly room: number;
  /** The most expensive line so far that did not fit its reservation; 0: none. */
  readonly tokensMost: number;
  readonly nanoUsdMost: number;
  readonly ratio: TokenRatio;
}

type Sampling = Pick<WorkerContext, "database" | "read" | "step" | "memory">;

/** `rates`: those of the batch that is bounded. */
export async function requestBounds(context: Sampling, pipeline: Asking, rates: Rates): Promise<RequestBounds> {
  const sample = await sampleOf(context, pipeline);
  const learned = await money.lineMaxima(context.read, pipeline.id);
  return boundsOf(pipeline, { sample, learned, sizes: await sizesOf(context, pipeline), rates });
}

export interface BoundsFacts {
  readonly sample: RowSample;
  /** The most expensive line so far that did not fit its reservation. */
  readonly learned: { readonly tokens: number; readonly nanoUsd: number };
  /** Null before the definition's first answer. */
  readonly sizes: OutputSizes | null;
  readonly rates: Rates;
}

/** Pure. */
export function boundsOf(
  { config, answer }: Pick<Asking, "config" | "answer">,
  { sample, learned, sizes, rates }: BoundsFacts,
): RequestBounds {
  const room = outputLimit(sizes, config.request);
  const line = lineBound(rates, { tokens: sample.meanBound, room });
  const likely = likelyUsage({ config, answer }, sample, sizes);
  return {
    tokensEach: line.tokens,
    nanoUsdEach: line.nanoUsd,
    likelyNanoUsdEach: costNanoUsd({ ...likely, cachedInputTokens: 0 }, rates, "batch"),
    bytesEach: sample.meanLineBytes,
    room,
    tokensMost: learned.tokens,
    nanoUsdMost: learned.nanoUsd,
    ratio: sample.ratio,
  };
}

/** Writes a pipeline's requests. `ratio`: tokens per byte of its rows, for the lines' token bounds. */
export function encoderFor(
  { provider, config, answer }: Pick<Asking, "provider" | "config" | "answer">,
  ratio: TokenRatio = RATIO_UNKNOWN,
): Encoder {
  const { model, parameters, maxOutputTokens } = config.request;
  const { schema } = answer;
  return provider.encoder({ model, parameters, maxOutputTokens, schema, tokensPerByte: ratio.max * RATIO_MARGIN });
}

function sizesOf({ read }: Pick<Sampling, "read">, { config, definitionHash }: Asking): Promise<OutputSizes | null> {
  return outputSizes.sizesOf(read, { pipeline: config.name, definitionHash });
}

/** What one line may need: its input tokens, and all the room for its answer. */
export function lineBound(rates: Rates, { tokens, room }: { readonly tokens: number; readonly room: number }) {
  const usage: TokenUsage = { inputTokens: tokens, cachedInputTokens: 0, outputTokens: room };
  return { tokens, nanoUsd: costNanoUsd(usage, rates, "batch") ?? 0 };
}

/** Likely: each row is asked once. The cap: every row takes all its tries, and every answer its whole output limit. */
export interface Estimate {
  readonly rows: number;
  /** At most this many of them have arrived and were not looked at yet. */
  readonly arrived: number;
  readonly tries: number;
  /** How many past answers the likely output is the mean of; 0: it is guessed from the schema. */
  readonly answersCounted: number;
  /** Likely. */
  readonly inputTokens: number;
  readonly outputTokens: number;
  /** Null, as the other costs: the price of the model is unknown. */
  readonly likelyNanoUsd: number | null;
  readonly capNanoUsd: number | null;
  /** What live requests would likely cost. */
  readonly liveNanoUsd: number | null;
}

/** What all rows that wait or have arrived would cost, for the question before the first batch. */
export async function estimatePipeline(
  context: Sampling,
  pipeline: Asking,
  { waiting, arrived }: { readonly waiting: number; readonly arrived: number },
): Promise<Estimate> {
  const rows = Math.min(waiting + arrived, pipeline.config.limit ?? Infinity);
  const sizes = await sizesOf(context, pipeline);
  const estimate = estimateOf(pipeline, { sample: await sampleOf(context, pipeline), sizes, rows });
  return { ...estimate, arrived: Math.max(0, rows - waiting) };
}

/** What it would cost to send this many rows again; `keys` are some of them. No `limit` applies. */
export async function estimateAgain(
  context: Sampling,
  pipeline: Asking,
  { rows, keys }: { rows: number; keys: readonly string[] },
): Promise<Estimate> {
  const sample = await takeSample(context, pipeline, () => Promise.resolve(keys.slice(0, SAMPLE_ROWS)));
  return estimateOf(pipeline, { sample, sizes: await sizesOf(context, pipeline), rows });
}

/** Of the average request. */
function likelyUsage(
  { config: { request }, answer }: Pick<Asking, "config" | "answer">,
  sample: RowSample,
  sizes: OutputSizes | null,
): Pick<TokenUsage, "inputTokens" | "outputTokens"> {
  return {
    inputTokens: Math.ceil(sample.meanBytes * sample.ratio.mean) + FRAMING_TOKENS,
    outputTokens: Math.ceil(likelyOutput(sizes, answer.schema, request)),
  };
}

/** What this many rows like those of the sample would cost. Pure. */
export function estimateOf(
  { config, answer, rates }: Asking,
  { sample, sizes, rows }: { readonly sample: RowSample; readonly sizes: OutputSizes | null; readonly rows: number },
): Estimate {
  const { request, attempts: tries } = config;
  const likely = likelyUsage({ config, answer }, sample, sizes);
  // Per row: prices may have steps by the tokens of one request.
  const cost = (usage: Pick<TokenUsage, "inputTokens" | "outputTokens">, tier: "batch" | "live") => {
    const each = costNanoUsd({ ...usage, cachedInputTokens: 0 }, rates, tier);
    return each === null ? null : each * rows;
  };
  const cap = cost({ inputTokens: sample.meanBound, outputTokens: request.maxOutputTokens }, "batch");
  return {
    rows,
    arrived: 0,
    tries,
    answersCounted: sizes?.answers ?? 0,
    inputTokens: rows * likely.inputTokens,
    outputTokens: Math.round(rows * likelyOutput(sizes, answer.schema, request)),
    likelyNanoUsd: cost(likely, "batch"),
    capNanoUsd: cap === null ? null : cap * tries,
    liveNanoUsd: cost(likely, "live"),
  };
}

async function sampleOf(context: Sampling, pipeline: Asking): Promise<RowSample> {
  const known = context.memory.samples.get(pipeline);
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
  context.memory.samples.set(pipeline, sample);
  return sample;
}

type SampleKeys = (tx: Queryable) => Promise<readonly string[]>;

async function takeSample(context: Sampling, pipeline: Asking, keysOf: SampleKeys): Promise<RowSample> {
  return measureRequests(pipeline, await sampleRequests(context, pipeline, keysOf));
}

/** Calls no one: a provider counts tokens here. */
export async function measureRequests(pipeline: Asking, requests: readonly ModelRequest[]): Promise<RowSample> {
  const prompts = requests.map(promptOf);
  const starts = prompts.map((prompt) => prompt.slice(0, SAMPLE_CHARACTERS_MAX));
  const { model } = pipeline.config.request;
  const ratio = prompts.length === 0 ? RATIO_UNKNOWN : tokensPerByte(starts, await pipeline.provider.tokenizer(model));
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

/** What the model reads for one row. */
export function promptOf({ system, user, schema }: ModelRequest): string {
  return [system ?? "", user, schema === null ? "" : JSON.stringify(schema)].join("\n");
}

async function sampleRequests(context: Sampling, pipeline: Asking, keysOf: SampleKeys): Promise<ModelRequest[]> {
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
