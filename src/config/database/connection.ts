/**
 * Owns `pg`'s options for a database server: the parts of its URL, and TLS as libpq reads it. `pg` reads `sslmode` in
 * its own way (its `require` is libpq's `verify-full`), so the TLS parameters of the URL never reach it. Opens no
 * connection, but reads the certificate files.
 */
import type pg from "pg";
import { commonjs } from "../../model/commonjs.js";
import type { ConnectionFacts } from "../../postgres/failure.js";
import { nearMatch } from "../../model/words/near-match.js";
import type { DatabaseAddress } from "../../model/pipeline.js";
import type { Environment } from "../load/environment.js";
import { Problems, listWords } from "../read/problems.js";
import { tlsOptions, TLS_PARAMETERS, tlsSettings } from "./tls.js";

const { parseIntoClientConfig } = commonjs("pg-connection-string") as typeof import("pg-connection-string");

/** Until the server has greeted us; the URL's `connect_timeout` (seconds) wins. */
const CONNECT_MS_DEFAULT = 10_000;

type ServerAddress = DatabaseAddress & { readonly kind: "server" };

/**
 * Options for `pg.Client` and `pg.Pool`. The password is inside a function, so that printing them does not show it.
 * For TLS, the URL wins over `PGSSLMODE` and `PGSSLROOTCERT`; the default is `prefer`.
 * @throws ConfigError (`config_invalid`) for a TLS setting that cannot be used, without repeating the URL.
 */
export function connectionOptions(address: ServerAddress, env: Pick<Environment, "tls">): pg.ClientConfig {
  const url = new URL(withHost(address.url));
  const parameters = url.searchParams;
  const problems = new Problems();
  refuseUnknownTlsParameters(parameters, problems);
  const parsed = parseIntoClientConfig(withoutTls(address.url));
  const tls = tlsOptions(parameters, env.tls, parsed.host ?? "", problems);
  problems.throwIfAny("the connection to the database");
  const { user, host, port, database, application_name: applicationName, options, password } = parsed;
  return {
    ...(user === undefined ? {} : { user }),
    ...(host === undefined ? {} : { host }),
    ...(port === undefined ? {} : { port }),
    ...(database === undefined ? {} : { database }),
    ...(options === undefined ? {} : { options }),
    ...(typeof password === "string" && password !== "" ? { password: () => password } : {}),
    application_name: applicationName ?? "rowmill",
    connectionTimeoutMillis: connectMs(parameters.get("connect_timeout")),
    keepAlive: true,
    // libpq binds the login to the TLS channel where it can; `pg` does so only on request.
    enableChannelBinding: tls.ssl !== false,
    ...tls,
  };
}

/** `host:port/database`, for messages: no user, no password, no parameters. */
export function describeServer(address: ServerAddress): string {
  const { host, port, database } = parseIntoClientConfig(withoutTls(address.url));
  return `${host ?? "localhost"}:${port ?? 5432}/${database ?? ""}`;
}

/** Where the connection goes, and which setting decided it, for messages. `connectionOptions` refuses mistakes. */
export function connectionFacts(
  address: ServerAddress,
  env: Pick<Environment, "tls" | "databaseUrl">,
): ConnectionFacts {
  const addressFrom = env.databaseUrl?.reveal() === address.url ? "DATABASE_URL" : "`database` in the config";
  return connectionFactsFrom(addressFrom, address, env);
}

/** `addressFrom`: what a message calls the place of the URL. */
export function connectionFactsFrom(
  addressFrom: string,
  address: ServerAddress,
  env: Pick<Environment, "tls">,
): ConnectionFacts {
  const { host, port, user, database } = parseIntoClientConfig(withoutTls(address.url));
  const parameters = new URL(withHost(address.url)).searchParams;
  const { mode, modeFrom, rootCert } = tlsSettings(parameters, env.tls, new Problems());
  const inUrl = (name: string) => (name.startsWith("PG") ? name : `${name} in ${addressFrom}`);
  return {
    addressFrom,
    host: host ?? "localhost",
    port: port ?? 5432,
    user: user ?? null,
    database: database ?? null,
    sslMode: mode,
    sslModeFrom: modeFrom === null ? null : inUrl(modeFrom),
    rootCertFile: rootCert.file,
    rootCertFrom: rootCert.file === null ? null : inUrl(rootCert.from),
  };
}

function connectMs(seconds: string | null): number {
  const ms = Number(seconds) * 1_000;
  return Number.isSafeInteger(ms) && ms > 0 ? ms : CONNECT_MS_DEFAULT;
}

function withHost(url: string): string {
  return url.replace("@/", "@localhost/");
}

/** Keeps the rest of the text: a connection string need not be a well-formed URL. */
function withoutTls(url: string): string {
  const mark = url.indexOf("?");
  if (mark < 0) return url;
  const address = url.slice(0, mark);
  const kept = url
    .slice(mark + 1)
    .split("&")
    .filter((pair) => !/^(ssl|uselibpqcompat|connect_timeout)/i.test(pair));
  return kept.length === 0 ? address : `${address}?${kept.join("&")}`;
}

/** A misspelt `sslmode` must not become an unencrypted connection. */
function refuseUnknownTlsParameters(parameters: URLSearchParams, problems: Problems): void {
  for (const name of parameters.keys()) {
    if (!/^ssl/i.test(name) || TLS_PARAMETERS.some((known) => known === name)) continue;
    const details = { found: JSON.stringify(name), nearMatch: nearMatch(name, TLS_PARAMETERS) };
    problems.add("parameters of the URL", listWords(TLS_PARAMETERS), details);
  }
}
