/** What DynamoDB itself calls a table, whatever the options call it. */
import { describeTable, openTable } from "./client.js";
import type { TablePlace } from "./place.js";

/** Null: there is no such table, or its server gives no ids. @throws ConnectorError */
export async function identityOf(place: TablePlace, signal: AbortSignal): Promise<string | null> {
  const table = await openTable(place);
  try {
    return (await describeTable(table, signal))?.id ?? null;
  } finally {
    table.close();
  }
}
