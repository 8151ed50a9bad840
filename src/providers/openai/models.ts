/** Which models does this key see, and is it the demo model? Needs no quota. */
import { DEMO_OWNER } from "../../model/provider/outcome.js";
import type { Connection } from "./http/connection.js";
import { asRecord, readPage } from "./wire.js";
import { ProviderError, type CallOptions } from "../../model/provider/provider.js";

/** Asks once, without retries. @throws ProviderError */
export function listModels(
  { client, call, timeouts }: Connection,
  options: CallOptions = {},
): Promise<readonly string[]> {
  const plan = { what: "list models", timeoutMs: timeouts.callMs, unrepeatable: true, ...options };
  return call(plan, async (signal) => readPage(await client.get("/models", { signal })).data.map(readModelId));
}

function readModelId(model: unknown): string {
  return typeof model === "object" && model !== null && "id" in model ? String(model.id) : "";
}

/** From a server that has no such list, or refuses it for this key: the demo gateway has one for every key. */
const NO_LIST = new Set([403, 404, 405, 501]);

/** See `Provider.servesDemo`. */
export async function servesDemo({ client, call, timeouts }: Connection, options: CallOptions = {}): Promise<boolean> {
  const plan = { what: "list models", timeoutMs: timeouts.callMs, ...options };
  try {
    const list = asRecord(await call(plan, (signal) => client.get<unknown>("/models", { signal })));
    const models = list?.["data"];
    return Array.isArray(models) && models.length > 0 && models.every(isDemoModel);
  } catch (error) {
    if (error instanceof ProviderError && error.status !== null && NO_LIST.has(error.status)) return false;
    throw error;
  }
}

function isDemoModel(model: unknown): boolean {
  const owner = asRecord(model)?.["owned_by"];
  return typeof owner === "string" && owner.startsWith(DEMO_OWNER);
}
