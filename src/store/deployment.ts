/** Who we are to the provider: a name made once per ledger, which a batch's metadata carries. */
import { RowmillError } from "../model/errors.js";
import { sql, type Reader } from "./database.js";

export async function deploymentId(client: Reader): Promise<string> {
  const row = await client.first<{ id: string }>(sql`select id from rowmill.deployment`);
  if (!row)
    throw new RowmillError(
      "internal",
      "The schema rowmill has no deployment; it was not migrated by Rowmill.",
    );
  return row.id;
}
