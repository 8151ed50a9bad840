/**
 * The adapter of the invented vendor "plain": the second shape of a provider, by which the tests show that the engine
 * knows none. The spool file is the create's body; nothing of ours is shown in the vendor's list, so a create whose
 * reply was lost is found by circumstance alone: batches that were not there before, at its time, of as many
 * requests.
 */
import { createHash } from "node:crypto";
import { canonicalJson } from "../../src/model/json/canonical-json.js";
import { nearMatch } from "../../src/model/words/near-match.js";
import type { Json } from "../../src/model/pipeline.js";
import type { Price } from "../../src/model/provider/pricing.js";
import { boundTokens } from "../../src/model/request/tokens.js";
import { openAsBlob } from "node:fs";
import { RowmillError } from "../../src/model/errors.js";
import {
  type Attempt,
  type CallOptions,
  type CreateIntent,
  type Dialect,
  type Encoder,
  type FoundBatches,
  type Frame,
  type ListedBatch,
  type Provider,
  type ProviderBatch,
  ProviderError,
  type ProviderFinding,
  type ProviderLimits,
  type RequestShape,
  type SpoolFile,
} from "../../src/model/provider/provider.js";
import { PlainCaller, recordOf, UnreadableReply, type PlainCallPlan, type PlainTimeouts } from "./plain-caller.js";
import { plainResults } from "./plain-results.js";
import { readBaseline, readBatch, readPage } from "./plain-wire.js";

export interface PlainOptions {
  readonly url: string;
  readonly key: string;
  /** No other client creates batches in its workspace. Default: false. */
  readonly exclusive?: boolean;
  readonly limits?: Partial<ProviderLimits>;
  readonly timeouts?: Partial<PlainTimeouts>;
  /** See `Provider.createMs`. Default: the time-out of a create. */
  readonly createMs?: number;
  /** Default: that of the model. */
  readonly lineBytesMax?: number;
}

const TIMEOUTS_DEFAULT: PlainTimeouts = { callMs: 20_000, createMs: 20_000, stallMs: 20_000, backoffMs: 1 };
const PAGE_SIZE = 100;
/** 20,000 batches. */
const PAGES_MAX = 200;
/** Its clock is read in whole seconds, on machines of their own. */
const CLOCK_SLACK_SECONDS = 2;

/** Makes no call by itself. */
export function plain(options: PlainOptions): Provider {
  const timeouts = { ...TIMEOUTS_DEFAULT, ...options.timeouts };
  const caller = new PlainCaller({ url: options.url, key: options.key, timeouts });
  const batchCall = async (plan: PlainCallPlan) => readingBatch(await caller.json(plan), plan);
  return {
    ...plainDialect,
    account: options.url,
    limits: { ...PLAIN_LIMITS, ...options.limits },
    recovery: { find: "circumstance", fence: "none", exclusive: options.exclusive ?? false },
    createMs: options.createMs ?? timeouts.createMs,
    staging: null,
    baseline: (callOptions) => baseline(caller, callOptions),
    create: async ({ spool }, { signal } = {}) => {
      const body = await openSpool(spool);
      return batchCall({
        what: "create the batch",
        method: "POST",
        path: "/batches",
        body,
        unrepeatable: true,
        signal,
      });
    },
    find: (intent, since, callOptions) => find(caller, { intent, since }, callOptions),
    list: (since, callOptions) => list(caller, since, callOptions),
    status: (id, { signal } = {}) =>
      batchCall({
        what: `look at batch ${id}`,
        method: "GET",
        path: `/batches/${encodeURIComponent(id)}`,
        signal,
      }),
    cancel: (id, callOptions) => cancel(batchCall, id, callOptions),
    forget: ({ batch }, callOptions) => (batch === null ? Promise.resolve(0) : forget(caller, batch.id, callOptions)),
    results: (batch, { requests, signal }) =>
      plainResults({
        caller,
        batch,
        requests,
        signal,
        stallMs: timeouts.stallMs,
        lineBytesMax: options.lineBytesMax,
      }),
    inputs: null,
    answer: null,
    diagnose: (models, callOptions) => diagnose(caller, models, callOptions),
    servesDemo: () => Promise.resolve(false),
    clockSeconds: () => caller.clockSeconds,
  };
}

/** A batch that cannot be read may have been created nevertheless. */
function readingBatch(json: unknown, { what, unrepeatable }: PlainCallPlan): ProviderBatch {
  return reading(() => readBatch(json), what, unrepeatable === true ? "ambiguous" : "retryable");
}

function reading<T>(read: () => T, what: string, kind: "ambiguous" | "retryable" = "retryable"): T {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof UnreadableReply)) throw error;
    throw new ProviderError(kind, `plain's reply to "${what}" cannot be read: ${error.message}`);
  }
}

