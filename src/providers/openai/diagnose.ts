/** What the doctor finds at OpenAI about key and models. Asks once for the list of models, which needs no quota. */
import { nearMatch } from "../../model/words/near-match.js";
import { ProviderError, type CallOptions, type ProviderFinding } from "../../model/provider/provider.js";
import { proxyFor, proxyText, type Proxies } from "../../model/provider/proxy.js";
import { OPENAI_BASE_URL_DEFAULT } from "./account.js";
import type { Connection } from "./http/connection.js";
import { listModels } from "./models.js";

export interface Way {
  readonly baseUrl: string;
  readonly proxies: Proxies;
}

/** See `Provider.diagnose`. */
export async function diagnose(
  connection: Connection,
  { baseUrl, proxies }: Way,
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

export function judgeRefusal(error: ProviderError, baseUrl: string): ProviderFinding {
  const said = { about: "key", text: `${error.message}.` } as const;
  if (error.status === 403)
    return {
      ...said,
      level: "warning",
      fixes: [
        "A restricted key may lack the right to list models. For batches it needs Files, Batches and Model " +
          "capabilities.",
      ],
    };
  if (error.kind === "account")
    return { ...said, level: "problem", fixes: ["Create a new key at the provider and set it as OPENAI_API_KEY."] };
  if (error.kind === "notFound")
    return {
      ...said,
      level: "warning",
      fixes: [`Check that OPENAI_BASE_URL ends with the API version, as in ${OPENAI_BASE_URL_DEFAULT}.`],
    };
  return {
    ...said,
    level: "problem",
    fixes: [`Check OPENAI_BASE_URL (${baseUrl}), the network, and the provider's status page.`],
  };
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
