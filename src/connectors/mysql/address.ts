/** What a `mysql://` URL and a table's name mean. No message repeats the URL, which holds a password. */
import { ConnectorError } from "../../model/connector.js";
import { parseTableName } from "../../model/table-name.js";

const PORT_DEFAULT = 3306;
const LOOPBACK = new Set(["localhost", "127.0.0.1", "[::1]"]);
const SSL_MODES = ["DISABLED", "REQUIRED", "VERIFY_CA", "VERIFY_IDENTITY"] as const;

type SslMode = (typeof SSL_MODES)[number];

export interface Address {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password: string;
  readonly database: string;
  readonly table: string;
  /** `host:port/database`, for messages. */
  readonly place: string;
  readonly sslMode: SslMode;
  /** A file with certificates. Null: those that Node.js trusts. */
  readonly sslCa: string | null;
}

/** Which table of which database. Without the user: a source's may be another than a target's. */
export function addressOf(url: string, table: string): string | null {
  if (!isUrl(url)) return null;
  const { host, port, database, table: name } = readAddress(url, table);
  return JSON.stringify(["mysql", host.toLowerCase(), port, database, name]);
}

/** Not the host, by which workers may call one server differently. */
export function databaseOf(url: string): string {
  return URL.canParse(url) ? new URL(url).pathname : "";
}

function isUrl(url: string): boolean {
  return /^(?:mysql|mariadb):\/\//.test(url) && URL.canParse(url);
}

/** @throws ConnectorError */
export function requireAddress(url: string, table: string): Address {
  if (url === "") throw new ConnectorError("stop", `mysql(): no url for the table ${table}. Set its variable.`);
  if (!isUrl(url)) throw new ConnectorError("stop", `mysql(): the url for the table ${table} is not a mysql:// URL.`);
  const address = readAddress(url, table);
  if (address.database === "")
    throw new ConnectorError("stop", `mysql(): the url for the table ${table} names no database.`, {
      hints: ["Put it at the end: mysql://user:password@host:3306/database"],
    });
  if (SSL_MODES.includes(address.sslMode)) return address;
  throw new ConnectorError("stop", `mysql(): ssl-mode must be one of: ${SSL_MODES.join(", ")}.`);
}

function readAddress(url: string, table: string): Address {
  const { hostname, port: written, username, password, pathname, searchParams } = new URL(url);
  const { schema, name } = parseTableName(table) ?? { schema: null, name: table };
  const port = written === "" ? PORT_DEFAULT : Number(written);
  const database = plain(pathname.slice(1));
  return {
    host: hostname.replace(/^\[(.*)\]$/, "$1"),
    port,
    user: plain(username),
    password: plain(password),
    database: schema ?? database,
    table: name,
    place: `${hostname}:${port}/${database}`,
    sslMode: (searchParams.get("ssl-mode")?.toUpperCase() ?? sslModeFor(hostname)) as SslMode,
    sslCa: searchParams.get("ssl-ca"),
  };
}

function sslModeFor(hostname: string): SslMode {
  return LOOPBACK.has(hostname.toLowerCase()) ? "DISABLED" : "VERIFY_IDENTITY";
}

function plain(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
