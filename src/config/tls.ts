/**
 * Owns the meaning of `sslmode` and `sslrootcert`, which is libpq's
 * (https://www.postgresql.org/docs/current/libpq-ssl.html), with three differences that are said in the docs:
 * the default files in `~/.postgresql` are not read; `verify-full` without a root certificate trusts the roots
 * that Node trusts; `allow` is read as `prefer`, because `pg` cannot repeat a refused start over TLS.
 */
import { readFileSync } from "node:fs";
import type { ConnectionOptions } from "node:tls";
import type pg from "pg";
import { parseSslMode, type Environment, type SslMode } from "./environment.js";
import type { Problems } from "./problems.js";
import { PreferTlsSocket } from "./prefer-tls-socket.js";

/** All parameters of a URL that begin with `ssl` and mean something here. `ssl=true` is `sslmode=require`. */
export const tlsParameters = ["sslmode", "sslrootcert", "sslcert", "sslkey", "ssl"] as const;

/** libpq's word for the roots that the system trusts; here: those that Node trusts. */
const systemRoots = "system";

type TlsClientConfig = Pick<pg.ClientConfig, "ssl" | "stream">;

/** `ssl` is always there, so that `pg` never looks at the variable `PGSSLMODE` itself. Mistakes are noted. */
export function tlsOptions(
  parameters: URLSearchParams,
  env: Environment["tls"],
  host: string,
  problems: Problems,
): TlsClientConfig {
  const rootCertFile = parameters.get("sslrootcert") ?? env.rootCertFile;
  const mode = modeOf(parameters, env, rootCertFile, problems);
  // As in libpq, a Unix socket is never encrypted: its traffic leaves no machine.
  if (mode === "disable" || host.startsWith("/")) return { ssl: false };
  const client = clientCertificate(parameters, problems);
  const roots = readRoots(rootCertFile, mode, problems);
  if (mode === "allow" || mode === "prefer") {
    return { ssl: false, stream: () => new PreferTlsSocket({ ...client, rejectUnauthorized: false }) };
  }
  return { ssl: { ...client, ...roots, ...verification(mode, rootCertFile) } };
}

function modeOf(
  parameters: URLSearchParams,
  env: Environment["tls"],
  rootCertFile: string | null,
  problems: Problems,
): SslMode {
  const named = parameters.get("sslmode");
  const flag = parameters.get("ssl");
  const fromUrl = named === null ? modeOfFlag(flag, problems) : parseSslMode(named, "sslmode", problems);
  const mode = fromUrl ?? env.mode;
  if (rootCertFile !== systemRoots) return mode ?? "prefer";
  if (mode !== null && mode !== "verify-full") {
    const expected =
      '"verify-full": with sslrootcert=system anyone\'s certificate is trusted, so the name must be checked';
    problems.add("sslmode", expected, { found: JSON.stringify(mode) });
  }
  return "verify-full";
}

function modeOfFlag(flag: string | null, problems: Problems): SslMode | null {
  if (flag === null) return null;
  if (flag === "false" || flag === "0") return "disable";
  if (flag !== "true" && flag !== "1")
    problems.add("ssl", '"true", "1", "false" or "0"', { found: JSON.stringify(flag) });
  return "require";
}

function verification(
  mode: "require" | "verify-ca" | "verify-full",
  rootCertFile: string | null,
): ConnectionOptions {
  if (mode === "verify-full") return { rejectUnauthorized: true };
  if (mode === "require" && rootCertFile === null) return { rejectUnauthorized: false };
  return { rejectUnauthorized: true, checkServerIdentity: () => undefined };
}

function readRoots(file: string | null, mode: SslMode, problems: Problems): ConnectionOptions {
  if (file === null && mode === "verify-ca") {
    const expected =
      "the file of the certificate authority (sslrootcert or PGSSLROOTCERT), which verify-ca needs";
    problems.add("sslrootcert", expected, { found: "nothing" });
  }
  if (file === null || file === systemRoots || mode === "allow" || mode === "prefer") return {};
  return { ca: readPem(file, "sslrootcert", problems) };
}

function clientCertificate(parameters: URLSearchParams, problems: Problems): ConnectionOptions {
  const cert = parameters.get("sslcert");
  const key = parameters.get("sslkey");
  return {
    ...(cert === null ? {} : { cert: readPem(cert, "sslcert", problems) }),
    ...(key === null ? {} : { key: readPem(key, "sslkey", problems) }),
  };
}

function readPem(file: string, name: string, problems: Problems): string {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    problems.add(name, "a file in PEM format", { found: `${JSON.stringify(file)} (${reason})` });
    return "";
  }
}
