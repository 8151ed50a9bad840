/**
 * The adapter for OpenAI's Files and Batches API, and for every server that speaks it: puts its parts together. Its
 * only state is the clock of the last reply. A crash may leave an uploaded file or a created batch that was not
 * recorded; both bear names by which `findInputs` and `findBatches` find them.
 */
import { RowmillError } from "../../model/errors.js";
import type { AnswerOutcome, ModelRequest } from "../../model/provider/outcome.js";
import type { CallOptions, Provider, SpoolFile, Staged, Staging } from "../../model/provider/provider.js";
import { NO_PROXIES } from "../../model/provider/proxy.js";
import { cleanBaseUrl, openaiAccount, OPENAI_BASE_URL_DEFAULT } from "./account.js";
import { cancelBatch, createBatch, findBatches, listBatches, retrieveBatch } from "./batches.js";
import { connect, type Connection, type OpenAIOptions } from "./http/connection.js";
import { openaiDialect } from "./dialect.js";
import { CHAT_ENDPOINT, openaiEncoder } from "./encoder.js";
import { diagnose, servesDemo } from "./diagnose.js";
import { deleteFile, findInputs, inspectFile, uploadInput } from "./files.js";
import { openaiInputs } from "./inputs.js";
import { readLive } from "./outcome.js";
import { fileIdOf, refsOf } from "./refs.js";
import { readResults } from "./results.js";
import { asRecord, type WireFile } from "./wire.js";
import type { Json } from "../../model/pipeline.js";

export type { OpenAIOptions } from "./http/connection.js";

/**
 * Makes no call. Empty strings count as not given.
 * @throws RowmillError `config_invalid` for an invalid base URL, one with a password, or an empty key
 */
export function createOpenAIProvider(options: OpenAIOptions): Provider {
  const baseUrl = cleanBaseUrl(options.baseURL || OPENAI_BASE_URL_DEFAULT);
  if (options.apiKey.trim() === "") {
    throw new RowmillError("config_invalid", "the OpenAI API key is empty; set OPENAI_API_KEY");
  }
  const connection = connect(options, baseUrl);
  return {
    ...openaiDialect,
    account: openaiAccount(options),
    createMs: connection.timeouts.createMs,
    staging: openaiStaging(connection),
    baseline: null,
    create: (intent, call) => createBatch(connection, intent, call),
    find: (intent, since, call) => findBatches(connection, { intent, since }, call),
    list: (since, call) => listBatches(connection, since, call),
    status: (id, call) => retrieveBatch(connection, id, call),
    cancel: (id, call) => cancelBatch(connection, id, call),
    forget: (kept, call) => forget(connection, kept, call),
    results: (batch, call) => readResults(connection, batch, call),
    inputs: openaiInputs(connection),
    answer: (request, call) => answerLive(connection, request, call),
    diagnose: (models, call) =>
      diagnose(connection, { baseUrl, proxies: options.proxies ?? NO_PROXIES }, { models, options: call }),
    servesDemo: (call) => servesDemo(connection, call),
    clockSeconds: connection.clockSeconds,
  };
}

/** Staged input and files that the batch names, each once. */
async function forget(
  connection: Connection,
  { batch, staged }: Parameters<Provider["forget"]>[0],
  call?: CallOptions,
): Promise<number> {
  const { input, output, error } = batch === null ? { input: "", output: null, error: null } : refsOf(batch);
  const fileIds = new Set([staged === null ? null : fileIdOf(staged), input, output, error]);
  let deleted = 0;
  for (const fileId of fileIds)
    if (fileId !== null && fileId !== "" && (await deleteFile(connection, fileId, call))) deleted++;
  return deleted;
}

async function answerLive(
  { client, call, timeouts }: Connection,
  request: ModelRequest,
  options: CallOptions = {},
): Promise<AnswerOutcome> {
  const attempt = { maxOutputTokens: request.maxOutputTokens, told: null, model: request.model };
  const { line } = openaiEncoder({ ...request, tokensPerByte: 1 })("live", request, attempt);
  const body = asRecord(asRecord(JSON.parse(line))?.["body"]) ?? {};
  const plan = { what: "ask the model", timeoutMs: timeouts.callMs, unrepeatable: true, ...options };
  const path = CHAT_ENDPOINT.slice("/v1".length);
  const reply = await call(plan, (signal) => client.post<unknown>(path, { body, signal }));
  return readLive(asRecord(reply));
}

/** An input file's name says its batch and its content, so that a crashed worker's file is found. */
const SHA256_CHARACTERS = 16;

function openaiStaging(connection: Connection): Staging {
  return {
    send: async (spool, options) => {
      const input = { path: spool.path, filename: inputFileName(spool) };
      return toStaged(await uploadInput(connection, input, options));
    },
    find: (spool, options) => findStaged(connection, spool, options),
    inspect: async (ref, options) => {
      const file = await inspectFile(connection, fileIdOf(ref), options);
      return file && { ...toStaged(file), ref };
    },
    remove: (ref, options) => deleteFile(connection, fileIdOf(ref), options),
  };
}

function inputFileName({ batchId, sha256 }: Pick<SpoolFile, "batchId" | "sha256">): string {
  return `${inputFilePrefix(batchId)}${sha256.slice(0, SHA256_CHARACTERS)}.jsonl`;
}

function inputFilePrefix(batchId: string): string {
  return `rowmill-${batchId}-`;
}

function toStaged({ id, readiness, details }: WireFile): Staged {
  return { ref: id, readiness, details };
}

async function findStaged(
  connection: Connection,
  spool: SpoolFile,
  options?: CallOptions,
): Promise<{ same: Staged | null; others: readonly Json[] }> {
  const files = await findInputs(connection, inputFilePrefix(spool.batchId), options);
  const filename = inputFileName(spool);
  const same = files.find(
    (file) => file.filename === filename && file.bytes === spool.bytes && file.readiness !== "failed",
  );
  const others = files.filter((file) => file !== same).map(({ id }) => id);
  return { same: same === undefined ? null : toStaged(same), others };
}
