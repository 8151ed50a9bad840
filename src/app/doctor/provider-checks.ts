/** The providers: is the key accepted, is the model there, what is promised, is the price known? Each account is examined once. */
import { RowmillError } from "../../model/errors.js";
import type { PipelineConfig } from "../../model/pipeline.js";
import { ratesFor } from "../../model/provider/pricing.js";
import type { ProviderFinding } from "../../model/provider/provider.js";
import { ADAPTERS } from "../../providers/adapters.js";
import { notChecked, ok, problem, warning, type Check, type Finding } from "./check.js";
import { judgeClock } from "./clock.js";
import { known, type Look, type SeenProvider } from "./look.js";
import { accountsOf, promisesOf, type Account } from "../open/providers.js";

const CALL_MS_MAX = 7_000;
/** The Date header has whole seconds. */
const DATE_UNSURE_MS = 1_500;

const PROVIDER = { group: "Provider", otherwise: "the provider is not as it must be" } as const;

export const PROVIDER_CHECKS: readonly Check[] = [
  {
    ...PROVIDER,
    id: "key",
    title: "Key",
    needs: ["variables"],
    otherwise: "the provider did not accept the key, or did not answer",
    run: lookAtKey,
  },
  { ...PROVIDER, id: "model", title: "Model", needs: ["config", "key"], run: lookForModels },
  { ...PROVIDER, id: "promise", title: "Promise", needs: ["config"], run: sayPromises },
  { ...PROVIDER, id: "price", title: "Price", needs: ["config"], run: lookAtPrices },
  { ...PROVIDER, id: "provider-clock", title: "Clock", needs: ["key"], run: compareClocks },
];

/** Without a config that can be read, whatever the environment says is examined. */
function accountsAt(look: Look): readonly Account[] {
  const environment = known(look.environment, "variables");
  if (look.config !== null) return accountsOf({ config: look.config, environment });
  const [{ choice }] = ADAPTERS;
  return [{ choice, account: choice.account(environment.provider), pipelines: [] }];
}

async function lookAtKey(look: Look): Promise<readonly Finding[]> {
  const accounts = accountsAt(look);
  const seen: SeenProvider[] = [];
  const findings: Finding[] = [];
  for (const account of accounts) {
    const found = await examineAccount(look, account);
    if (found instanceof RowmillError) findings.push(problem(found.message, { mends: found.hints }));
    else seen.push(found);
  }
  look.seen = seen;
  findings.push(...seen.flatMap((one) => shown(one, "key", accounts.length > 1)));
  // What the others need can be looked at while one account answers.
  const isOneAccepted = findings.some(({ level }) => level === "ok");
  return findings.map((finding) => ({ ...finding, stops: !isOneAccepted }));
}

async function examineAccount(
  look: Look,
  { choice, pipelines }: Account,
): Promise<SeenProvider | RowmillError> {
  const setup = { ...known(look.environment, "variables").provider, callMs: CALL_MS_MAX };
  const models = [...new Set(pipelines.map(({ request }) => request.model))];
  try {
    const opened = await choice.open(setup);
    const atSeconds = Date.now() / 1_000;
    const findings = await opened.examine(models);
    return { pipelines: pipelines.map(({ name }) => name), provider: opened, findings, atSeconds };
  } catch (error) {
    if (error instanceof RowmillError) return error;
    throw error;
  }
}

function shown(
  { findings, pipelines }: SeenProvider,
  about: ProviderFinding["about"],
  isNamed: boolean,
): Finding[] {
  const make = { ok, warning, problem };
  const whose = isNamed ? `${pipelines.join(", ")}: ` : "";
  return findings
    .filter((finding) => finding.about === about)
    .map(({ level, text, mends }) => make[level](whose + text, { mends }));
}

function lookForModels(look: Look): Promise<readonly Finding[]> {
  const seen = known(look.seen, "an answer of the provider");
  const findings = seen.flatMap((one) => shown(one, "model", seen.length > 1));
  return Promise.resolve(findings.length > 0 ? findings : [notChecked("the provider named no models")]);
}

function sayPromises(look: Look): Promise<readonly Finding[]> {
  const promises = promisesOf({ config: known(look.config, "a config") });
  return Promise.resolve(
    promises.map(({ title, found, fenced, paidTwice }) =>
      ok(`${title}, after a lost reply: ${found} ${fenced} Paid twice: ${paidTwice}`),
    ),
  );
}

function lookAtPrices(look: Look): Promise<readonly Finding[]> {
  const { pipelines } = known(look.config, "a config");
  const unknown = pipelines.filter(
    ({ provider, request }) => ratesFor(provider.dialect, request, new Date()).price === null,
  );
  if (unknown.length > 0) return Promise.resolve(unknown.map(judgeUnpriced));
  return Promise.resolve([ok("known for every model")]);
}

const WRITE_PRICE =
  "Write what it costs into the config: request.price: { input: …, output: … }, in dollars per million tokens.";

export function judgeUnpriced({ name, provider, request, budget }: PipelineConfig): Finding {
  const text = `${name}: the price of ${request.model} is not known`;
  const near = provider.dialect.nearModel(request.model, new Date());
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
  const seen = known(look.seen, "an answer of the provider");
  const findings = seen.map(({ provider: one, atSeconds }) => {
    const seconds = one.clockSeconds();
    if (seconds === null) return ok("the provider sends no Date");
    const whose = seen.length > 1 ? `${one.title}'s` : "the provider's";
    return judgeClock(whose, {
      aheadMs: (seconds - atSeconds) * 1_000,
      unsureMs: DATE_UNSURE_MS + CALL_MS_MAX,
    });
  });
  return Promise.resolve(findings);
}
