/**
 * What every target elsewhere must do, as a suite for any test runner with `describe`, `it` and `expect`. A target that
 * passes can be delivered to by several workers, after crashes, and from a restored ledger.
 */
import type { Change, TargetConnector, Written } from "../model/connector.js";
import type { AnswerColumn } from "../model/answer/answer-columns.js";
import type { Json } from "../model/pipeline.js";
import { heapBytes, kindOfFailure, type TestRunner } from "./test-runner.js";

type Cells = Readonly<Record<string, Json>>;

/** A place of its own for each test. It takes the columns `label` and `score` of each pipeline. */
export interface TargetUnderTest {
  /** Another connector to the same place, as another worker or a new deployment opens it. */
  connect(): TargetConnector;
  /** What the place holds of a pipeline, without deleted answers. */
  held(pipeline: string): Promise<ReadonlyMap<string, Cells>>;
  /** Cells that this place refuses, whatever else it takes. */
  readonly refused: Cells;
  /** Nothing answers there any more. */
  goDown(): Promise<void>;
  comeBack(): Promise<void>;
  close(): Promise<void>;
}

const FIELDS: readonly AnswerColumn[] = [
  { field: "label", type: "text", nullable: true, check: null },
  { field: "score", type: "bigint", nullable: true, check: null },
];

/** Beyond 2^53, where two neighbors are one number in JavaScript. */
const OLD_EPOCH = 1_700_000_000n * 2n ** 31n;
const NEW_EPOCH = 1_700_000_001n * 2n ** 31n;

const MANY = 10_000;
const LONG_TEXT = "x".repeat(5_000);
const HEAP_GROWTH_BYTES_MAX = 8 * 1024 * 1024;

export function describeTarget(
  name: string,
  open: () => Promise<TargetUnderTest>,
  { describe, it, expect }: TestRunner,
): void {
  /** Opens a place, prepares a connector for these pipelines, and closes the place. */
  const scene = (title: string, pipelines: readonly string[], body: (at: Scene) => Promise<void>): void => {
    it(title, async () => {
      const place = await open();
      try {
        const at = sceneOf(place);
        for (const pipeline of pipelines) await prepare(at.connector, pipeline);
        await body(at);
      } finally {
        await place.close();
      }
    });
  };

  describe(`the target ${name}`, () => {
    describeAnswers(scene, expect);
    describeDeletes(scene, expect);
    describeNeighbors(scene, expect);
    describeTroubles(scene, expect);
  });
}

type DescribeScene = (title: string, pipelines: readonly string[], body: (at: Scene) => Promise<void>) => void;
type Expect = TestRunner["expect"];

function describeAnswers(scene: DescribeScene, expect: Expect): void {
  scene("takes answers, and names each key once", ["films"], async ({ place, write }) => {
    const said = await write("films", [answer("a", 1n, "good"), answer("b", 2n, "bad"), answer("c'\"é", 3n, "")]);
    expect(said).toEqual(onlyWritten("a", "b", "c'\"é"));
    expect(await labels(place, "films")).toEqual({ a: "good", b: "bad", "c'\"é": "" });
  });

  scene("takes no changes at all", ["films"], async ({ place, write }) => {
    expect(await write("films", [])).toEqual(onlyWritten());
    expect(await labels(place, "films")).toEqual({});
  });

  scene("takes the same change twice, as after a crash", ["films"], async ({ place, write }) => {
    const changes = [answer("a", 5n, "good"), deletion("b", 6n)];
    expect(await write("films", changes, "same")).toEqual(onlyWritten("a", "b"));
    expect(await write("films", changes, "same")).toEqual(onlyWritten("a", "b"));
    expect(await labels(place, "films")).toEqual({ a: "good" });
  });

  scene("keeps a newer answer when an older one comes late", ["films"], async ({ place, write }) => {
    await write("films", [answer("a", 20n, "new")]);
    const said = await write("films", [answer("a", 10n, "old"), answer("b", 11n, "other")]);
    expect(keysOf(said.stale)).toEqual(["a"]);
    expect(said.written).toEqual(["b"]);
    expect(await labels(place, "films")).toEqual({ a: "new", b: "other" });
  });

  scene("takes an answer that is newer by one", ["films"], async ({ place, write }) => {
    await write("films", [answer("a", 1n, "old")]);
    expect(await write("films", [answer("a", 2n, "new")])).toEqual(onlyWritten("a"));
    expect((await write("films", [answer("a", 1n, "old")])).written).toEqual([]);
    expect(await labels(place, "films")).toEqual({ a: "new" });
  });

  scene("refuses one bad row among 500, and takes the rest", ["films"], async ({ place, connector, write }) => {
    const count = Math.min(500, connector.most.changes);
    const bad = Math.floor(count / 3);
    const good = numbered(count).filter((_, index) => index !== bad);
    const changes = numbered(count).map((key, index) =>
      index === bad ? { ...answer(key, 1n, ""), cells: place.refused } : answer(key, 1n, "fine"),
    );
    const said = await write("films", changes);
    expect(keysOf(said.failed)).toEqual([numbered(count)[bad]]);
    expect(said.failed.every(({ reason }) => reason !== "")).toEqual(true);
    expect(said.written.toSorted()).toEqual(good.toSorted());
    expect([...(await place.held("films")).keys()].toSorted()).toEqual(good.toSorted());
  });
}

