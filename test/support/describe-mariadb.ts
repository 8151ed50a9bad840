/** Tests that need MariaDB. */
import { describe } from "vitest";
import { mariadbMissingBecause } from "./mariadb.js";

/** The group is skipped with the reason in its title where there is no server. */
export function describeMariaDb(body: () => void): void {
  if (mariadbMissingBecause === null) describe("on MariaDB", body);
  else describe.skip(`on MariaDB (skipped: ${mariadbMissingBecause})`, body);
}
