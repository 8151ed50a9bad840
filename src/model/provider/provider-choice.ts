/** How a config says whom a pipeline asks, and what an adapter of ours brings along. Nothing of it calls anybody. */
import type { Dialect, Provider } from "./provider.js";
import type { Proxies } from "./proxy.js";

/** What the machine gives to every provider of a config. Holds secrets where nothing prints them. */
export interface ProviderSetup {
  /** An environment variable that the adapter has listed; null: it is not set, or empty. */
  variable(name: string): string | null;
  readonly proxies: Proxies;
  /** Rows and keys may go over plain http to another machine. */
  readonly allowHttp: boolean;
  /** Nothing will be called: what only a call needs, such as a key, may be absent. */
  readonly offline?: true;
  /** The longest that a small call may take, in ms. Default: the adapter's. */
  readonly callMs?: number;
}

/** A setting that cannot be used: an option in the config, or an environment variable. */
export interface SettingProblem {
  readonly name: string;
  /** What stands there; null where it may be a secret, or the message is not about a value. */
  readonly found: string | null;
  /** What should stand there; no full stop. */
  readonly expected: string;
}

/** Whom a pipeline asks, as its config says it: needs no key, and calls nobody. An adapter has a function that gives one. */
export interface ProviderChoice {
  readonly dialect: Dialect;
  /** Of the options that it was made with. */
  readonly problems: readonly SettingProblem[];
  /** See `Provider.account`. @throws RowmillError `config_invalid` */
  account(setup: ProviderSetup): string;
  /** Keys and the like, which must not be shown. */
  secrets(setup: ProviderSetup): readonly string[];
  /** Calls nobody; loads what calls need. @throws RowmillError `usage` without a key, `config_invalid` */
  open(setup: ProviderSetup): Promise<Provider>;
}

/** An adapter of ours, as `src/providers/adapters.ts` lists it. */
export interface Adapter {
  /** How a config gets one, for error texts: `vendor({ … })`. */
  readonly configExample: string;
  /** Of a pipeline whose config names no provider, if this adapter is the first of the list. */
  readonly choice: ProviderChoice;
  /** Environment variables that it reads; `secret`: what it holds is shown nowhere. */
  readonly variables: readonly { readonly name: string; readonly secret: boolean }[];
  /** Names that other programs read, and the name that it reads. */
  readonly otherNames: readonly (readonly [other: string, ours: string])[];
  /** Of the variables, the one that holds its key. */
  readonly keyVariable: string;
  /** As a line of `.env`. */
  readonly keyExample: string;
  /** Variables that lead to a server of its API, such as the local gateway. */
  variablesFor(server: { readonly url: string; readonly key: string }): Readonly<Record<string, string>>;
  variableProblems(setup: ProviderSetup): readonly SettingProblem[];
}
