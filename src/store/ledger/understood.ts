/**
 * Whether this Rowmill may work with the ledger. Newer versions change its schema while older workers run. A
 * migration that older versions cannot work with records it in `rowmill.deployment`, in its own transaction: from
 * then on they claim no batch, begin no round, and stop.
 */
import { RowmillError } from "../../model/errors.js";
import { sql, type Reader, type Sql } from "../../postgres/database.js";

/** The number of the newest file in `migrations/`. */
export const LEDGER_VERSION = 1;

/** For statements that must have no effect in a ledger for newer versions only. */
export const IS_UNDERSTOOD: Sql = sql`(select d.oldest_version from rowmill.deployment d) <= ${LEDGER_VERSION}`;

/** The oldest version that may work here; also reads a ledger that is older than that column. */
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
    `A newer Rowmill upgraded this ledger to schema version ${oldest}; this Rowmill knows ${LEDGER_VERSION}.`,
    {
      hints: [
        "Install the newer version of Rowmill: npm install rowmill@latest",
        "Nothing is lost: workers of the newer version continue what this one had begun.",
      ],
    },
  );
}
