/**
 * The adapter for OpenAI's Files and Batches API, and for every server that speaks it: puts its parts together.
 *
 * Holds no state but the clock of the last reply. A crash may leave an uploaded file or a created batch that
 * nobody recorded; both carry names by which they are found again (`findInputs`, `findBatches`).
 */
import { RowmillError } from "../../model/errors.js";
import { cancelBatch, createBatch, findBatches, retrieveBatch } from "./batches.js";
import { buildBody, CHAT_ENDPOINT, questionOf, renderLine } from "./body.js";
import { cleanBaseUrl, connect, OPENAI_BASE_URL_DEFAULT, type OpenAIOptions } from "./connection.js";
import { deleteFile, findInputs, inspectFile, readLines, uploadInput } from "./files.js";
import { servesDemo } from "./models.js";
import { readOutcome } from "./outcome.js";
import type { Provider, ProviderLimits } from "../../model/former-provider.js";

export type { OpenAIOptions } from "./connection.js";

/** OpenAI's Batch guide; it says 200 MB, a live refusal said 209,715,200 bytes: the smaller one. */
const OPENAI_LIMITS: ProviderLimits = { requestsMax: 50_000, bytesMax: 200_000_000 };

/** See `Provider.account`. Needs no key. */
export function openaiAccount(options: Omit<OpenAIOptions, "apiKey">): string {
  const baseUrl = cleanBaseUrl(options.baseURL || OPENAI_BASE_URL_DEFAULT);
  return [baseUrl, options.organization ?? "", options.project ?? ""].join("|");
}

/**
 * Makes no call by itself. Empty strings count as not given.
 * @throws RowmillError `config_invalid` for a base URL that is none or holds a password, or an empty key.
 */
export function createOpenAIProvider(options: OpenAIOptions): Provider {
  const baseUrl = cleanBaseUrl(options.baseURL || OPENAI_BASE_URL_DEFAULT);
  if (options.apiKey.trim() === "") {
    throw new RowmillError("config_invalid", "the OpenAI API key is empty; set OPENAI_API_KEY");
  }
  const connection = connect(options, baseUrl);
  return {
    name: "openai",
    account: openaiAccount(options),
    limits: OPENAI_LIMITS,
    endpoint: CHAT_ENDPOINT,
    createMs: connection.timeouts.createMs,
    buildBody,
    questionOf,
    renderLine,
    uploadInput: (input, call) => uploadInput(connection, input, call),
    findInputs: (prefix, call) => findInputs(connection, prefix, call),
    inspectFile: (fileId, call) => inspectFile(connection, fileId, call),
    deleteFile: (fileId, call) => deleteFile(connection, fileId, call),
    createBatch: (input, call) => createBatch(connection, input, call),
    findBatches: (since, match, call) => findBatches(connection, { since, match }, call),
    retrieveBatch: (id, call) => retrieveBatch(connection, id, call),
    cancelBatch: (id, call) => cancelBatch(connection, id, call),
    readLines: (fileId, call) => readLines(connection, fileId, call),
    readOutcome,
    servesDemo: (call) => servesDemo(connection, call),
    clockSeconds: connection.clockSeconds,
  };
}
