/**
 * Whether this Rowmill may work with the ledger that it finds. Newer versions bring its schema forward while older workers run; those
 * live with what was only added. A migration that they cannot live with says so in `rowmill.deployment`, in its own transaction: from
 * then on they take no batch (`claim` asks in its own statement), begin no round, and stop.
 */
import { RowmillError } from "../../model/errors.js";
import { sql, type Reader, type Sql } from "../../postgres/database.js";

/** The number of the newest file in `migrations/`: what this Rowmill knows. */
export const LEDGER_VERSION = 1;

/** For a statement that must not take effect in a ledger which this Rowmill does not understand. */
export const IS_UNDERSTOOD: Sql = sql`(select d.oldest_version from rowmill.deployment d) <= ${LEDGER_VERSION}`;

/** The oldest version that a worker must know to work here. Also of a ledger whose schema is older than that column. */
export async function oldestVersion(client: Reader): Promise<number> {
  const row = await client.first<{ oldest: number }>(sql`
    select coalesce((to_jsonb(d) ->> 'oldest_version')::int, 1) as oldest
    from rowmill.deployment d`);
  return row?.oldest ?? 1;
}

/** @throws RowmillError `version_too_old` */
export async function requireUnderstood(client: Reader): Promise<void> {
  refuseNewer(await oldestVersion(client));
}

/** @throws RowmillError `version_too_old` */
export function refuseNewer(oldest: number): void {
  if (oldest <= LEDGER_VERSION) return;
  throw new RowmillError(
    "version_too_old",
    `A newer Rowmill changed the ledger in this database: it takes one that knows schema version ${oldest}, this one knows ${LEDGER_VERSION}.`,
    {
      hints: [
        "Install the newer version of Rowmill: npm install rowmill@latest",
        "Nothing is lost: workers of the newer version go on with what this one had in hand.",
      ],
    },
  );
}
