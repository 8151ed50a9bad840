/**
 * What a target must do beside `describeTarget` if it writes answers back into the source's own rows, as a suite for
 * any test runner.
 */
import type { Change, RowAfter, TargetConnector, Written } from "../model/connector.js";
import type { AnswerColumn } from "../model/answer/answer-columns.js";
import type { SourceRow } from "./describe-source.js";
import { deletion, keysOf, onlyWritten } from "./describe-target.js";
import type { TestRunner } from "./test-runner.js";

/** A place of its own for each test, with rows that have the columns `id`, `text` and `label`. */
export interface WriteBackUnderTest {
  /** Another connector to the same place, as another worker opens it. Answers have the field `label`. */
  connect(): TargetConnector;
  /** Adds rows, or changes the text of those that are there. */
  put(rows: readonly SourceRow[]): Promise<void>;
  remove(ids: readonly string[]): Promise<void>;
  /** All rows, by id. `label`: null where there is no answer. */
  rows(): Promise<ReadonlyMap<string, { readonly text: string | null; readonly label: string | null }>>;
  /** From now on each write of an answer adds `!` to the row's text, as a trigger may. Left out: nothing there can. */
  spoil?(): Promise<void>;
  close(): Promise<void>;
}

const FIELDS: readonly AnswerColumn[] = [{ field: "label", type: "text", nullable: true, check: null }];
const SOURCE = { key: ["id"], columns: ["text"] };

export function describeWriteBack(
  name: string,
  open: () => Promise<WriteBackUnderTest>,
  { describe, it, expect }: TestRunner,
): void {
  const scene = (title: string, body: (at: Scene) => Promise<void>): void => {
    it(title, async () => {
      const place = await open();
      try {
        await body(await sceneOf(place));
      } finally {
        await place.close();
      }
    });
  };

  describe(`the source ${name}, to which answers are written back`, () => {
    describeRows(scene, expect);
    describeFences(scene, expect);
    describeReading(scene, expect);
  });
}

type DescribeScene = (title: string, body: (at: Scene) => Promise<void>) => void;
type Expect = TestRunner["expect"];

function describeRows(scene: DescribeScene, expect: Expect): void {
  scene("takes answers into rows that are as they were asked", async ({ place, write }) => {
    await place.put([row("a", "one"), row("b", null), row("c", "three")]);
    expect(await write("films", [answer("a", 1n, "one"), answer("b", 2n, null)])).toEqual(onlyWritten("a", "b"));
    expect(await texts(place)).toEqual({ a: "one: good", b: "null: good", c: "three: null" });
  });

  scene("keeps an answer out of a row that is not as it was asked", async ({ place, write }) => {
    await place.put([row("a", "One"), row("b", "two "), row("c", ""), row("d", null), row("e", "five")]);
    const said = await write("films", [
      answer("a", 1n, "one"),
      answer("b", 1n, "two"),
      answer("c", 1n, null),
      answer("d", 1n, ""),
      answer("e", 1n, "five"),
    ]);
    expect({ ...said, changed: said.changed.toSorted() }).toEqual({
      ...onlyWritten("e"),
      changed: ["a", "b", "c", "d"],
    });
    expect(await texts(place)).toEqual({
      a: "One: null",
      b: "two : null",
      c: ": null",
      d: "null: null",
      e: "five: good",
    });
  });

  scene("makes no row of an answer whose row is gone", async ({ place, write }) => {
    await place.put([row("a", "one"), row("b", "two")]);
    await place.remove(["a"]);
    const said = await write("films", [answer("a", 1n, "one"), answer("b", 1n, "two")]);
    expect(said).toEqual({ ...onlyWritten("b"), changed: ["a"] });
    expect(await write("films", [deletion("a", 2n)])).toEqual(onlyWritten("a"));
    expect(await texts(place)).toEqual({ b: "two: good" });
  });

  scene("deletes an answer, also of a row that has changed, and not the row", async ({ place, write }) => {
    await place.put([row("a", "one")]);
    await write("films", [answer("a", 1n, "one")]);
    await place.put([row("a", "another")]);
    expect(await write("films", [deletion("a", 3n)])).toEqual(onlyWritten("a"));
    expect(await texts(place)).toEqual({ a: "another: null" });
    expect(keysOf((await write("films", [answer("a", 2n, "another")])).stale)).toEqual(["a"]);
  });
}

