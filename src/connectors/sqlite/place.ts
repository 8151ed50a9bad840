/** Where a database is: a file of this machine, or a server of libSQL such as Turso. */
import { stat } from "node:fs/promises";
import { resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { ConnectorError } from "../../model/connector.js";

export type Place =
  /** `path`: absolute. */
  | { readonly kind: "file"; readonly path: string; readonly shown: string }
  /** `url`: without a token. */
  | { readonly kind: "server"; readonly url: string; readonly shown: string; readonly token: string | null };

const SERVERS = new Set(["libsql:", "https:", "http:", "wss:", "ws:"]);

/** `table`: for messages, which never repeat a URL. @throws ConnectorError */
export function placeOf(url: string, table: string): Place {
  if (url === "") throw new ConnectorError("stop", `sqlite(): no url for the table ${table}. Set its variable.`);
  const place = /^file:/i.test(url) ? fileOf(url) : serverOf(url);
  if (place !== null) return place;
  throw new ConnectorError("stop", `sqlite(): the url for the table ${table} is neither a file nor a server.`, {
    hints: ['A file is "file:films.db" or "file:/data/films.db", a server "libsql://films-example.turso.io".'],
  });
}

function fileOf(url: string): Place | null {
  const path = pathOf(url);
  if (path === null || path === "" || path.startsWith(":memory:")) return null;
  return { kind: "file", path: resolve(path), shown: resolve(path) };
}

/** Null: it has a host, options, or a part that is no text. */
function pathOf(url: string): string | null {
  if (/[?#]/.test(url)) return null;
  try {
    if (/^file:\/\//i.test(url)) return fileURLToPath(url);
    return decodeURIComponent(url.slice("file:".length));
  } catch {
    return null;
  }
}

function serverOf(url: string): Place | null {
  if (!URL.canParse(url)) return null;
  const parsed = new URL(url);
  if (!SERVERS.has(parsed.protocol)) return null;
  const token = parsed.searchParams.get("authToken");
  parsed.searchParams.delete("authToken");
  parsed.username = "";
  parsed.password = "";
  return { kind: "server", url: parsed.href, shown: parsed.host, token };
}

/** Which table it is. Null: the URL does not say. */
export function addressOf(url: string, table: string): string | null {
  const where = whereOf(url);
  return where === null ? null : JSON.stringify(["sqlite", where, nameOf(table)]);
}

/** The same whatever the path: a file may have many. Null: of a server, or there is no such file. */
export async function identityOf(url: string, table: string): Promise<string | null> {
  const place = placeOf(url, table);
  if (place.kind === "server") return null;
  const found = await stat(place.path, { bigint: true }).catch(() => null);
  return found === null ? null : `sqlite ${found.dev} ${found.ino} ${nameOf(table)}`;
}

/** The file or the server, without a token. Null: the URL does not say. */
function whereOf(url: string): string | null {
  try {
    const place = placeOf(url, "");
    return place.kind === "file" ? place.path : place.url;
  } catch {
    return null;
  }
}

/** As it is written, without a token: workers may have the file in different folders. */
export function writtenPlace(url: string): string {
  return /^file:/i.test(url) ? url : (whereOf(url) ?? "");
}

/** SQLite folds names of ASCII letters. */
export function nameOf(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => letter.toLowerCase());
}

/** `create`: a file that is missing is made, at the first write. The driver takes such options only so. */
export function driverUrl(place: Place, mode: "read" | "write" | "create"): string {
  if (place.kind === "server") return place.url;
  const option = { read: "ro", write: "rw", create: "rwc" }[mode];
  return `file:${encodeURIComponent(`${pathToFileURL(place.path).href}?mode=${option}`)}`;
}
