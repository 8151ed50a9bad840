/**
 * Owns all variables that Rowmill reads: `DATABASE_URL`, those of the adapters, `ROWMILL_ALLOW_HTTP`, `PGSSLMODE`,
 * `PGSSLROOTCERT`, and `HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY` in upper or lower case. An empty variable counts as
 * absent. Nothing else reads `process.env`, but `pg`, which takes `PGUSER`, `PGPASSWORD` and so on where the URL has
 * none.
 */
import { nearMatch } from "../../model/words/near-match.js";
import type { ProjectConfig } from "../../model/pipeline.js";
import type { Adapter, ProviderSetup } from "../../model/provider/provider-choice.js";
import type { Proxies, Proxy } from "../../model/provider/proxy.js";
import { Secret } from "../../model/secret.js";
import { ADAPTERS } from "../../providers/adapters.js";
import { Problems, listWords } from "../read/problems.js";

const ALLOW_HTTP = "ROWMILL_ALLOW_HTTP";

/** The names and meanings of libpq. */
const SSL_MODES = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"] as const;

export type SslMode = (typeof SSL_MODES)[number];

export type Variables = Readonly<Record<string, string | undefined>>;

export interface Environment {
  readonly databaseUrl: Secret | null;
  /** What providers need and the config leaves out. */
  readonly provider: ProviderSetup;
  /** For a URL without `sslmode`. `rootCertFile`: a path, or `system` for the roots that Node trusts. */
  readonly tls: { readonly mode: SslMode | null; readonly rootCertFile: string | null };
}

type Pipelines = Pick<ProjectConfig, "pipelines">;

/** The adapters that the config's pipelines use; without a config, all of them. */
export function adaptersIn(config: Pipelines | null): readonly Adapter[] {
  if (config === null) return ADAPTERS;
  const asked = new Set(config.pipelines.map(({ provider }) => provider.dialect.name));
  return ADAPTERS.filter(({ choice }) => asked.has(choice.dialect.name));
}

/** Checks only what the config uses. @throws ConfigError (`config_invalid`) with every variable that cannot be used */
export function readEnvironment(variables: Variables, config: Pipelines | null = null): Environment {
  const problems = new Problems();
  const provider = readSetup(variables, { judged: adaptersIn(config), problems });
  const environment: Environment = {
    databaseUrl: secret(variables, "DATABASE_URL"),
    provider,
    tls: { mode: readSslMode(variables, problems), rootCertFile: present(variables, "PGSSLROOTCERT") },
  };
  problems.throwIfAny("the environment");
  return environment;
}

function readSetup(
  variables: Variables,
  { judged, problems }: { judged: readonly Adapter[]; problems: Problems },
): ProviderSetup {
  const names = ADAPTERS.flatMap((adapter) => adapter.variables.map(({ name }) => name));
  // Behind a function, so that nothing prints them.
  const values = new Map(names.map((name) => [name, present(variables, name)]));
  const setup = {
    variable: (name: string) => values.get(name) ?? null,
    proxies: readProxies(variables),
    allowHttp: present(variables, ALLOW_HTTP) === "1",
  };
  for (const { name, found, expected } of judged.flatMap((adapter) => adapter.variableProblems(setup)))
    problems.add(name, expected, found === null ? {} : { found });
  checkAllowHttp(variables, problems);
  return setup;
}

function present(variables: Variables, name: string): string | null {
  const value = variables[name];
  return value === undefined || value === "" ? null : value;
}

function secret(variables: Variables, name: string): Secret | null {
  const value = present(variables, name);
  return value === null ? null : new Secret(value);
}

function readProxies(variables: Variables): Proxies {
  return {
    https: readProxy(variables, "HTTPS_PROXY"),
    http: readProxy(variables, "HTTP_PROXY"),
    except: present(variables, "no_proxy") ?? present(variables, "NO_PROXY") ?? "",
  };
}

function readProxy(variables: Variables, name: "HTTPS_PROXY" | "HTTP_PROXY"): Proxy | null {
  // As in curl and undici, the lower-case name wins.
  const from = [name.toLowerCase(), name].find((spelled) => present(variables, spelled) !== null);
  if (from === undefined) return null;
  const value = present(variables, from) ?? "";
  const text = value.includes("://") ? value : `http://${value}`;
  const url = URL.canParse(text) ? new URL(text) : null;
  // An @ after the host: the password has an unencoded slash, and the apparent host is user and password.
  const isCut = url !== null && /@/.test(url.pathname + url.search + url.hash);
  if (url === null || isCut || !["http:", "https:"].includes(url.protocol)) return { from, place: "", address: null };
  return { from, place: url.origin, address: new Secret(text) };
}

function checkAllowHttp(variables: Variables, problems: Problems): void {
  const value = present(variables, ALLOW_HTTP);
  if (value !== null && value !== "1")
    problems.add(ALLOW_HTTP, "1 or no value", { found: JSON.stringify(value.slice(0, 60)) });
}

function readSslMode(variables: Variables, problems: Problems): SslMode | null {
  const value = present(variables, "PGSSLMODE");
  return value === null ? null : parseSslMode(value, "PGSSLMODE", problems);
}

/** Null after a mistake, which is noted at `path`. */
export function parseSslMode(value: string, path: string, problems: Problems): SslMode | null {
  const mode = SSL_MODES.find((known) => known === value);
  if (mode !== undefined) return mode;
  const found = JSON.stringify(value.slice(0, 60));
  problems.add(path, listWords(SSL_MODES), { found, nearMatch: nearMatch(value, SSL_MODES) });
  return null;
}
