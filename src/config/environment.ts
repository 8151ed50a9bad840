/**
 * Owns the variables that Rowmill reads, all of them: `DATABASE_URL`, `OPENAI_API_KEY`, `OPENAI_BASE_URL`,
 * `OPENAI_ORG_ID`, `OPENAI_PROJECT_ID`, `ROWMILL_ALLOW_HTTP`, `PGSSLMODE`, `PGSSLROOTCERT`, and `HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY`
 * in upper or lower case. A variable that is set but empty counts as absent. Parsed once at the rim; nothing after it looks at
 * `process.env`. (`pg` itself falls back on `PGUSER`, `PGPASSWORD` and the like where the URL leaves them out.)
 */
import { nearMatch } from "../model/near-match.js";
import { proxyFor, type Proxies, type Proxy } from "../model/proxy.js";
import { Problems, listWords } from "./problems.js";
import { Secret } from "./secret.js";

/** The names and meanings of libpq. */
const sslModes = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"] as const;

export type SslMode = (typeof sslModes)[number];

export type Variables = Readonly<Record<string, string | undefined>>;

export interface Environment {
  readonly databaseUrl: Secret | null;
  readonly openai: {
    readonly apiKey: Secret | null;
    /** Without a slash at its end; null: OpenAI's own. */
    readonly baseUrl: string | null;
    readonly organization: string | null;
    readonly project: string | null;
    /** The key may go over plain http to another machine. */
    readonly allowHttp: boolean;
  };
  /** On the way to the provider. */
  readonly proxies: Proxies;
  /** What the database's URL does not say itself. `rootCertFile`: a path, or `system` for the roots that Node trusts. */
  readonly tls: { readonly mode: SslMode | null; readonly rootCertFile: string | null };
}

/**
 * Reads the variables; a key that is not needed is not asked for.
 * @throws ConfigError (`config_invalid`) with every variable that cannot be used.
 */
export function readEnvironment(variables: Variables): Environment {
  const problems = new Problems();
  const environment: Environment = {
    databaseUrl: secret(variables, "DATABASE_URL"),
    openai: {
      apiKey: secret(variables, "OPENAI_API_KEY"),
      baseUrl: readBaseUrl(variables, problems),
      organization: present(variables, "OPENAI_ORG_ID"),
      project: present(variables, "OPENAI_PROJECT_ID"),
      allowHttp: readAllowHttp(variables, problems),
    },
    proxies: readProxies(variables),
    tls: { mode: readSslMode(variables, problems), rootCertFile: present(variables, "PGSSLROOTCERT") },
  };
  checkProxy(environment, problems);
  problems.throwIfAny("the environment");
  return environment;
}

function present(variables: Variables, name: string): string | null {
  const value = variables[name];
  return value === undefined || value === "" ? null : value;
}

function secret(variables: Variables, name: string): Secret | null {
  const value = present(variables, name);
  return value === null ? null : new Secret(value);
}

function readBaseUrl(variables: Variables, problems: Problems): string | null {
  const value = present(variables, "OPENAI_BASE_URL");
  if (value === null) return null;
  const url = URL.canParse(value) ? new URL(value) : null;
  if (url === null || !["http:", "https:"].includes(url.protocol)) {
    problems.add("OPENAI_BASE_URL", 'a URL such as "https://api.openai.com/v1"', { found: "something else" });
  } else if (url.username !== "" || url.password !== "" || url.search !== "" || url.hash !== "") {
    problems.add(
      "OPENAI_BASE_URL",
      "a URL without a user, a password, `?` and `#`: the key goes into OPENAI_API_KEY",
    );
  } else {
    const right = withVersion(url);
    if (right !== null)
      problems.add("OPENAI_BASE_URL", `the URL with the version of the API: ${JSON.stringify(right)}`, {
        found: JSON.stringify(value),
      });
  }
  return value.replace(/\/+$/, "");
}

