/**
 * The adapter for OpenAI's Files and Batches API, and for every server that speaks it: puts its parts together.
 *
 * Holds no state but the clock of the last reply. A crash may leave an uploaded file or a created batch that
 * nobody recorded; both carry names by which they are found again (`findInputs`, `findBatches`).
 */
import { RowmillError } from "../../model/errors.js";
import { cancelBatch, createBatch, findBatches, retrieveBatch } from "./batches.js";
import { cleanBaseUrl, openaiAccount, OPENAI_BASE_URL_DEFAULT } from "./account.js";
import { buildBody, questionOf, renderLine } from "./body.js";
import { connect, type OpenAIOptions } from "./connection.js";
import { openaiDialect } from "./dialect.js";
import { examine } from "./examine.js";
import { deleteFile, findInputs, inspectFile, readLines, uploadInput } from "./files.js";
import { servesDemo } from "./models.js";
import { readOutcome } from "./outcome.js";
import type { Provider } from "../../model/former-provider.js";
import { NO_PROXIES } from "../../model/proxy.js";

export type { OpenAIOptions } from "./connection.js";

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
    ...openaiDialect,
    account: openaiAccount(options),
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
    examine: (models, call) =>
      examine(connection, { baseUrl, proxies: options.proxies ?? NO_PROXIES }, { models, options: call }),
    servesDemo: (call) => servesDemo(connection, call),
    clockSeconds: connection.clockSeconds,
  };
}
