/** Which table a URL and a name truly mean: one server may have many names. */
import { sql } from "../../postgres/database.js";
import { relationNamed } from "../../sources/table/inspection.js";
import { openServer } from "./server.js";

/** Null: there is no such table, or its server does not say who it is. @throws ConnectorError */
export async function identityOf(url: string, table: string, signal: AbortSignal): Promise<string | null> {
  const { database, explain } = openServer(url, table, { poolMax: 1 });
  try {
    signal.throwIfAborted();
    return await database.transaction(
      async (tx) => {
        const relation = await relationNamed(tx, table);
        const allowed = await tx.value<boolean>(
          sql`select has_function_privilege('pg_catalog.pg_control_system()', 'execute')`,
        );
        if (relation === null || allowed !== true) return null;
        return tx.value<string>(sql`
          select concat_ws(' ', c.system_identifier, d.oid, ${relation.oid}::text)
          from pg_catalog.pg_control_system() c, pg_catalog.pg_database d
          where d.datname = current_database()`);
      },
      { readOnly: true },
    );
  } catch (error) {
    throw explain(error);
  } finally {
    await database.close();
  }
}
