/**
 * What every source elsewhere must do, as a suite for any test runner with `describe`, `it` and `expect`. A source that
 * passes can be read in pages, after crashes, and while its rows change.
 */
import type { Page, SourceConnector } from "../model/connector.js";
import type { Json } from "../model/pipeline.js";
import { cellText } from "../model/request/sync-row.js";
import { heapBytes, kindOfFailure, type TestRunner } from "./test-runner.js";

export interface SourceRow {
  readonly id: string;
  readonly text: string | null;
}

/** A place of its own for each test, with no rows. The connector's rows have the columns `id` and `text`. */
export interface SourceUnderTest {
  /** Another connector to the same place, as another worker opens it. */
  connect(): SourceConnector;
  /** Adds rows, and changes those that are there, all at one time. */
  put(rows: readonly SourceRow[]): Promise<void>;
  /**
   * `put` by a transaction that began a minute ago and commits now. The same as `put` where the place gives marks as it
   * commits.
   */
  putLate(rows: readonly SourceRow[]): Promise<void>;
  /** What is there counts as put a day ago: before any overlap. */
  age(): Promise<void>;
  rename(id: string, newId: string): Promise<void>;
  remove(ids: readonly string[]): Promise<void>;
  /** Nothing answers there any more. */
  goDown(): Promise<void>;
  comeBack(): Promise<void>;
  close(): Promise<void>;
}

export interface SourceKind {
  open(): Promise<SourceUnderTest>;
  /** Its pages have a place, at which a reading continues. */
  readonly places: boolean;
  /** Its pages have a mark, since which it gives changes. */
  readonly marks: boolean;
  /** The longest text that a row there may have. Default: 1,000,000 bytes. */
  readonly textBytesMax?: number;
}

const PAGE_ROWS_MAX = 5_000;
const PAGE_LENGTH_MAX = 16 * 1024 * 1024;
const MANY = 10_000;
/** What one time may have: more than a page. */
const AT_ONCE = PAGE_ROWS_MAX + 500;
const LONG_TEXT = "x".repeat(5_000);
const TEXT_BYTES_MAX = 1_000_000;
const HEAP_GROWTH_BYTES_MAX = 16 * 1024 * 1024;
/** Of a source that begins again and again at one place. */
const PAGES_MAX = 20_000;
const LEFT_READINGS = 30;

export function describeSource(name: string, kind: SourceKind, { describe, it, expect }: TestRunner): void {
  const scene: DescribeScene = (title, body) => {
    it(title, async () => {
      const place = await kind.open();
      try {
        await body({ place, read: (options) => readPass(place.connect(), options) });
      } finally {
        await place.close();
      }
    });
  };

  describe(`the source ${name}`, () => {
    describeRows(scene, expect, kind);
    describeChangingRows(scene, expect);
    if (kind.places) describePlaces(scene, expect);
    if (kind.marks) describeMarks(scene, expect);
    describeEndings(scene, expect, kind);
  });
}

interface Scene {
  readonly place: SourceUnderTest;
  /** A whole pass by a new connector. */
  read(options?: ReadingOptions): Promise<Reading>;
}

type DescribeScene = (title: string, body: (at: Scene) => Promise<void>) => void;
type Expect = TestRunner["expect"];

