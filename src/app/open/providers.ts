/** Which provider a pipeline asks: the choice of its config, completed by the environment. Makes no call. */
import type { Environment } from "../../config/load/environment.js";
import type { AccountWords } from "../../model/provider/account.js";
import { RowmillError } from "../../model/errors.js";
import type { Provider } from "../../model/provider/provider.js";
import type { ProviderChoice } from "../../model/provider/provider-choice.js";
import type { PipelineConfig, ProjectConfig } from "../../model/pipeline.js";
import { promiseOf, type SubmissionPromise } from "../../model/words/promise.js";
import { ADAPTERS } from "../../providers/adapters.js";

export interface Configured {
  readonly config: Pick<ProjectConfig, "pipelines">;
  readonly environment: Environment;
}

/** Of a pipeline of the config. */
export type OpenedProviders = (pipeline: PipelineConfig) => Provider;

/** By the pipeline's name; for one that is not in the config, the environment's provider. */
export function choiceOf({ config }: Pick<Configured, "config">, pipeline: string): ProviderChoice {
  return config.pipelines.find(({ name }) => name === pipeline)?.provider ?? ADAPTERS[0].choice;
}

/** The account of the pipeline's next batches; needs no key. @throws RowmillError `config_invalid` */
export function presentAccount(configured: Configured, pipeline: string): string {
  return choiceOf(configured, pipeline).account(configured.environment.provider);
}

/** @throws RowmillError `usage` without a key, `config_invalid` for a setting that cannot be used */
export function makeProvider(configured: Configured, pipeline: string): Promise<Provider> {
  return choiceOf(configured, pipeline).open(configured.environment.provider);
}

export interface Account {
  readonly choice: ProviderChoice;
  readonly account: string;
  readonly pipelines: readonly PipelineConfig[];
}

/** Those that the pipelines ask: an account with one key once. @throws RowmillError `config_invalid` */
export function accountsOf({ config, environment }: Configured): readonly Account[] {
  const accounts = new Map<string, Account>();
  for (const pipeline of config.pipelines) {
    const { provider: choice } = pipeline;
    const account = choice.account(environment.provider);
    const key = JSON.stringify([choice.dialect.name, account, choice.secrets(environment.provider)]);
    const known = accounts.get(key);
    accounts.set(key, { choice: known?.choice ?? choice, account, pipelines: [...(known?.pipelines ?? []), pipeline] });
  }
  return [...accounts.values()];
}

/** One for each account. @throws RowmillError `usage` without a key, `config_invalid` */
export async function openProviders(configured: Configured): Promise<OpenedProviders> {
  const opened = new Map<string, Provider>();
  for (const { choice, pipelines } of accountsOf(configured)) {
    const provider = await choice.open(configured.environment.provider);
    for (const { name } of pipelines) opened.set(name, provider);
  }
  return ({ name, provider }) => {
    const found = opened.get(name);
    if (found === undefined)
      throw new RowmillError("internal", `No provider ${provider.dialect.name} was opened for ${name}.`);
    return found;
  };
}

/** What is promised at each provider that the config names. */
export function promisesOf({ config }: Pick<Configured, "config">): readonly ProviderPromise[] {
  const dialects = new Map(config.pipelines.map(({ provider: { dialect } }) => [dialect.name, dialect]));
  return [...dialects.values()].map(({ name, title, recovery }) => ({ name, title, ...promiseOf(recovery) }));
}

export type ProviderPromise = SubmissionPromise & Pick<AccountWords, "name" | "title">;

/** For accounts in the ledger: of the provider of that name, as the config or Rowmill knows it. */
export function accountWords({ config }: Pick<Configured, "config">, provider: string): AccountWords {
  const choices = [...config.pipelines.map((pipeline) => pipeline.provider), ...ADAPTERS.map(({ choice }) => choice)];
  return choices.find(({ dialect }) => dialect.name === provider)?.dialect ?? unknownWords(provider);
}

function unknownWords(name: string): AccountWords {
  return { name, title: name, accountText: (account) => account, accountVariables: () => [] };
}
