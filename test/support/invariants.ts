/**
 * The invariants of the ledger (src/store/ledger/invariants.ts) for tests: run after every test that touches the
 * store.
 */
import type { Queryable } from "../../src/postgres/database.js";
import { audit } from "../../src/store/ledger/invariants.js";

/** Nothing when all of them hold. */
export async function findViolations(database: Queryable): Promise<string[]> {
  const audited = await audit(database);
  return audited.flatMap(({ number, title, violations }) =>
    violations.map((violation) => `${number}. ${title}: ${violation}`),
  );
}