function describeRows(
  scene: DescribeScene,
  expect: Expect,
  { textBytesMax = TEXT_BYTES_MAX }: Pick<SourceKind, "textBytesMax">,
): void {
  scene("gives nothing where there is nothing", async ({ read }) => {
    expect((await read()).rows).toEqual([]);
  });

  scene("gives all rows, each once", async ({ place, read }) => {
    await place.put(numbered(2_500));
    expect(sorted((await read()).rows)).toEqual(sorted(numbered(2_500)));
  });

  scene("gives texts as they are", async ({ place, read }) => {
    const texts = [
      null,
      "",
      " ",
      "null",
      "007",
      "1.10",
      "9007199254740993",
      'it\'s "so"\\n',
      "a\tb\r\nc",
      "{x}",
      "🎬é\u0301",
    ];
    const rows = texts.map((text, index) => ({ id: `${index} ü'"\\ ${index}`, text }));
    const longest = "é".repeat(textBytesMax / 2);
    await place.put([...rows, { id: "longest", text: longest }]);
    const given = (await read()).rows;
    expect(sorted(given.filter(({ id }) => id !== "longest"))).toEqual(sorted(rows));
    expect(given.find(({ id }) => id === "longest")?.text === longest).toEqual(true);
  });

  scene(`gives at most ${PAGE_ROWS_MAX} rows a page`, async ({ place, read }) => {
    await place.put(numbered(AT_ONCE));
    const { pages } = await read();
    expect(pages.filter(({ rows }) => rows.length > PAGE_ROWS_MAX)).toEqual([]);
  });

  scene(`gives ${MANY} long rows without holding on to them`, async ({ place }) => {
    await putInParts(place, numbered(MANY, LONG_TEXT));
    let [given, heapAt, growth, longest] = [0, 0, 0, 0];
    for await (const { rows } of pagesOf(place.connect())) {
      given += rows.length;
      longest = Math.max(longest, lengthOf(rows));
      if (heapAt === 0 && given > MANY / 5) heapAt = heapBytes();
      if (given === MANY) growth = heapBytes() - heapAt;
    }
    expect([given, longest <= PAGE_LENGTH_MAX, growth < HEAP_GROWTH_BYTES_MAX]).toEqual([MANY, true, true]);
  });
}

function describeChangingRows(scene: DescribeScene, expect: Expect): void {
  scene("gives what has changed, and nothing that was deleted", async ({ place, read }) => {
    await place.put(numbered(50));
    await place.put([{ id: idOf(7), text: "other" }]);
    await place.remove([idOf(8), idOf(9)]);
    const kept = numbered(50).filter(({ id }) => id !== idOf(8) && id !== idOf(9));
    expect(sorted((await read()).rows)).toEqual(
      sorted(kept.map((row) => (row.id === idOf(7) ? { ...row, text: "other" } : row))),
    );
  });

  scene("gives a row whose key has changed under its new key alone", async ({ place, read }) => {
    await place.put(numbered(3));
    await place.rename(idOf(1), "renamed");
    const ids = (await read()).rows.map(({ id }) => id);
    expect(ids.toSorted()).toEqual([idOf(0), idOf(2), "renamed"].toSorted());
  });

  scene("misses no row of a source that shrinks while it is read", async ({ place }) => {
    await place.put(numbered(3_000));
    const given: SourceRow[] = [];
    for await (const { rows } of pagesOf(place.connect())) {
      if (given.length === 0) await place.remove(rows.map(({ id }) => text(id)).slice(0, -1));
      given.push(...rows.map(rowOf));
    }
    expect(new Set(given.map(({ id }) => id)).size).toEqual(3_000);
  });

  scene("ends when a source loses all of its rows while it is read", async ({ place }) => {
    await place.put(numbered(3_000));
    let given = 0;
    for await (const { rows } of pagesOf(place.connect())) {
      if (given === 0) await place.remove(numbered(3_000).map(({ id }) => id));
      given += rows.length;
    }
    expect(given > 0 && given <= 3_000).toEqual(true);
  });
}

function describePlaces(scene: DescribeScene, expect: Expect): void {
  scene("continues at the place of every page", async ({ place, read }) => {
    await place.put(numbered(3_000));
    await expectToGoOn(await read(), read, expect);
  });

  scene("continues at a place whose rows are gone", async ({ place, read }) => {
    await place.put(numbered(3_000));
    const [first] = (await read()).pages;
    const given = new Set((first?.rows ?? []).map(({ id }) => id));
    await place.remove([...given]);
    const rest = await read({ place: first?.place ?? null });
    expect(sorted(rest.rows)).toEqual(sorted(numbered(3_000).filter(({ id }) => !given.has(id))));
  });
}

