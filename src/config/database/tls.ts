/**
 * Owns the meaning of `sslmode` and `sslrootcert`, which is libpq's
 * (https://www.postgresql.org/docs/current/libpq-ssl.html) with three documented differences: the files in
 * `~/.postgresql` are not read, `verify-full` without a root certificate trusts Node's roots, and `allow` is `prefer`,
 * because `pg` cannot repeat a refused start over TLS.
 */
import { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import type { ConnectionOptions } from "node:tls";
import type pg from "pg";
import { parseSslMode, type Environment, type SslMode } from "../load/environment.js";
import type { Problems } from "../read/problems.js";
import { PreferTlsSocket } from "./prefer-tls-socket.js";

/** All parameters of a URL that begin with `ssl` and have a meaning. `ssl=true` is `sslmode=require`. */
export const TLS_PARAMETERS = ["sslmode", "sslrootcert", "sslcert", "sslkey", "ssl"] as const;

/** libpq's word for the roots that the system trusts; here, Node's. */
const SYSTEM_ROOTS = "system";

type TlsClientConfig = Pick<pg.ClientConfig, "ssl" | "stream">;

/** `ssl` is always set, so that `pg` never reads the variable `PGSSLMODE`. Mistakes go to `problems`. */
export function tlsOptions(
  parameters: URLSearchParams,
  env: Environment["tls"],
  host: string,
  problems: Problems,
): TlsClientConfig {
  const { mode, rootCert } = tlsSettings(parameters, env, problems);
  // As in libpq, a Unix socket is never encrypted: its traffic leaves no machine.
  if (mode === "disable" || host.startsWith("/")) return { ssl: false };
  const client = clientCertificate(parameters, problems);
  const roots = readRoots(rootCert, mode, problems);
  if (mode === "allow" || mode === "prefer") {
    return { ssl: false, stream: () => new PreferTlsSocket({ ...client, rejectUnauthorized: false }) };
  }
  return { ssl: { ...client, ...roots, ...verification(mode, rootCert.file) } };
}

interface TlsSettings {
  readonly mode: SslMode;
  /** The parameter or variable that sets the mode, or null for the default. */
  readonly modeFrom: "sslmode" | "ssl" | "PGSSLMODE" | null;
  readonly rootCert: RootCert;
}

interface RootCert {
  readonly file: string | null;
  /** Where it is set, or should be. */
  readonly from: "sslrootcert" | "PGSSLROOTCERT";
}

/** The settings that apply, and which parameter or variable they come from. Reads no file. */
export function tlsSettings(parameters: URLSearchParams, env: Environment["tls"], problems: Problems): TlsSettings {
  const inUrl = parameters.get("sslrootcert");
  const file = inUrl ?? env.rootCertFile;
  const rootCert = { file, from: inUrl === null && file !== null ? "PGSSLROOTCERT" : "sslrootcert" } as const;
  return { ...modeOf(parameters, env, rootCert, problems), rootCert };
}

function modeOf(
  parameters: URLSearchParams,
  env: Environment["tls"],
  rootCert: RootCert,
  problems: Problems,
): Omit<TlsSettings, "rootCert"> {
  const named = parameters.get("sslmode");
  const flag = parameters.get("ssl");
  const fromUrl = named === null ? modeOfFlag(flag, problems) : parseSslMode(named, "sslmode", problems);
  const mode = fromUrl ?? env.mode;
  const inUrl = named === null ? "ssl" : "sslmode";
  const modeFrom = fromUrl !== null ? inUrl : env.mode === null ? null : "PGSSLMODE";
  if (rootCert.file !== SYSTEM_ROOTS) return { mode: mode ?? "prefer", modeFrom };
  if (mode !== null && mode !== "verify-full") {
    const expected = `"verify-full", because ${rootCert.from}=system is safe only if the name is checked`;
    problems.add(modeFrom ?? "sslmode", expected, { found: JSON.stringify(mode) });
  }
  return { mode: "verify-full", modeFrom };
}

function modeOfFlag(flag: string | null, problems: Problems): SslMode | null {
  if (flag === null) return null;
  if (flag === "false" || flag === "0") return "disable";
  if (flag !== "true" && flag !== "1")
    problems.add("ssl", '"true", "1", "false" or "0"', { found: JSON.stringify(flag) });
  return "require";
}

function verification(mode: "require" | "verify-ca" | "verify-full", rootCertFile: string | null): ConnectionOptions {
  if (mode === "verify-full") return { rejectUnauthorized: true };
  if (mode === "require" && rootCertFile === null) return { rejectUnauthorized: false };
  return { rejectUnauthorized: true, checkServerIdentity: () => undefined };
}

function readRoots({ file, from }: RootCert, mode: SslMode, problems: Problems): ConnectionOptions {
  if (file === null && mode === "verify-ca") {
    const expected = "the certificate authority's file, which verify-ca needs (sslrootcert or PGSSLROOTCERT)";
    problems.add("sslrootcert", expected, { found: "nothing" });
  }
  if (file === null || file === SYSTEM_ROOTS || mode === "allow" || mode === "prefer") return {};
  const ca = readPem(file, from, problems);
  if (ca !== null) requireCertificate(ca, { file, from }, problems);
  return { ca: ca ?? "" };
}

/** With a file that holds no certificate, Node would trust no server and not say why. */
function requireCertificate(pem: string, { file, from }: { file: string; from: string }, problems: Problems): void {
  try {
    // Throws if it is not a certificate.
    void new X509Certificate(pem).serialNumber;
  } catch {
    problems.add(from, "a file of certificates in PEM format", {
      found: `${JSON.stringify(file)} (it holds no readable certificate)`,
    });
  }
}

function clientCertificate(parameters: URLSearchParams, problems: Problems): ConnectionOptions {
  const cert = parameters.get("sslcert");
  const key = parameters.get("sslkey");
  return {
    ...(cert === null ? {} : { cert: readPem(cert, "sslcert", problems) ?? "" }),
    ...(key === null ? {} : { key: readPem(key, "sslkey", problems) ?? "" }),
  };
}

function readPem(file: string, name: string, problems: Problems): string | null {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    problems.add(name, "a file in PEM format", { found: `${JSON.stringify(file)} (${reason})` });
    return null;
  }
}