/** A blob over the file is read as it is sent, with a known length. */
async function openSpool({ path, bytes }: SpoolFile): Promise<Blob> {
  let blob: Blob;
  try {
    blob = await openAsBlob(path);
  } catch (cause) {
    throw new RowmillError("spool_failed", `cannot open ${path} to send it`, { cause });
  }
  if (blob.size === bytes) return blob;
  throw new RowmillError("spool_failed", `${path} has ${blob.size} bytes, not the ${bytes} that were written`);
}

async function baseline(caller: PlainCaller, { signal }: CallOptions = {}) {
  const what = "list batches";
  const json = await caller.json({ what, method: "GET", path: "/batches?limit=1", signal });
  const newest = reading(() => readPage(json), what).batches[0];
  if (newest === null) throw new ProviderError("retryable", "the newest batch in plain's list cannot be read");
  return { newest: newest?.id ?? null, clock: caller.clockSeconds };
}

interface Listing {
  /** Seconds. */
  readonly since: number;
  /** Where to stop: it was there before, and so was all that is listed after it. */
  readonly until?: string | null;
}

/** Entries created at or after `since`, or at a time that is not said, newest first; null: one that cannot be read. */
async function* entries(
  caller: PlainCaller,
  { since, until = null }: Listing,
  { signal }: CallOptions = {},
): AsyncGenerator<ProviderBatch | null> {
  // By id: a list that grows while it is read shows one batch on two pages.
  const seen = new Set<string>();
  let after: string | null = null;
  for (let pages = 0; pages < PAGES_MAX; pages += 1) {
    const what = "list batches";
    const from: string = after === null ? "" : `&after=${encodeURIComponent(after)}`;
    const json = await caller.json({
      what,
      method: "GET",
      path: `/batches?limit=${PAGE_SIZE}${from}`,
      signal,
    });
    const page = reading(() => readPage(json), what);
    let recent = 0;
    for (const batch of page.batches) {
      if (batch !== null && batch.id === until) return;
      if (batch !== null && batch.createdAt !== null && batch.createdAt < since) continue;
      recent += 1;
      if (batch === null) yield null;
      else if (!seen.has(batch.id)) yield batch;
      if (batch !== null) seen.add(batch.id);
    }
    if (!page.more || recent === 0) return;
    if (page.last === null || page.last === after) break;
    after = page.last;
  }
  // Half a list would say "not found" of a batch that was paid for.
  throw new ProviderError(
    "retryable",
    `plain's list of batches did not end within ${PAGES_MAX} pages of ${PAGE_SIZE}, or does not say how it continues`,
  );
}

async function find(
  caller: PlainCaller,
  { intent, since }: { intent: CreateIntent; since: number },
  options: CallOptions = {},
): Promise<FoundBatches> {
  const { newest, clock } = intent.baseline === null ? { newest: null, clock: null } : readBaseline(intent.baseline);
  const possible: ProviderBatch[] = [];
  const doubts = new Set<string>();
  const from = clock === null ? since : clock - CLOCK_SLACK_SECONDS;
  for await (const batch of entries(caller, { since: from, until: newest }, options)) {
    if (batch === null) doubts.add("id: missing");
    else if (batch.counts === null) doubts.add(`counts: missing of ${batch.id}`);
    else if (batch.counts.total !== intent.requests) continue;
    else if (batch.createdAt === null) doubts.add(`made_at: missing of ${batch.id}`);
    else possible.push(batch);
  }
  return { certain: [], possible: possible.reverse(), doubts: [...doubts] };
}

async function* list(caller: PlainCaller, since: number, options?: CallOptions): AsyncGenerator<ListedBatch> {
  for await (const batch of entries(caller, { since }, options)) {
    if (batch !== null) yield { batch, untold: "plain shows nothing of ours with a batch" };
    else yield { batch: NAMELESS, untold: "id: missing" };
  }
}

/** An entry that cannot be read. */
const NAMELESS: ProviderBatch = {
  id: "",
  refs: { results: null },
  status: "unknown",
  statusText: "unknown",
  terminal: false,
  createdAt: null,
  counts: null,
  errors: [],
  mark: null,
};

async function cancel(
  batchCall: (plan: PlainCallPlan) => Promise<ProviderBatch>,
  id: string,
  { signal }: CallOptions = {},
): Promise<ProviderBatch> {
  const path = `/batches/${encodeURIComponent(id)}`;
  try {
    return await batchCall({ what: `stop batch ${id}`, method: "POST", path: `${path}/stop`, signal });
  } catch (error) {
    if (!(error instanceof ProviderError) || error.kind !== "refused") throw error;
    const batch = await batchCall({ what: `look at batch ${id}`, method: "GET", path, signal });
    if (batch.terminal) return batch;
    throw error;
  }
}

async function forget(caller: PlainCaller, id: string, { signal }: CallOptions = {}): Promise<number> {
  try {
    await caller.json({
      what: `delete batch ${id}`,
      method: "DELETE",
      path: `/batches/${encodeURIComponent(id)}`,
      signal,
    });
    return 1;
  } catch (error) {
    if (error instanceof ProviderError && error.kind === "notFound") return 0;
    throw error;
  }
}