function describeMarks(scene: DescribeScene, expect: Expect): void {
  scene("gives what has changed since a mark, and not all the rest", async ({ place, read }) => {
    await place.put(numbered(500));
    await place.age();
    await place.put([{ id: "last", text: "before the mark" }]);
    const { mark } = await read();
    const changes = [
      { id: "new", text: "a" },
      { id: idOf(3), text: "b" },
      { id: idOf(400), text: null },
    ];
    await place.put(changes);
    const since = await read({ since: mark });
    const others = since.rows.filter(({ id }) => id !== "last");
    expect(sorted(others)).toEqual(sorted(changes));
    expect((await read({ since: since.mark ?? mark })).rows.length <= changes.length + 1).toEqual(true);
  });

  scene("gives a mark where there are no rows yet, or all of them later", async ({ place, read }) => {
    const { mark } = await read();
    await place.put(numbered(3));
    expect(sorted((await read({ since: mark })).rows)).toEqual(sorted(numbered(3)));
  });

  scene("gives a row whose key has changed since a mark", async ({ place, read }) => {
    await place.put(numbered(3));
    const { mark } = await read();
    await place.rename(idOf(1), "renamed");
    expect((await read({ since: mark })).rows.some(({ id }) => id === "renamed")).toEqual(true);
  });

  scene("gives what commits later than its time says", async ({ place, read }) => {
    await place.put(numbered(3));
    const { mark } = await read();
    await place.putLate([{ id: "late", text: "a" }]);
    const since = await read({ since: mark });
    expect(since.rows.some(({ id }) => id === "late")).toEqual(true);
    await place.putLate([{ id: "later", text: "b" }]);
    const next = await read({ since: since.mark ?? mark });
    expect(next.rows.some(({ id }) => id === "later")).toEqual(true);
  });

  scene("gives what is put while all rows are read, then or since its mark", async ({ place, read }) => {
    await place.put(numbered(3_000));
    let mark: Json = null;
    const given = new Set<string>();
    for await (const page of pagesOf(place.connect())) {
      // Before everything else in the order of keys, and of times as late as can be.
      if (given.size === 0) await place.put([{ id: "!", text: "meanwhile" }]);
      for (const { id } of page.rows) given.add(text(id));
      mark = page.mark ?? mark;
    }
    const since = (await read({ since: mark })).rows;
    expect(given.has("!") || since.some(({ id }) => id === "!")).toEqual(true);
  });

  scene(`gives ${AT_ONCE} changes of one time, each once, and continues within them`, async ({ place, read }) => {
    await place.put([{ id: "before", text: "the mark" }]);
    const { mark } = await read();
    await place.remove(["before"]);
    await place.put(numbered(AT_ONCE));
    const since = await read({ since: mark });
    expect(sorted(since.rows)).toEqual(sorted(numbered(AT_ONCE)));
    await expectToGoOn(since, (options) => read({ ...options, since: mark }), expect);
  });
}

