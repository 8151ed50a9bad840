/** What the list of models, which needs no quota, shows about the key, the models, and whether the demo answers. */
import { nearMatch } from "../../model/words/near-match.js";
import { ProviderError, type CallOptions, type ProviderFinding } from "../../model/provider/provider.js";
import { DEMO_OWNER } from "../../model/provider/outcome.js";
import { proxyFor, proxyText, type Proxies } from "../../model/provider/proxy.js";
import { OPENAI_BASE_URL_DEFAULT } from "./account.js";
import type { Connection } from "./http/connection.js";
import { asRecord, readPage } from "./wire.js";

/** See `Provider.diagnose`. */
export async function diagnose(
  connection: Connection,
  { baseUrl, proxies }: { readonly baseUrl: string; readonly proxies: Proxies },
  asked: { readonly models: readonly string[]; readonly options?: CallOptions | undefined },
): Promise<readonly ProviderFinding[]> {
  try {
    const listed = await listModels(connection, asked.options);
    const way = proxyText(proxyFor(new URL(baseUrl), proxies));
    return [
      { about: "key", level: "ok", text: `accepted by ${baseUrl}${way}`, fixes: [] },
      ...asked.models.map((model) => judgeModel(model, listed, baseUrl)),
    ];
  } catch (error) {
    if (!(error instanceof ProviderError)) throw error;
    return [judgeRefusal(error, baseUrl)];
  }
}

export function judgeRefusal({ status, kind, message }: ProviderError, baseUrl: string): ProviderFinding {
  const finding = (level: "warning" | "problem", fix: string) =>
    ({ about: "key", level, text: `${message}.`, fixes: [fix] }) as const;
  if (status === 403)
    return finding(
      "warning",
      "A restricted key may not be allowed to list models, which is fine. For batches it needs the permissions " +
        "Files, Batches and Model capabilities.",
    );
  if (kind === "account") return finding("problem", "Create a new key at the provider and set it as OPENAI_API_KEY.");
  if (kind === "notFound")
    return finding(
      "warning",
      `Check that OPENAI_BASE_URL ends with the API version, as in ${OPENAI_BASE_URL_DEFAULT}.`,
    );
  return finding("problem", `Check OPENAI_BASE_URL (${baseUrl}), the network, and the provider's status page.`);
}

export function judgeModel(model: string, models: readonly string[], baseUrl: string): ProviderFinding {
  if (models.includes(model)) return { about: "model", level: "ok", text: `${model} is available`, fixes: [] };
  const near = nearMatch(model, models);
  return {
    about: "model",
    // Other servers may serve models that they do not list.
    level: baseUrl === OPENAI_BASE_URL_DEFAULT ? "problem" : "warning",
    text: `${baseUrl} does not list ${model}.`,
    fixes: [
      near === null
        ? "Check request.model in the config, and whether this key's project may use the model."
        : `Did you mean "${near}"? Change request.model in the config.`,
    ],
  };
}

/** Asks once, without retries. @throws ProviderError */
function listModels({ client, call, timeouts }: Connection, options: CallOptions = {}): Promise<readonly string[]> {
  const plan = { what: "list models", timeoutMs: timeouts.callMs, unrepeatable: true, ...options };
  return call(plan, async (signal) => readPage(await client.get("/models", { signal })).data.map(readModelId));
}

function readModelId(model: unknown): string {
  return String(asRecord(model)?.["id"] ?? "");
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