async function diagnose(
  caller: PlainCaller,
  models: readonly string[],
  { signal }: CallOptions = {},
): Promise<readonly ProviderFinding[]> {
  try {
    const json = await caller.json({
      what: "list models",
      method: "GET",
      path: "/models",
      once: true,
      signal,
    });
    const known = recordOf(json)?.["models"];
    const names: readonly unknown[] = Array.isArray(known) ? known : [];
    const key: ProviderFinding = { about: "key", level: "ok", text: "plain accepts the key", fixes: [] };
    return [key, ...models.map((model) => modelFinding(model, names.includes(model)))];
  } catch (error) {
    if (!(error instanceof ProviderError)) throw error;
    const level = error.kind === "account" ? "problem" : "warning";
    return [{ about: "key", level, text: error.message, fixes: ["Check the key of plain."] }];
  }
}

function modelFinding(model: string, isThere: boolean): ProviderFinding {
  return isThere
    ? { about: "model", level: "ok", text: `plain has the model ${model}`, fixes: [] }
    : {
        about: "model",
        level: "problem",
        text: `plain has no model ${model}`,
        fixes: ["Name one that it has."],
      };
}

/** What the vendor "plain" takes and costs: pure, and known without a key. */
const ENDPOINT = "/batches";
const PLAIN_FRAME: Frame = { head: '{"requests":[', separator: ",\n", tail: "]}" };
const PLAIN_LIMITS: ProviderLimits = {
  requestsMin: 1,
  requestsMax: 100_000,
  bytesMax: 256_000_000,
  oneModel: false,
  windowHours: 24,
  resultsKeptHours: 29 * 24,
};

const CHARACTERS_PER_TOKEN = 4;
/** For each of system, prompt and schema, whose tokens are rounded up. */
const PARTS = 4;
const FINGERPRINT_HEX = 32;
const PICO = 1_000_000;

/** Dollars per million tokens, made up. */
const PRICES: Readonly<Record<string, readonly [input: number, cached: number, output: number]>> = {
  "plain-large": [4, 1, 20],
  "plain-small": [0.4, 0.1, 2],
};

const plainDialect: Omit<Dialect, "limits" | "recovery"> = {
  name: "plain",
  title: "Plain",
  suggestedModels: [],
  exampleModel: "plain-small",
  endpoint: ENDPOINT,
  frame: PLAIN_FRAME,
  encoder,
  tokenizer: () => Promise.resolve((text) => Math.ceil(text.length / CHARACTERS_PER_TOKEN)),
  rates: (model) => ({ price: priceOf(model), batchFactor: 0.5 }),
  nearModel: (model) => (priceOf(model) === null ? nearMatch(model, Object.keys(PRICES)) : null),
  schemaProblems: () => [],
  freeJsonWord: null,
  parameterProblems: (_, parameters) =>
    Object.hasOwn(parameters, "n") ? [{ name: "n", problem: "plain gives one answer a request: leave `n` out" }] : [],
  accountText: (account) => `the workspace at ${account}`,
  accountVariables: () => [],
};

function priceOf(model: string): Price | null {
  const price = Object.hasOwn(PRICES, model) ? PRICES[model] : undefined;
  if (price === undefined) return null;
  const [input, cached, output] = price.map((usd) => Math.round(usd * PICO)) as [number, number, number];
  return {
    model,
    steps: [{ fromInputTokens: 0, inputPicoUsd: input, cachedInputPicoUsd: cached, outputPicoUsd: output }],
  };
}

function encoder(shape: RequestShape): Encoder {
  const schema = shape.schema === null || shape.schema.isFree === true ? null : shape.schema.schema;
  const parameters = Object.fromEntries(Object.entries(shape.parameters).sort(([a], [b]) => (a < b ? -1 : 1)));
  const shared: Record<string, Json> = schema === null ? parameters : { ...parameters, schema };
  // The same for every row, and longer than most of them.
  const asked = canonicalJson([ENDPOINT, { ...shared, model: shape.model }]);
  const schemaText = schema === null ? "" : JSON.stringify(schema);
  return (customId, { system, user }, attempt) => {
    const prompt = promptOf(user, attempt);
    const { model, maxOutputTokens } = attempt;
    const ask = {
      ...parameters,
      model,
      max_output: maxOutputTokens,
      system,
      prompt,
      ...(schema === null ? {} : { schema }),
    };
    return {
      line: JSON.stringify({ id: customId, ask }),
      fingerprint: fingerprintOf(asked, { system, user }),
      boundTokens: boundTokens([system ?? "", prompt, schemaText], shape.tokensPerByte) + PARTS,
    };
  };
}

function promptOf(user: string, { told }: Attempt): string {
  return told === null ? user : `${user}\n\n${told}`;
}

function fingerprintOf(asked: string, question: { system: string | null; user: string }): string {
  return createHash("sha256")
    .update(`[${asked},${canonicalJson(question)}]`)
    .digest("hex")
    .slice(0, FINGERPRINT_HEX);
}