function describeDeletes(scene: DescribeScene, expect: Expect): void {
  scene("deletes an answer, and takes none that is older", ["films"], async ({ place, write }) => {
    await write("films", [answer("a", 1n, "good"), answer("b", 1n, "kept")]);
    expect(await write("films", [deletion("a", 3n)])).toEqual(onlyWritten("a"));
    expect(await labels(place, "films")).toEqual({ b: "kept" });
    expect(keysOf((await write("films", [answer("a", 2n, "late")])).stale)).toEqual(["a"]);
    expect(await labels(place, "films")).toEqual({ b: "kept" });
    await write("films", [answer("a", 4n, "again")]);
    expect(await labels(place, "films")).toEqual({ a: "again", b: "kept" });
  });

  scene("keeps a newer answer when a delete comes late", ["films"], async ({ place, write }) => {
    await write("films", [answer("a", 2n, "new")]);
    expect(keysOf((await write("films", [deletion("a", 1n)])).stale)).toEqual(["a"]);
    expect(await labels(place, "films")).toEqual({ a: "new" });
  });

  scene("knows a delete of a row that it never had", ["films"], async ({ place, write }) => {
    expect(await write("films", [deletion("a", 2n)])).toEqual(onlyWritten("a"));
    expect(keysOf((await write("films", [answer("a", 1n, "late")])).stale)).toEqual(["a"]);
    expect(await labels(place, "films")).toEqual({});
  });
}

function describeNeighbors(scene: DescribeScene, expect: Expect): void {
  scene("keeps the fences of two pipelines apart", ["films", "films-2"], async ({ place, write }) => {
    await write("films", [answer("a", 1_000n, "first")]);
    expect(await write("films-2", [answer("a", 1n, "second")])).toEqual(onlyWritten("a"));
    expect(await write("films", [answer("a", 1_001n, "third")])).toEqual(onlyWritten("a"));
    expect((await place.held("films")).get("a")?.["label"]).toEqual("third");
  });

  scene("lets a new deployment win over the one before it", ["films"], async ({ place, connector, write }) => {
    const newer = place.connect();
    await prepare(newer, "films");
    await write("films", [answer("a", OLD_EPOCH + 9n, "old"), answer("b", OLD_EPOCH + 1n, "one")]);
    expect(await writeTo(newer, "films", [answer("a", NEW_EPOCH + 1n, "new")])).toEqual(onlyWritten("a"));
    const late = await writeTo(connector, "films", [answer("a", OLD_EPOCH + 10n, "late")]);
    expect(late.written).toEqual([]);
    expect(late.stale.map(({ key, fence }) => ({ key, fence: fence ?? String(NEW_EPOCH + 1n) }))).toEqual([
      { key: "a", fence: String(NEW_EPOCH + 1n) },
    ]);
    expect(await write("films", [answer("b", OLD_EPOCH + 2n, "two")])).toEqual(onlyWritten("b"));
    expect(await labels(place, "films")).toEqual({ a: "new", b: "two" });
  });

  scene("takes the newest of two workers' writes, whichever comes first", ["films"], async ({ place, connector }) => {
    const other = place.connect();
    await prepare(other, "films");
    const keys = numbered(100);
    for (const round of [1n, 3n, 5n]) {
      const older = keys.map((key) => answer(key, round, `${round}`));
      const newer = keys.toReversed().map((key) => answer(key, round + 1n, `${round + 1n}`));
      await Promise.all([writeAll(connector, "films", older), writeAll(other, "films", newer)]);
    }
    expect(new Set(Object.values(await labels(place, "films")))).toEqual(new Set(["6"]));
  });
}

