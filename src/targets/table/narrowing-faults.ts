/** Values in a target made by Rowmill that the answer no longer allows. Only reads. */
import type { AnswerColumn } from "../../model/answer/answer-columns.js";
import { identifier, quoteIdentifier, raw, sql, type Reader } from "../../postgres/database.js";
import { fault, pairsOf, type Fault, type Judged } from "./fault.js";
import { columnText, listedValues } from "./statements.js";

/** No index helps to find such a value, so this bounds the time. */
const NARROWING_ROWS_MAX = 1_000_000;

/** `previous`: the answer's columns before. A CHECK of ours that would be narrower now, and a row that forbids it. */
export async function narrowingFaults(
  client: Reader,
  judged: Judged,
  previous: readonly AnswerColumn[] | null,
): Promise<readonly Fault[]> {
  const { config, facts } = judged;
  if (!facts.made || previous === null) return [];
  const faults: Fault[] = [];
  for (const { wanted, found } of pairsOf(judged)) {
    const before = previous.find(({ field }) => field === wanted.field)?.check ?? [];
    const now = wanted.check ?? before;
    const dropped = before.filter((value) => !now.includes(value));
    const check = facts.checks.find(({ text }) => {
      const listed = listedValues(text, found.name) ?? [];
      return dropped.some((value) => listed.includes(value));
    });
    // With new values the CHECK is widened, and keeps the previous ones.
    if (check === undefined || now.some((value) => !before.includes(value))) continue;
    const column = identifier(found.name);
    const value = await client.value<string>(sql`
      select t.${column}::text
      from (select ${column} from ${raw(facts.qualified)} limit ${NARROWING_ROWS_MAX}) t
      where t.${column}::text = any(${dropped}::text[])
      limit 1`);
    if (value === null) continue;
    const name = quoteIdentifier(check.name);
    const narrowed = columnText({ ...wanted, name: found.name }).replace(/^.*? check /s, "check ");
    faults.push(
      fault(
        `target: ${config.table}."${found.name}" contains ${JSON.stringify(value)}, ` +
          "which the answer no longer allows. Rowmill does not narrow a CHECK.",
        {
          sql: [
            `alter table ${facts.qualified} drop constraint ${name}, add constraint ${name} ${narrowed} not valid;`,
          ],
          fixes: ["Those rows keep the value until you send them again."],
        },
      ),
    );
  }
  return faults;
}
