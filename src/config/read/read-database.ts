/** Reads where the database is. The address holds a password, so no message repeats any of it but its scheme. */
import type { DatabaseAddress } from "../../model/pipeline.js";
import type { Place } from "./readers.js";

const EXPECTED = 'a URL such as "postgres://user@host:5432/database", or "embedded"';
const ENCODED = "In a password, write : / ? # [ ] @ % as %3A %2F %3F %23 %5B %5D %40 %25";

/** The config's own key, else the variable `DATABASE_URL`. It is a mistake if neither is set. */
export function readDatabase(place: Place, databaseUrl: string | null): DatabaseAddress {
  const fromVariable = place.value === undefined ? databaseUrl : null;
  const value = fromVariable ?? place.value;
  const path = fromVariable === null ? place.path : "DATABASE_URL";
  if (value === "embedded") return { kind: "embedded" };
  const found = whatIsWrong(value);
  if (found !== null) {
    const hint = value === undefined ? ", here or in DATABASE_URL" : found === UNREADABLE ? `. ${ENCODED}` : "";
    place.problems.add(path, `${EXPECTED}${hint}`, { found });
  }
  return { kind: "server", url: typeof value === "string" ? value : "" };
}

const UNREADABLE = "a URL that cannot be read (not shown, because it may hold a password)";

function whatIsWrong(value: unknown): string | null {
  if (value === undefined) return "nothing (and DATABASE_URL is not set)";
  if (typeof value !== "string") return value === null ? "null" : `a value of type ${typeof value}`;
  if (value === "") return "an empty text";
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(value)?.[1];
  if (scheme === undefined) return "a text that is not a URL (not shown, because it may hold a password)";
  if (scheme !== "postgres" && scheme !== "postgresql") return `a URL that begins with ${scheme}://`;
  if (value.includes("\0")) return "a URL with a NUL character";
  return isReadable(value) ? null : UNREADABLE;
}

function isReadable(value: string): boolean {
  // `postgres://user@/database` leaves the host to the parameter `host`, as for a Unix socket.
  const withHost = value.replace("@/", "@localhost/");
  if (!URL.canParse(withHost)) return false;
  const url = new URL(withHost);
  // An unencoded / ? or # in a password cuts the address short, and the rest is read as database or parameter.
  if (url.hash !== "" || /@/.test(url.pathname + url.search)) return false;
  return [url.username, url.password, url.pathname].every(isDecodable);
}

function isDecodable(part: string): boolean {
  try {
    decodeURIComponent(part);
    return true;
  } catch {
    // It throws only for malformed percent-encoding.
    return false;
  }
}