/** Where the API is below the host, for those that have it elsewhere than at `/v1`. */
const API_PATHS: readonly (readonly [RegExp, string])[] = [
  [/\.openai\.azure\.com$|\.services\.ai\.azure\.com$/, "/openai/v1"],
  [/^api\.groq\.com$|^api\.novita\.ai$/, "/openai/v1"],
  [/^openrouter\.ai$/, "/api/v1"],
  [/^generativelanguage\.googleapis\.com$/, "/v1beta/openai"],
];

/** What the user most likely means, where the URL cannot be the API's: nothing below its host, or one of its calls. Null: it may be right. */
function withVersion({ origin, hostname, pathname }: URL): string | null {
  const path = pathname.replace(/\/+$/, "");
  const base = path.replace(
    /\/(?:chat\/completions|completions|responses|embeddings|models|files|batches)$/,
    "",
  );
  const isOpenAI = hostname === "api.openai.com";
  if (base !== "" && base === path && (!isOpenAI || base === "/v1")) return null;
  const [, known] = API_PATHS.find(([hosts]) => hosts.test(hostname)) ?? [];
  return origin + (base === "" || isOpenAI ? (known ?? "/v1") : base);
}

function readProxies(variables: Variables): Proxies {
  return {
    https: readProxy(variables, "HTTPS_PROXY"),
    http: readProxy(variables, "HTTP_PROXY"),
    except: present(variables, "no_proxy") ?? present(variables, "NO_PROXY") ?? "",
  };
}

function readProxy(variables: Variables, name: "HTTPS_PROXY" | "HTTP_PROXY"): Proxy | null {
  // As curl and undici have it: the lower-case name goes before.
  const from = [name.toLowerCase(), name].find((spelled) => present(variables, spelled) !== null);
  if (from === undefined) return null;
  const value = present(variables, from) ?? "";
  const text = value.includes("://") ? value : `http://${value}`;
  const url = URL.canParse(text) ? new URL(text) : null;
  // An @ behind the host: a slash in the password was not encoded, and what seems to be the host is user and password.
  const isCut = url !== null && /@/.test(url.pathname + url.search + url.hash);
  if (url === null || isCut || !["http:", "https:"].includes(url.protocol))
    return { from, place: "", address: null };
  return { from, place: url.origin, address: new Secret(text) };
}

/** Other programs may understand what Rowmill does not: it is a mistake only where it would be used. */
function checkProxy({ openai, proxies }: Environment, problems: Problems): void {
  const baseUrl = openai.baseUrl ?? "https://api.openai.com/v1";
  const proxy = URL.canParse(baseUrl) ? proxyFor(new URL(baseUrl), proxies) : null;
  if (proxy === null || proxy.address !== null) return;
  problems.add(
    proxy.from,
    `the URL of an HTTP proxy, such as "http://host:3128"; or set NO_PROXY=${new URL(baseUrl).hostname} to go without it`,
    { found: "something else" },
  );
}

function readAllowHttp(variables: Variables, problems: Problems): boolean {
  const value = present(variables, "ROWMILL_ALLOW_HTTP");
  if (value === null || value === "1") return value === "1";
  const found = JSON.stringify(value.slice(0, 60));
  problems.add("ROWMILL_ALLOW_HTTP", "1, or to be unset", { found });
  return false;
}

function readSslMode(variables: Variables, problems: Problems): SslMode | null {
  const value = present(variables, "PGSSLMODE");
  return value === null ? null : parseSslMode(value, "PGSSLMODE", problems);
}

/** Null after a mistake, which is noted at `path`. */
export function parseSslMode(value: string, path: string, problems: Problems): SslMode | null {
  const mode = sslModes.find((known) => known === value);
  if (mode !== undefined) return mode;
  const found = JSON.stringify(value.slice(0, 60));
  problems.add(path, listWords(sslModes), { found, nearMatch: nearMatch(value, sslModes) });
  return null;
}
