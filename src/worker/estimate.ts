/**
 * What a request may cost, from a sample of the rows that wait. Reservations take the upper bound: the highest tokens per byte
 * seen, a margin, and the full output limit. Counting every row exactly would take longer than asking (26,000 rows/s).
 */
import { formatCustomId } from "../model/custom-id.js";
import { costNanoUsd } from "../model/pricing.js";
import type { TokenUsage } from "../model/outcome.js";
import {
  inputTokenBound,
  tokensPerByte,
  TOKENS_PER_MESSAGE,
  TOKENS_PER_REPLY,
  type TokenRatio,
} from "../model/tokens.js";
import { lineMaxima, waitingSample } from "../store/estimates.js";
import type { Pipeline, WorkerContext } from "./context.js";

const SAMPLE_ROWS = 100;
/** How long one sample serves: contents of one table seldom change their nature within minutes. */
const SAMPLE_AGE_MAX_MS = 300_000;
const RATIO_MARGIN = 1.1;
/** When there is no row to look at: typical of English prose, with the margin that an unknown text needs. */
const RATIO_UNKNOWN: TokenRatio = { mean: 0.3, max: 0.6 };
const UNKNOWN_BYTES = 1_000;
/** As short as any: better a line planned in vain now and then than files that are never full. */
const SHORT_ID = formatCustomId("1", 1, "0".repeat(12));

/** Upper bounds for one request of average size. */
export interface RequestBounds {
  readonly tokensEach: number;
  readonly nanoUsdEach: number;
  /** Of the average line with its line feed: no bound, but what a batch file may be expected to hold of them. */
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
  /** UTF-8 bytes of the line in a batch file, with its line feed. */
  readonly meanLineBytes: number;
  readonly rows: number;
}

type Sampling = Pick<WorkerContext, "database" | "read" | "step">;

const samples = new WeakMap<Pipeline, Sample>();

export async function requestBounds(context: Sampling, pipeline: Pipeline): Promise<RequestBounds> {
  const sample = await sampleOf(context, pipeline);
  const learned = await lineMaxima(context.read, pipeline.id);
  const line = bounds(pipeline, sample.meanBound);
  return {
    tokensEach: line.tokens,
    nanoUsdEach: line.nanoUsd,
    bytesEach: sample.meanLineBytes,
    tokensMost: learned.tokens,
    nanoUsdMost: learned.nanoUsd,
    ratio: sample.ratio,
  };
}

/** Bounds of one line by the size of what the model reads. */
export function boundLine(
  pipeline: Pipeline,
  prompt: string,
  ratio: TokenRatio,
): { tokens: number; nanoUsd: number } {
  return bounds(pipeline, inputBound(prompt, ratio));
}

function inputBound(prompt: string, ratio: TokenRatio): number {
  const ascii = asciiCharacters(prompt);
  // Beyond ASCII the sample says little about this text: a token a byte is the most that any text can need.
  return inputTokenBound(ascii, ratio.max * RATIO_MARGIN) + Buffer.byteLength(prompt) - ascii;
}

function asciiCharacters(text: string): number {
  if (Buffer.byteLength(text) === text.length) return text.length;
  let count = 0;
  for (let index = 0; index < text.length; index++) if (text.charCodeAt(index) < 0x80) count++;
  return count;
}

function bounds(pipeline: Pipeline, inputTokens: number): { tokens: number; nanoUsd: number } {
  const tokens = inputTokens + 2 * TOKENS_PER_MESSAGE + TOKENS_PER_REPLY;
  const usage: TokenUsage = {
    inputTokens: tokens,
    cachedInputTokens: 0,
    outputTokens: pipeline.config.request.maxOutputTokens,
  };
  return { tokens, nanoUsd: costNanoUsd(usage, pipeline.price, "batch") ?? 0 };
}

export interface Estimate {
  readonly rows: number;
  readonly inputTokens: number;
  /** At most: the output limit of every request. */
  readonly outputTokens: number;
  /** At most; null: the model's price is not known. */
  readonly batchNanoUsd: number | null;
  readonly liveNanoUsd: number | null;
}

/** What all waiting rows would cost, for the question before the first batch. */
export async function estimatePipeline(
  context: Sampling,
  pipeline: Pipeline,
  waiting: number,
): Promise<Estimate> {
  const sample = await sampleOf(context, pipeline);
  const rows = Math.min(waiting, pipeline.config.limit ?? waiting);
  const each = Math.ceil(sample.meanBytes * sample.ratio.mean) + 2 * TOKENS_PER_MESSAGE + TOKENS_PER_REPLY;
  const usage: TokenUsage = {
    inputTokens: rows * each,
    cachedInputTokens: 0,
    outputTokens: rows * pipeline.config.request.maxOutputTokens,
  };
  return {
    rows,
    inputTokens: usage.inputTokens,
    outputTokens: usage.outputTokens,
    batchNanoUsd: costNanoUsd(usage, pipeline.price, "batch"),
    liveNanoUsd: costNanoUsd(usage, pipeline.price, "live"),
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
  const { prompts, bodies, lineBytes } = await sampleRequests(context, pipeline);
  const bytes = prompts.reduce((sum, prompt) => sum + Buffer.byteLength(prompt), 0);
  const ratio =
    prompts.length === 0 ? RATIO_UNKNOWN : await tokensPerByte(prompts, pipeline.config.request.model);
  const bound = bodies.reduce((sum, body) => sum + inputBound(body, ratio), 0);
  const sample: Sample = {
    takenAtMs: performance.now(),
    definitionHash: pipeline.definitionHash,
    ratio,
    meanBytes: prompts.length === 0 ? UNKNOWN_BYTES : bytes / prompts.length,
    meanBound: bodies.length === 0 ? UNKNOWN_BYTES : Math.ceil(bound / bodies.length),
    meanLineBytes: bodies.length === 0 ? UNKNOWN_BYTES : lineBytes / bodies.length,
    rows: prompts.length,
  };
  samples.set(pipeline, sample);
  return sample;
}

/** For some of the rows that wait: what the model would read, the whole body by which a line is bounded, and all lines' bytes. */
async function sampleRequests(
  context: Sampling,
  pipeline: Pipeline,
): Promise<{ prompts: string[]; bodies: string[]; lineBytes: number }> {
  const rows = await context.step("plan.sample", () =>
    context.database.transaction(async (tx) => {
      const keys = await waitingSample(tx, pipeline.id, SAMPLE_ROWS);
      return (await pipeline.source.readRows(tx, keys)).rows;
    }),
  );
  const prompts: string[] = [];
  const bodies: string[] = [];
  let lineBytes = 0;
  for (const row of rows) {
    const rendered = pipeline.render(row.cells);
    if (rendered.kind !== "request") continue;
    const { system, user, schema } = rendered.request;
    prompts.push([system ?? "", user, schema === null ? "" : JSON.stringify(schema)].join("\n"));
    const body = pipeline.provider.buildBody(rendered.request);
    bodies.push(JSON.stringify(body));
    lineBytes += Buffer.byteLength(pipeline.provider.renderLine(SHORT_ID, body)) + 1;
  }
  return { prompts, bodies, lineBytes };
}
