/** What to do where row-level security would hide rows from this user. Pure. */
import { quoteIdentifier } from "./database.js";

export function hiddenRows(
  qualified: string,
  user: string,
): { text: string; fixes: readonly string[]; sql: readonly string[] } {
  return {
    text: `row-level security would hide rows of ${qualified} from "${user}".`,
    fixes: ["Rowmill must see all rows. Connect as the table's owner, or ask an administrator to exempt this user."],
    sql: [`alter role ${quoteIdentifier(user)} bypassrls;`],
  };
}
