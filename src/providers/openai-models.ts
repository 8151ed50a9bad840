/**
 * Owns the one question about models: which does this key see? It needs no quota, so it also says whether the key is accepted.
 */
import { cleanBaseUrl, connect, OPENAI_BASE_URL_DEFAULT, type OpenAIOptions } from "./openai-connection.js";
import { readPage } from "./openai-wire.js";

export interface SeenModels {
  readonly models: readonly string[];
  /** The provider's clock by its Date header, seconds since the epoch; null: it sent none. */
  readonly clockSeconds: number | null;
}

/** Asked once, without retries, within `timeouts.callMs`. @throws ProviderError whose `kind` says what is wrong */
export async function listModels(options: OpenAIOptions): Promise<SeenModels> {
  const connection = connect(options, cleanBaseUrl(options.baseURL || OPENAI_BASE_URL_DEFAULT));
  const { client, call, timeouts, clockSeconds } = connection;
  const plan = { what: "list models", timeoutMs: timeouts.callMs, unrepeatable: true };
  const models = await call(plan, async (signal) =>
    readPage(await client.get("/models", { signal })).data.map(readModelId),
  );
  return { models, clockSeconds: clockSeconds() };
}

function readModelId(model: unknown): string {
  return typeof model === "object" && model !== null && "id" in model ? String(model.id) : "";
}