function describeTroubles(scene: DescribeScene, expect: Expect): void {
  scene("says that it is down, and continues when it is back", ["films"], async ({ place, connector, write }) => {
    await write("films", [answer("a", 1n, "before")]);
    await place.goDown();
    expect(await kindOfFailure(write("films", [answer("a", 2n, "after")]))).toEqual("again");
    await place.comeBack();
    await prepare(connector, "films");
    expect(await write("films", [answer("a", 2n, "after")])).toEqual(onlyWritten("a"));
    expect(await labels(place, "films")).toEqual({ a: "after" });
  });

  scene("stops when its signal aborts", ["films"], async ({ place, connector }) => {
    const stopped = connector.write([answer("a", 1n, "never")], {
      pipeline: "films",
      id: "stopped",
      signal: AbortSignal.abort(),
    });
    expect(await kindOfFailure(stopped)).toEqual("again");
    expect(await labels(place, "films")).toEqual({});
  });

  scene(`takes ${MANY} changes without holding on to them`, ["films"], async ({ place, connector, write }) => {
    const count = Math.min(500, connector.most.changes, Math.floor(connector.most.bytes / (LONG_TEXT.length + 200)));
    const keys = numbered(count);
    const round = async (fence: bigint) => {
      const said = await write(
        "films",
        keys.map((key) => answer(key, fence, `${fence} ${LONG_TEXT}`)),
      );
      return said.written.length;
    };
    let written = 0;
    let heapAt = 0;
    let fence = 0n;
    for (; written < MANY; fence++) {
      if (fence === 4n) heapAt = heapBytes();
      written += await round(fence + 1n);
    }
    expect(heapBytes() - heapAt < HEAP_GROWTH_BYTES_MAX).toEqual(true);
    expect((await place.held("films")).get(keys[0] ?? "")?.["label"]).toEqual(`${fence} ${LONG_TEXT}`);
  });
}

interface Scene {
  readonly place: TargetUnderTest;
  readonly connector: TargetConnector;
  write(pipeline: string, changes: readonly Change[], id?: string): Promise<Written>;
}

function sceneOf(place: TargetUnderTest): Scene {
  const connector = place.connect();
  return { place, connector, write: (pipeline, changes, id) => writeTo(connector, pipeline, changes, id) };
}

function prepare(connector: TargetConnector, pipeline: string): Promise<void> {
  return connector.prepare({ pipeline, fields: FIELDS, signal: new AbortController().signal });
}

let deliveries = 0;

function writeTo(
  connector: TargetConnector,
  pipeline: string,
  changes: readonly Change[],
  id = `delivery-${++deliveries}`,
): Promise<Written> {
  return connector.write(changes, { pipeline, id, signal: new AbortController().signal });
}

const BUSY_TRIES_MAX = 50;

/** Until no key is busy. */
async function writeAll(connector: TargetConnector, pipeline: string, changes: readonly Change[]): Promise<void> {
  let left = changes;
  for (let tries = 0; left.length > 0 && tries < BUSY_TRIES_MAX; tries++) {
    const { busy } = await writeTo(connector, pipeline, left);
    left = left.filter(({ key }) => busy.includes(key));
  }
}

function answer(key: string, fence: bigint, label: string): Change & { readonly cells: Cells } {
  return { key, fence: String(fence), model: "model-1", cells: { label, score: label.length } };
}

export function deletion(key: string, fence: bigint): Change {
  return { key, fence: String(fence), deleted: true };
}

export function onlyWritten(...keys: string[]): Written {
  return { written: keys, stale: [], changed: [], busy: [], failed: [] };
}

export function keysOf(said: readonly { readonly key: string }[]): string[] {
  return said.map(({ key }) => key);
}

async function labels(place: TargetUnderTest, pipeline: string): Promise<Record<string, Json | undefined>> {
  const held = await place.held(pipeline);
  return Object.fromEntries([...held].map(([key, cells]) => [key, cells["label"]]));
}

function numbered(count: number): string[] {
  return Array.from({ length: count }, (_, index) => `row-${index}`);
}
