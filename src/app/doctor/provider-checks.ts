/** Your providers: key, models, promise, price and clock. Each account is asked once, by its own adapter. */
import { RowmillError } from "../../model/errors.js";
import type { PipelineConfig } from "../../model/pipeline.js";
import { ratesFor } from "../../model/provider/pricing.js";
import type { ProviderFinding } from "../../model/provider/provider.js";
import { notChecked, ok, problem, warning, type Finding } from "../../model/words/finding.js";
import { ADAPTERS } from "../../providers/adapters.js";
import { known, type Check, type Look, type SeenProvider } from "./look.js";
import { judgeClock } from "./machine-checks.js";
import { priceAdvice } from "../open/bind-pipeline.js";
import { accountsOf, promisesOf, type Account } from "../open/providers.js";

const CALL_MS_MAX = 7_000;
/** The Date header has whole seconds. */
const DATE_UNSURE_MS = 1_500;

const PROVIDER = { group: "Provider", otherwise: "" } as const;

export const PROVIDER_CHECKS: readonly Check[] = [
  {
    ...PROVIDER,
    id: "key",
    title: "Key",
    needs: ["variables"],
    otherwise: "the provider did not accept the key, or did not answer",
    run: checkKey,
  },
  { ...PROVIDER, id: "model", title: "Model", needs: ["config", "key"], run: checkModels },
  { ...PROVIDER, id: "promise", title: "Promise", needs: ["config"], run: showPromises },
  { ...PROVIDER, id: "price", title: "Price", needs: ["config"], run: checkPrices },
  { ...PROVIDER, id: "provider-clock", title: "Clock", needs: ["key"], run: compareClocks },
];

/** Without a valid config: the account that the environment names. */
function accountsAt(look: Look): readonly Account[] {
  const environment = known(look.environment, "variables");
  if (look.config !== null) return accountsOf({ config: look.config, environment });
  const [{ choice }] = ADAPTERS;
  return [{ choice, account: choice.account(environment.provider), pipelines: [] }];
}

async function checkKey(look: Look): Promise<readonly Finding[]> {
  const accounts = accountsAt(look);
  const seen: SeenProvider[] = [];
  const findings: Finding[] = [];
  for (const account of accounts) {
    const found = await diagnoseAccount(look, account);
    if (found instanceof RowmillError) findings.push(problem(found.message, { fixes: found.hints }));
    else seen.push(found);
  }
  look.seen = seen;
  findings.push(...seen.flatMap((one) => shown(one, "key", accounts.length > 1)));
  // One account that answers is enough for the checks that need this one.
  const isOneAccepted = findings.some(({ level }) => level === "ok");
  return findings.map((finding) => ({ ...finding, stops: !isOneAccepted }));
}

async function diagnoseAccount(look: Look, { choice, pipelines }: Account): Promise<SeenProvider | RowmillError> {
  const setup = { ...known(look.environment, "variables").provider, callMs: CALL_MS_MAX };
  const models = [...new Set(pipelines.map(({ request }) => request.model))];
  try {
    const opened = await choice.open(setup);
    const atSeconds = Date.now() / 1_000;
    const findings = await opened.diagnose(models);
    return { pipelines: pipelines.map(({ name }) => name), provider: opened, findings, atSeconds };
  } catch (error) {
    if (error instanceof RowmillError) return error;
    throw error;
  }
}

function shown({ findings, pipelines }: SeenProvider, about: ProviderFinding["about"], isNamed: boolean): Finding[] {
  const make = { ok, warning, problem };
  const whose = isNamed ? `${pipelines.join(", ")}: ` : "";
  return findings
    .filter((finding) => finding.about === about)
    .map(({ level, text, fixes }) => make[level](whose + text, { fixes }));
}

function checkModels(look: Look): readonly Finding[] {
  const seen = known(look.seen, "an answer of the provider");
  const findings = seen.flatMap((one) => shown(one, "model", seen.length > 1));
  return findings.length > 0 ? findings : [notChecked("the provider did not list its models")];
}

function showPromises(look: Look): readonly Finding[] {
  const promises = promisesOf({ config: known(look.config, "a config") });
  return promises.map(({ title, short }) => ok(`${title}: if a reply is lost, ${short}`));
}

function checkPrices(look: Look): readonly Finding[] {
  const { pipelines } = known(look.config, "a config");
  const unknown = pipelines.filter(
    ({ provider, request }) => ratesFor(provider.dialect, request, new Date()).price === null,
  );
  return unknown.length > 0 ? unknown.map(judgeUnpriced) : [ok("known for every model")];
}

export function judgeUnpriced(pipeline: PipelineConfig): Finding {
  const { name, request, budget } = pipeline;
  const text = `${name}: Rowmill has no price for ${request.model}`;
  const advice = priceAdvice(pipeline);
  return budget === null
    ? warning(`${text}, so it cannot count costs, and every change waits for your approval.`, {
        fixes: [...advice, `Or cap the pipeline with limit, and approve it: rowmill approve ${name}`],
      })
    : problem(`${text}, so it cannot enforce a budget in dollars.`, {
        fixes: [...advice, "Or remove budget, and cap the pipeline with limit."],
      });
}

function compareClocks(look: Look): readonly Finding[] {
  const seen = known(look.seen, "an answer of the provider");
  return seen.map(({ provider: one, atSeconds }) => {
    const seconds = one.clockSeconds();
    if (seconds === null) return ok("the provider's replies have no Date header");
    const whose = seen.length > 1 ? one.title : "the provider";
    return judgeClock(`${whose}'s clock`, {
      aheadMs: (seconds - atSeconds) * 1_000,
      unsureMs: DATE_UNSURE_MS + CALL_MS_MAX,
    });
  });
}