function describeEndings(scene: DescribeScene, expect: Expect, { places, marks }: SourceKind): void {
  scene("gives places and marks as it says", async ({ place, read }) => {
    await place.put(numbered(3_000));
    const { pages, mark } = await read();
    expect([pages.some((page) => (page.place ?? null) !== null), mark !== null]).toEqual([places, marks]);
  });

  scene("stops when its signal aborts", async ({ place }) => {
    await place.put(numbered(AT_ONCE));
    const stop = new AbortController();
    let pages = 0;
    const stopped = (async () => {
      for await (const page of place.connect().rows({ since: null, place: null, signal: stop.signal })) {
        pages += page.rows.length > 0 ? 1 : 0;
        stop.abort();
      }
    })();
    // An end is as good as an error.
    expect([(await kindOfFailure(stopped)) === "stop", pages <= 2]).toEqual([false, true]);
  });

  scene(`can be left at its first page ${LEFT_READINGS} times`, async ({ place, read }) => {
    await place.put(numbered(3_000));
    for (let reading = 0; reading < LEFT_READINGS; reading++)
      for await (const page of pagesOf(place.connect())) if (page.rows.length > 0) break;
    expect((await read()).rows.length).toEqual(3_000);
  });

  scene("throws while it is down, and continues when it is back", async ({ place, read }) => {
    await place.put(numbered(10));
    await place.goDown();
    expect(await kindOfFailure(read())).toEqual("again");
    await place.comeBack();
    expect(sorted((await read()).rows)).toEqual(sorted(numbered(10)));
  });
}

/** From each place: what was not given before it, each row once. */
async function expectToGoOn(whole: Reading, read: Scene["read"], expect: Expect): Promise<void> {
  const left = new Map(whole.rows.map((row) => [row.id, row]));
  for (const page of whole.pages) {
    for (const { id } of page.rows) left.delete(id);
    if (page.place === null) continue;
    expect(sorted((await read({ place: page.place })).rows)).toEqual(sorted([...left.values()]));
  }
}

interface ReadingOptions {
  readonly since?: Json;
  readonly place?: Json;
}

interface Reading {
  readonly pages: readonly { readonly rows: readonly SourceRow[]; readonly place: Json }[];
  readonly rows: readonly SourceRow[];
  /** The last one, as for Rowmill. */
  readonly mark: Json;
}

async function readPass(connector: SourceConnector, options: ReadingOptions = {}): Promise<Reading> {
  const pages: { rows: SourceRow[]; place: Json }[] = [];
  let mark: Json = null;
  for await (const page of pagesOf(connector, options)) {
    pages.push({ rows: page.rows.map(rowOf), place: kept(page.place) });
    mark = kept(page.mark) ?? mark;
  }
  return { pages, rows: pages.flatMap(({ rows }) => rows), mark };
}

async function* pagesOf(
  connector: SourceConnector,
  { since = null, place = null }: ReadingOptions = {},
): AsyncGenerator<Page> {
  let pages = 0;
  for await (const page of connector.rows({ since, place, signal: new AbortController().signal })) {
    pages += 1;
    if (pages > PAGES_MAX) throw new Error(`The source gives more than ${PAGES_MAX} pages.`);
    yield page;
  }
}

/** As the ledger keeps it. */
function kept(value: Json | undefined): Json {
  return value === undefined ? null : (JSON.parse(JSON.stringify(value)) as Json);
}

function rowOf(row: Page["rows"][number]): SourceRow {
  return { id: text(row["id"]), text: cellText(row["text"]) };
}

function text(cell: Page["rows"][number][string]): string {
  return cellText(cell) ?? "";
}

function lengthOf(rows: Page["rows"]): number {
  return rows.reduce((sum, row) => sum + text(row["id"]).length + text(row["text"]).length, 0);
}

async function putInParts(place: SourceUnderTest, rows: readonly SourceRow[]): Promise<void> {
  const part = 1_000;
  for (let at = 0; at < rows.length; at += part) {
    // A joined text takes its room only when it is read: a place in this process would grow then.
    const flat = JSON.parse(JSON.stringify(rows.slice(at, at + part))) as SourceRow[];
    await place.put(flat);
  }
}

function idOf(index: number): string {
  return `row-${String(index).padStart(5, "0")}`;
}

function numbered(count: number, start = "text"): SourceRow[] {
  return Array.from({ length: count }, (_, index) => ({ id: idOf(index), text: `${start} ${index}` }));
}

function sorted(rows: readonly SourceRow[]): SourceRow[] {
  return rows.toSorted((a, b) => (a.id < b.id ? -1 : 1));
}
