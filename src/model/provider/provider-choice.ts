/** Owns the shape of a config's provider and of an adapter. Nothing here calls a provider. */
import type { Dialect, Provider } from "./provider.js";
import type { Proxies } from "./proxy.js";

/** What the environment gives to every provider. Secrets are behind functions, so that nothing prints them. */
export interface ProviderSetup {
  /** An environment variable that the adapter lists; null: not set, or empty. */
  variable(name: string): string | null;
  readonly proxies: Proxies;
  /** Rows and keys may use plain http to another machine. */
  readonly allowHttp: boolean;
  /** Nothing will be called, so a key may be absent. */
  readonly offline?: true;
  /** The longest that a small call may take, in ms. Default: the adapter's. */
  readonly callMs?: number;
}

/** A setting that cannot be used: an option in the config, or an environment variable. */
export interface SettingProblem {
  readonly name: string;
  /** The value; null if it may be a secret, or the message is not about a value. */
  readonly found: string | null;
  /** What should stand there; no full stop. */
  readonly expected: string;
}

/** A pipeline's provider as its config says it. Needs no key, and calls no one. */
export interface ProviderChoice {
  readonly dialect: Dialect;
  /** Mistakes in its options. */
  readonly problems: readonly SettingProblem[];
  /** See `Provider.account`. @throws RowmillError `config_invalid` */
  account(setup: ProviderSetup): string;
  /** Keys and the like, which must not be shown. */
  secrets(setup: ProviderSetup): readonly string[];
  /** Loads what calls need, and calls no one. @throws RowmillError `usage` without a key, `config_invalid` */
  open(setup: ProviderSetup): Promise<Provider>;
}

/** One of our adapters, listed in `src/providers/adapters.ts`. */
export interface Adapter {
  /** `vendor({ … })`, for error texts. */
  readonly configExample: string;
  /** The provider of a pipeline without one, if this adapter is the first in the list. */
  readonly choice: ProviderChoice;
  /** Environment variables that it reads; `secret`: never shown. */
  readonly variables: readonly { readonly name: string; readonly secret: boolean }[];
  /** Names that other programs use, and the name that it reads. */
  readonly otherNames: readonly (readonly [other: string, ours: string])[];
  /** The variable of its key. */
  readonly keyVariable: string;
  /** As a line of `.env`. */
  readonly keyExample: string;
  /** The variables that point to a server of its API, such as the local gateway. */
  variablesFor(server: { readonly url: string; readonly key: string }): Readonly<Record<string, string>>;
  variableProblems(setup: ProviderSetup): readonly SettingProblem[];
}
