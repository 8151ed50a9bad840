/** Which table of which database a URL and a name mean. Without the user: a source's may be another than a target's. */
import { tableIdentity } from "../../model/table-name.js";

const PORT_DEFAULT = "5432";

/** Null: the URL does not say. */
export function addressOf(url: string, table: string): string | null {
  if (!URL.canParse(url)) return null;
  const { hostname, port, pathname, searchParams } = new URL(url);
  const host = searchParams.get("host") ?? hostname.toLowerCase();
  return JSON.stringify(["postgres", host, port === "" ? PORT_DEFAULT : port, pathname, tableIdentity(table)]);
}

/** Not the host, by which workers may call one server differently. */
export function databaseOf(url: string): string {
  return URL.canParse(url) ? new URL(url).pathname : "";
}
