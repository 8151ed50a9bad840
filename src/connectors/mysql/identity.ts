/** Which table a URL and a name truly mean: one server may have many names. */
import { requireAddress } from "./address.js";
import { withSession } from "./connection.js";
import { findTable } from "./inspection.js";

/** Null: there is no such table, or its server does not say who it is. @throws ConnectorError */
export async function identityOf(url: string, table: string, signal: AbortSignal): Promise<string | null> {
  const address = requireAddress(url, table);
  return withSession(address, signal, async (session) => {
    const { id } = session.server;
    if (id === null || (await findTable(session, address)) === null) return null;
    return JSON.stringify([id, address.database, address.table]);
  });
}
