/**
 * Owns the variables that Rowmill reads, all of them: `DATABASE_URL`, `OPENAI_API_KEY`, `OPENAI_BASE_URL`,
 * `OPENAI_ORG_ID`, `OPENAI_PROJECT_ID`, `ROWMILL_ALLOW_HTTP`, `PGSSLMODE`, `PGSSLROOTCERT`. A variable that is set but
 * empty counts as absent. Parsed once at the rim; nothing after it looks at `process.env`. (`pg` itself falls back on `PGUSER`,
 * `PGPASSWORD` and the like where the URL leaves them out.)
 */
import { nearMatch } from "../model/near-match.js";
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
    tls: { mode: readSslMode(variables, problems), rootCertFile: present(variables, "PGSSLROOTCERT") },
  };
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
  }
  return value.replace(/\/+$/, "");
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
