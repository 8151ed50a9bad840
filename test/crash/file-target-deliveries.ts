/** What a worker delivers into a file in the tests of its crashes: the second round changes the first. */
import type { AnswerColumn } from "../../src/model/answer/answer-columns.js";
import type { Change, TargetConnector } from "../../src/model/connector.js";

const FIELDS: readonly AnswerColumn[] = [{ field: "label", type: "text", nullable: true, check: null }];
export const KEYS = Array.from({ length: 9 }, (_, index) => `row-${index}`);

function answer(key: string, fence: number): Change {
  return { key, fence: String(fence), model: "m", cells: { label: `${key} ${fence}` } };
}

/** Each list is one write; after each round nothing waits. */
export const ROUNDS: readonly (readonly (readonly Change[])[])[] = [
  [KEYS.slice(0, 4).map((key) => answer(key, 1)), KEYS.slice(4).map((key) => answer(key, 2))],
  [[answer("row-1", 3), { key: "row-2", fence: "4", deleted: true }], [answer("row-5", 5)]],
];

/** As the ledger does after a crash, it delivers everything again that it may have delivered. */
export async function deliverAll(target: TargetConnector): Promise<void> {
  const { signal } = new AbortController();
  await target.prepare({ pipeline: "films", fields: FIELDS, key: [{ name: "id", type: "text" }], signal });
  for (const [round, writes] of ROUNDS.entries()) {
    for (const [place, changes] of writes.entries())
      await target.write(changes, { pipeline: "films", id: `${round}-${place}`, signal });
    await target.settle?.({ pipeline: "films", signal });
  }
}
