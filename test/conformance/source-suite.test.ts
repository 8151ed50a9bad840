/** The suite for sources notices each mistake that it is there for: which of its tests fail, by the mistake. */
import { expect, it } from "vitest";
import type { Page, ReadOptions } from "../../src/model/connector.js";
import { describeSource, type SourceRow, type SourceUnderTest, type TestRunner } from "../../src/testing/testing.js";

interface StoredRow extends SourceRow {
  readonly at: number;
}
type Mistake = keyof typeof MISTAKES | null;

const OVERLAP_MS = 300_000;
const PAGE_ROWS = 500;

const MISTAKES = {
  "numbers its pages": ["misses no row of a source that shrinks while it is read"],
  "begins again at the last row of a page": ["continues at the place of every page"],
  "gives pages without end": ["gives at most 5000 rows a page"],
  "trims texts": ["gives texts as they are"],
  "takes its mark after the last row": ["gives what is put while all rows are read, then or since its mark"],
  "has no overlap": ["gives what commits later than its time says"],
  "continues after a time alone": ["gives 5500 changes of one time, each once, and continues within them"],
  "gives all rows each time": ["gives what has changed since a mark, and not all the rest"],
  "does not hear the signal": ["stops when its signal aborts"],
  "holds on to half of what it gave": ["gives 10000 long rows without holding on to them"],
  "gives no rows while it is down": ["throws while it is down, and continues when it is back"],
  "gives deleted rows": ["gives what has changed, and nothing that was deleted"],
} as const satisfies Record<string, readonly string[]>;

class Shelf implements SourceUnderTest {
  readonly rows = new Map<string, StoredRow>();
  readonly held: unknown[] = [];
  readonly #mistake: Mistake;
  #isDown = false;

  constructor(mistake: Mistake) {
    this.#mistake = mistake;
  }

  connect = () => ({ name: "shelf", rows: (options: ReadOptions) => this.#pages(options) });
  put = (rows: readonly SourceRow[]) => this.#put(rows, Date.now());
  putLate = (rows: readonly SourceRow[]) => this.#put(rows, Date.now() - 60_000);
  age = async () => {
    for (const row of this.rows.values()) this.rows.set(row.id, { ...row, at: row.at - 86_400_000 });
    await Promise.resolve();
  };
  rename = async (id: string, newId: string) => {
    const text = this.rows.get(id)?.text ?? null;
    this.rows.delete(id);
    await this.put([{ id: newId, text }]);
  };
  remove = async (ids: readonly string[]) => {
    if (this.#mistake !== "gives deleted rows") for (const id of ids) this.rows.delete(id);
    await Promise.resolve();
  };
  goDown = () => Promise.resolve(void (this.#isDown = true));
  comeBack = () => Promise.resolve(void (this.#isDown = false));
  close = () => Promise.resolve();

  #put(rows: readonly SourceRow[], at: number): Promise<void> {
    for (const row of rows) this.rows.set(row.id, { ...row, at });
    return Promise.resolve();
  }

  async *#pages({ since, place, signal }: ReadOptions): AsyncGenerator<Page> {
    const has = (mistake: Mistake) => mistake === this.#mistake;
    let mark = place === null ? Date.now() : null;
    let after = place === null ? "" : String(place);
    for (let page = 0; ; page++) {
      if (!has("does not hear the signal")) signal.throwIfAborted();
      if (this.#isDown && !has("gives no rows while it is down")) throw new Error("The shelf is down.");
      const all = this.#isDown ? [] : this.#after(has("numbers its pages") ? "" : after, since);
      const rows = has("gives pages without end") ? all : all.slice(...this.#range(page));
      if (has("takes its mark after the last row")) mark = Date.now() + OVERLAP_MS + 1;
      const last = rows.at(-1);
      const isOver = last === undefined || (rows.length === 1 && has("begins again at the last row of a page"));
      if (isOver) return void (yield { rows: [], mark });
      after = this.#orderOf(last, since);
      if (has("begins again at the last row of a page")) after = after.slice(0, -1);
      if (has("holds on to half of what it gave")) this.held.push(...copyOf(rows.slice(0, rows.length / 2)));
      const given = rows.map(({ id, text }) => ({ id, text: has("trims texts") ? (text?.trim() ?? null) : text }));
      yield await Promise.resolve({ rows: given, place: after, mark });
    }
  }

  #range(page: number): [number, number] {
    const start = this.#mistake === "numbers its pages" ? page * PAGE_ROWS : 0;
    return [start, start + PAGE_ROWS];
  }

  #after(place: string, since: unknown): StoredRow[] {
    const overlap = this.#mistake === "has no overlap" ? 0 : OVERLAP_MS;
    const from = since === null || this.#mistake === "gives all rows each time" ? 0 : Number(since) - overlap;
    return [...this.rows.values()]
      .filter((row) => row.at >= from && this.#orderOf(row, since) > place)
      .toSorted((a, b) => (this.#orderOf(a, since) < this.#orderOf(b, since) ? -1 : 1));
  }

  #orderOf({ id, at }: StoredRow, since: unknown): string {
    if (since === null) return `${id} `;
    return this.#mistake === "continues after a time alone" ? `${at} ` : `${at} ${id} `;
  }
}

/** Flat, so that a copy takes its room. */
function copyOf(rows: readonly StoredRow[]): unknown[] {
  return rows.map((row) => Buffer.from(JSON.stringify(row)).toString("latin1"));
}

async function failuresOf(mistake: Mistake): Promise<string[]> {
  const scenes: { readonly title: string; readonly body: () => Promise<void> }[] = [];
  const runner: TestRunner = {
    describe: (_, body) => body(),
    it: (title, body) => scenes.push({ title, body }),
    expect,
  };
  const open = () => Promise.resolve(new Shelf(mistake));
  describeSource("shelf", { open, places: true, marks: true }, runner);
  const failed: string[] = [];
  for (const { title, body } of scenes) await body().catch(() => failed.push(title));
  return failed;
}

it("a source without a mistake passes the suite for sources", async () => {
  expect(await failuresOf(null)).toEqual([]);
});

it.each(Object.entries(MISTAKES))("the suite for sources fails for a source that %s", async (mistake, titles) => {
  expect(await failuresOf(mistake as keyof typeof MISTAKES)).toEqual(expect.arrayContaining([...titles]));
});