function describeFences(scene: DescribeScene, expect: Expect): void {
  scene("takes the same change twice, also if its row changed since", async ({ place, write }) => {
    await place.put([row("a", "one")]);
    await write("films", [answer("a", 5n, "one")]);
    await place.put([row("a", "another")]);
    expect(await write("films", [answer("a", 5n, "one")])).toEqual(onlyWritten("a"));
    expect(await texts(place)).toEqual({ a: "another: good" });
  });

  scene("keeps a newer answer when an older one comes late", async ({ place, write }) => {
    await place.put([row("a", "one")]);
    await write("films", [answer("a", 20n, "one", "new")]);
    expect(keysOf((await write("films", [answer("a", 10n, "one", "old")])).stale)).toEqual(["a"]);
    expect(await texts(place)).toEqual({ a: "one: new" });
  });

  scene("keeps the fences of two pipelines apart", async ({ place, write }) => {
    await place.put([row("a", "one")]);
    await write("films", [answer("a", 1_000n, "one", "first")]);
    expect(await write("films-2", [answer("a", 1n, "one", "second")])).toEqual(onlyWritten("a"));
    expect(await write("films", [answer("a", 1_001n, "one", "third")])).toEqual(onlyWritten("a"));
    expect(await texts(place)).toEqual({ a: "one: third" });
  });
}

function describeReading(scene: DescribeScene, expect: Expect): void {
  scene("tells how it leaves each row, once", async ({ place, write, readBack }) => {
    await place.put([row("a", "one"), row("b", "two")]);
    await write("films", [answer("a", 1n, "one"), answer("b", 1n, "another")]);
    await write("films", [answer("a", 1n, "one")]);
    expect(readBack).toEqual([{ key: "a", row: { text: "one" } }]);
  });

  scene("tells what else its write changes", async ({ place, write, readBack }) => {
    await place.put([row("a", "one")]);
    if (place.spoil === undefined) return;
    await place.spoil();
    await write("films", [answer("a", 1n, "one")]);
    expect(readBack).toEqual([{ key: "a", row: { text: "one!" } }]);
    await write("films", [answer("a", 2n, "one!")]);
    expect(readBack.at(-1)).toEqual({ key: "a", row: { text: "one!!" } });
  });
}

interface Scene {
  readonly place: WriteBackUnderTest;
  /** Every row that was told of. */
  readonly readBack: readonly RowAfter[];
  write(pipeline: string, changes: readonly Change[]): Promise<Written>;
}

async function sceneOf(place: WriteBackUnderTest): Promise<Scene> {
  const connector = place.connect();
  const { signal } = new AbortController();
  for (const pipeline of ["films", "films-2"])
    await connector.prepare({ pipeline, fields: FIELDS, source: SOURCE, signal });
  const told: RowAfter[] = [];
  let deliveries = 0;
  return {
    place,
    readBack: told,
    write: (pipeline, changes) =>
      connector.write(changes, {
        pipeline,
        id: `delivery-${++deliveries}`,
        signal,
        readBack: async (rows) => void told.push(...rows),
      }),
  };
}

function row(id: string, text: string | null): SourceRow {
  return { id, text };
}

/** Of a row that was asked with this text. */
function answer(key: string, fence: bigint, text: string | null, label = "good"): Change {
  return { key, fence: String(fence), model: "model-1", cells: { label }, expect: { text } };
}

async function texts(place: WriteBackUnderTest): Promise<Record<string, string>> {
  const rows = await place.rows();
  return Object.fromEntries([...rows].map(([id, { text, label }]) => [id, `${text}: ${label}`]));
}
