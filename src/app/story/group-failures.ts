/** Why the failed rows that match a predicate failed: their pages, each grouped by the database, added up. */
import type { Database } from "../../postgres/database.js";
import * as failures from "../../store/requests/failures.js";
import type { FailureGroup, Failures, FailuresWanted } from "../../store/requests/failures.js";
import { failedPages, PAGE_ROWS, type ChosenRows, type FailedIn } from "./failed-pages.js";

/** In memory at once, each with a message. All others of a table with more reasons are counted as one. */
const GROUPS_HELD_MAX = 2_000;

export async function groupFailures(
  database: Database,
  of: FailedIn,
  { groupsMax, ...chosen }: ChosenRows & Pick<FailuresWanted, "groupsMax">,
): Promise<Failures> {
  const sum = new FailureSum();
  const { pipelineId, reasons } = chosen.meant;
  for await (const { keys } of failedPages(database, of, chosen)) {
    const page = await failures.readFailures(database, {
      pipelineIds: [pipelineId],
      groupsMax: PAGE_ROWS,
      rowsMax: null,
      dropped: true,
      ...(reasons === null ? {} : { reasons }),
      ...(keys === null ? {} : { keys }),
    });
    sum.add(page.groups);
  }
  return sum.largest(groupsMax);
}

/** Groups of one cause on several pages are one. The example is that of the first page. Pure. */
class FailureSum {
  readonly #groups = new Map<string, FailureGroup>();
  #rowsNotHeld = 0;

  add(groups: readonly FailureGroup[]): void {
    for (const group of groups) {
      const cause = JSON.stringify([group.pipelineId, group.reason, group.cause]);
      const known = this.#groups.get(cause);
      if (known === undefined && this.#groups.size >= GROUPS_HELD_MAX) this.#rowsNotHeld += group.rows;
      else
        this.#groups.set(cause, {
          ...(known ?? group),
          rows: (known?.rows ?? 0) + group.rows,
          kept: (known?.kept ?? 0) + group.kept,
        });
    }
  }

  largest(max: number): Failures {
    const groups = [...this.#groups.values()].toSorted((a, b) => b.rows - a.rows);
    const rest = groups.slice(max);
    const rows = rest.reduce((sum, group) => sum + group.rows, this.#rowsNotHeld);
    return { groups: groups.slice(0, max), more: { groups: rest.length + (this.#rowsNotHeld > 0 ? 1 : 0), rows } };
  }
}
