import { expect, it } from "vitest";
import { afterThrown, afterWritten, startHalving, verdictOf, type Halving } from "../../src/model/halving.js";

interface Found {
  readonly by: "rows" | "target";
  readonly refused: readonly string[];
  readonly written: readonly string[];
  readonly calls: number;
}

/** Writes part by part; `isDown`: at the call of this number. */
function find(
  keys: readonly string[],
  poison: ReadonlySet<string>,
  isDown: (call: number) => boolean = () => false,
): Found {
  let halving: Halving = startHalving(keys);
  const written: string[] = [];
  for (let calls = 1; ; calls++) {
    const part = halving.parts[0] ?? [];
    if (isDown(calls) || part.some((key) => poison.has(key)))
      halving = afterThrown(
        halving,
        part.map((key) => ({ key, fence: "1", failures: 0, known: false })),
        "Thrown.",
      );
    else {
      written.push(...part);
      halving = afterWritten(halving, { empty: false });
    }
    const verdict = verdictOf(halving);
    if (verdict !== null) return { by: verdict.by, refused: verdict.refused.map(({ key }) => key), written, calls };
  }
}

const keys = Array.from({ length: 500 }, (_, index) => `row-${index}`);

it.each([[["row-0"]], [["row-499"]], [["row-7", "row-8", "row-250"]], [["row-0", "row-125", "row-250", "row-374"]]])(
  "finds the rows that make a write throw, and writes all others once: %s",
  (poison) => {
    const { by, refused, written, calls } = find(keys, new Set(poison));
    expect(by).toBe("rows");
    expect(refused.toSorted()).toEqual(poison.toSorted());
    expect(written.toSorted()).toEqual(keys.filter((key) => !poison.includes(key)).toSorted());
    expect(calls).toBeLessThan(20 * (poison.length + 1));
  },
);

it("finds every second row of a small group", () => {
  const few = keys.slice(0, 16);
  const poison = few.filter((_, index) => index % 2 === 0);
  expect(find(few, new Set(poison)).refused.toSorted()).toEqual(poison.toSorted());
});

it("takes five single rows that all throw as a target that fails, and refuses none", () => {
  expect(find(keys, new Set(keys))).toEqual({ by: "target", refused: [], written: [], calls: 5 });
  expect(find(["a", "b"], new Set(["a", "b"]))).toEqual({ by: "target", refused: [], written: [], calls: 2 });
});

it("refuses no row when the target goes down while they are halved", () => {
  const { by, refused, calls } = find(keys, new Set(["row-7"]), (call) => call > 8);
  expect({ by, refused }).toEqual({ by: "target", refused: [] });
  expect(calls).toBeLessThan(25);
});

it("refuses a single row without another one where it is known to throw so", () => {
  const verdictFor = (known: boolean) =>
    verdictOf(afterThrown(startHalving(["a"]), [{ key: "a", fence: "1", failures: 1, known }], "Bad."));
  expect(verdictFor(true)).toMatchObject({ by: "rows", refused: [{ key: "a", reason: "Bad." }] });
  expect(verdictFor(false)).toEqual({ by: "target", refused: [] });
});
