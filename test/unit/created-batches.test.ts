import { expect, it } from "vitest";
import { judgeCreated, type CreatedBatch } from "../../src/model/batch/created-batches.js";

function batch(id: string, changes: Partial<CreatedBatch> = {}): CreatedBatch {
  return { id, status: "in_progress", isOfThisCreate: true, createdAt: 100, ...changes };
}
const earlier = { isOfThisCreate: false };

const cases: readonly {
  what: string;
  listed: readonly CreatedBatch[];
  known?: readonly string[];
  mayAppear?: boolean;
  right: string | null;
  duplicates?: readonly string[];
}[] = [
  { what: "nothing is listed", listed: [], right: null },
  { what: "one is", listed: [batch("a")], right: "a" },
  {
    what: "of two of the present input the older one is right",
    listed: [batch("a", { createdAt: 101 }), batch("b")],
    right: "b",
    duplicates: ["a"],
  },
  {
    what: "of two of one second the smaller id",
    listed: [batch("b"), batch("a")],
    right: "a",
    duplicates: ["b"],
  },
  {
    what: "one of the present input before an older one of an earlier input",
    listed: [batch("a", { ...earlier, createdAt: 1 }), batch("b")],
    right: "b",
    duplicates: ["a"],
  },
  {
    what: "one that runs before an older one that failed, which is no second one",
    listed: [batch("a", { status: "failed", createdAt: 1 }), batch("b")],
    right: "b",
  },
  { what: "one that failed, of the present input", listed: [batch("a", { status: "failed" })], right: "a" },
  {
    what: "none that failed, of an earlier input",
    listed: [batch("a", { ...earlier, status: "failed" })],
    right: null,
  },
  { what: "one of an earlier input that runs all the same", listed: [batch("a", earlier)], right: "a" },
  {
    what: "not yet one of an earlier input that is being validated",
    listed: [batch("a", { ...earlier, status: "validating" })],
    right: null,
  },
  {
    what: "but when the last create can appear no more",
    listed: [batch("a", { ...earlier, status: "validating" })],
    mayAppear: false,
    right: "a",
  },
  {
    what: "none that is recorded as a second one",
    listed: [batch("a"), batch("b", { createdAt: 101 })],
    known: ["a"],
    right: "b",
  },
];

it.each(cases)(
  "judges what an intent made: $what",
  ({ listed, known = [], mayAppear = true, right, duplicates = [] }) => {
    const judged = judgeCreated(listed, { known: new Set(known), mayAppear });
    expect([judged.right?.id ?? null, judged.duplicates.map(({ id }) => id)]).toEqual([right, duplicates]);
  },
);
