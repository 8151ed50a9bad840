/**
 * Owns the meaning of `sslmode` and `sslrootcert`, which is libpq's
 * (https://www.postgresql.org/docs/current/libpq-ssl.html), with three differences that are said in the docs:
 * the default files in `~/.postgresql` are not read; `verify-full` without a root certificate trusts the roots
 * that Node trusts; `allow` is read as `prefer`, because `pg` cannot repeat a refused start over TLS.
 */
import { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import type { ConnectionOptions } from "node:tls";
import type pg from "pg";
import { parseSslMode, type Environment, type SslMode } from "../load/environment.js";
import type { Problems } from "../read/problems.js";
import { PreferTlsSocket } from "./prefer-tls-socket.js";

/** All parameters of a URL that begin with `ssl` and mean something here. `ssl=true` is `sslmode=require`. */
export const TLS_PARAMETERS = ["sslmode", "sslrootcert", "sslcert", "sslkey", "ssl"] as const;

/** libpq's word for the roots that the system trusts; here: those that Node trusts. */
const SYSTEM_ROOTS = "system";

type TlsClientConfig = Pick<pg.ClientConfig, "ssl" | "stream">;

/** `ssl` is always there, so that `pg` never looks at the variable `PGSSLMODE` itself. Mistakes are noted. */
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
  /** The parameter or variable that says it; null: nothing does, and it is the default. */
  readonly modeFrom: "sslmode" | "ssl" | "PGSSLMODE" | null;
  readonly rootCert: RootCert;
}

interface RootCert {
  readonly file: string | null;
  /** Where it stands, or where it would be missed. */
  readonly from: "sslrootcert" | "PGSSLROOTCERT";
}

/** What holds, and which parameter of the URL or variable says so. Reads no file; mistakes are noted under that name. */
export function tlsSettings(
  parameters: URLSearchParams,
  env: Environment["tls"],
  problems: Problems,
): TlsSettings {
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
    const expected = `"verify-full": with ${rootCert.from}=system anyone's certificate is trusted, so the name must be checked`;
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

function verification(
  mode: "require" | "verify-ca" | "verify-full",
  rootCertFile: string | null,
): ConnectionOptions {
  if (mode === "verify-full") return { rejectUnauthorized: true };
  if (mode === "require" && rootCertFile === null) return { rejectUnauthorized: false };
  return { rejectUnauthorized: true, checkServerIdentity: () => undefined };
}

function readRoots({ file, from }: RootCert, mode: SslMode, problems: Problems): ConnectionOptions {
  if (file === null && mode === "verify-ca") {
    const expected =
      "the file of the certificate authority (sslrootcert or PGSSLROOTCERT), which verify-ca needs";
    problems.add("sslrootcert", expected, { found: "nothing" });
  }
  if (file === null || file === SYSTEM_ROOTS || mode === "allow" || mode === "prefer") return {};
  const ca = readPem(file, from, problems);
  if (ca !== null) requireCertificate(ca, { file, from }, problems);
  return { ca: ca ?? "" };
}

/** Node takes a file without a certificate for no authority at all, and then trusts nobody without saying why. */
function requireCertificate(
  pem: string,
  { file, from }: { file: string; from: string },
  problems: Problems,
): void {
  try {
    // Throws for what is none: that is the question.
    void new X509Certificate(pem).serialNumber;
  } catch {
    problems.add(from, "a file of certificates in PEM format", {
      found: `${JSON.stringify(file)} (no certificate can be read in it)`,
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
