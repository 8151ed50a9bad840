/** The provider: is the key accepted, is the model there, is its price known? Asks once for the list of models, which needs no quota. */
import type { PipelineConfig } from "../model/pipeline.js";
import { nearMatch } from "../model/near-match.js";
import { nearModel, ratesFor } from "../model/pricing.js";
import { proxyFor, proxyText } from "../model/proxy.js";
import type { OpenAIOptions } from "../providers/openai/connection.js";
import { OPENAI_BASE_URL_DEFAULT } from "../providers/openai/connection.js";
import { listModels } from "../providers/openai/models.js";
import { ProviderError } from "../model/provider.js";
import { ok, problem, warning, type Check, type Finding } from "./doctor-check.js";
import { judgeClock } from "./doctor-clock.js";
import { known, type Look } from "./doctor-look.js";

const CALL_MS_MAX = 7_000;
/** The Date header has whole seconds. */
const DATE_UNSURE_MS = 1_500;

const provider = { group: "Provider", otherwise: "the provider is not as it must be" } as const;

export const providerChecks: readonly Check[] = [
  {
    ...provider,
    id: "key",
    title: "Key",
    needs: ["variables"],
    otherwise: "the provider did not accept the key, or did not answer",
    run: lookAtKey,
  },
  { ...provider, id: "model", title: "Model", needs: ["config", "key"], run: lookForModels },
  { ...provider, id: "price", title: "Price", needs: ["config"], run: lookAtPrices },
  { ...provider, id: "provider-clock", title: "Clock", needs: ["key"], run: compareClocks },
];

/** Null without a key. */
export function openaiOptions(look: Look): OpenAIOptions | null {
  const { openai, proxies } = known(look.environment, "variables");
  const { apiKey, baseUrl, organization, project, allowHttp } = openai;
  if (apiKey === null) return null;
  return {
    apiKey: apiKey.reveal(),
    allowHttp,
    proxies,
    baseURL: baseUrl ?? undefined,
    organization: organization ?? undefined,
    project: project ?? undefined,
    timeouts: { callMs: CALL_MS_MAX },
  };
}

async function lookAtKey(look: Look): Promise<readonly Finding[]> {
  const options = openaiOptions(look);
  if (options === null)
    return [
      problem("OPENAI_API_KEY is not set, so no batch could be sent.", {
        mends: [
          "Put it into .env beside the config file: OPENAI_API_KEY=sk-…",
          "To try without a key: rowmill gateway --demo-model, and set the two variables that it prints.",
        ],
      }),
    ];
  const baseUrl = options.baseURL ?? OPENAI_BASE_URL_DEFAULT;
  try {
    const atSeconds = Date.now() / 1_000;
    look.seen = { ...(await listModels(options)), atSeconds };
    const proxy = proxyFor(new URL(baseUrl), known(look.environment, "variables").proxies);
    return [ok(`accepted by ${baseUrl}${proxyText(proxy)}`)];
  } catch (error) {
    if (!(error instanceof ProviderError)) throw error;
    return [judgeRefusal(error, baseUrl)];
  }
}

export function judgeRefusal(error: ProviderError, baseUrl: string): Finding {
  const text = `${error.message}.`;
  if (error.status === 403)
    return {
      ...warning(text, {
        mends: [
          "A restricted key may lack the right to list models; for batches it needs Files, Batches and Model capabilities.",
        ],
      }),
      stops: true,
    };
  if (error.kind === "account")
    return problem(text, { mends: ["Make a new key at the provider and put it into OPENAI_API_KEY."] });
  if (error.kind === "notFound")
    return {
      ...warning(text, {
        mends: [`Check that OPENAI_BASE_URL ends in its version, as in ${OPENAI_BASE_URL_DEFAULT}.`],
      }),
      stops: true,
    };
  return problem(text, {
    mends: [`Check OPENAI_BASE_URL (${baseUrl}), the network, and the provider's status page.`],
  });
}

function lookForModels(look: Look): Promise<readonly Finding[]> {
  const { models } = known(look.seen, "the list of models");
  const { pipelines } = known(look.config, "a config");
  const baseUrl = known(look.environment, "variables").openai.baseUrl ?? OPENAI_BASE_URL_DEFAULT;
  const wanted = [...new Set(pipelines.map((pipeline) => pipeline.request.model))];
  return Promise.resolve(wanted.map((model) => judgeModel(model, models, baseUrl)));
}

export function judgeModel(model: string, models: readonly string[], baseUrl: string): Finding {
  if (models.includes(model)) return ok(`${model} is there`);
  const near = nearMatch(model, models);
  const text = `${baseUrl} does not list ${model}.`;
  const mends = [
    near === null
      ? "Check request.model in the config; models may also be closed to this key's project."
      : `Did you mean "${near}"? Change request.model in the config.`,
  ];
  // Others than OpenAI may serve what they do not list.
  return baseUrl === OPENAI_BASE_URL_DEFAULT ? problem(text, { mends }) : warning(text, { mends });
}

function lookAtPrices(look: Look): Promise<readonly Finding[]> {
  const { pipelines } = known(look.config, "a config");
  const unknown = pipelines.filter(({ request }) => ratesFor(request, new Date()).price === null);
  if (unknown.length > 0) return Promise.resolve(unknown.map(judgeUnpriced));
  return Promise.resolve([ok("known for every model")]);
}

const WRITE_PRICE =
  "Write what it costs into the config: request.price: { input: …, output: … }, in dollars per million tokens.";

export function judgeUnpriced({ name, request, budget }: PipelineConfig): Finding {
  const text = `${name}: the price of ${request.model} is not known`;
  const near = nearModel(request.model, new Date());
  const meant = near === null ? [] : [`Did you mean "${near}"? Change request.model in the config.`];
  return budget === null
    ? warning(`${text}, so costs are not counted and every change waits for approval.`, {
        mends: [
          ...meant,
          WRITE_PRICE,
          `Or bound the pipeline with limit, and approve it: rowmill approve ${name}`,
        ],
      })
    : problem(`${text}, so its budget in dollars cannot be kept.`, {
        mends: [...meant, WRITE_PRICE, "Or leave budget out and bound the pipeline with limit."],
      });
}

function compareClocks(look: Look): Promise<readonly Finding[]> {
  const { clockSeconds, atSeconds } = known(look.seen, "an answer of the provider");
  if (clockSeconds === null) return Promise.resolve([ok("the provider sends no Date")]);
  const aheadMs = (clockSeconds - atSeconds) * 1_000;
  return Promise.resolve([judgeClock("the provider's", { aheadMs, unsureMs: DATE_UNSURE_MS + CALL_MS_MAX })]);
}
