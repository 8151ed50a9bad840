/** A source elsewhere as a user may write one, in the memory of the test. */
import { defineSource } from "../../src/index.js";

interface Film {
  readonly id: string;
  readonly title: string | null;
  readonly changed: number;
}

/** Rows by key, with the number of their last change. */
export class Shelf {
  readonly films = new Map<string, Film>();
  readonly readings: ("full" | "changes")[] = [];
  pageRows = 10;
  hasMarks = true;
  /** Thrown before the page of this number, once. */
  fault: { readonly page: number; readonly error: Error } | null = null;
  /** Before the first page, once. */
  onPage: (() => Promise<unknown>) | null = null;
  reads = "a shelf";
  /** A reading of changes never ends: its rows change faster than they are read. */
  isRestless = false;
  #change = 0;

  put(id: string, title: string | null): void {
    this.#change += 1;
    this.films.set(id, { id, title, changed: this.#change });
  }

  source = () => {
    const source = defineSource({
      key: "id",
      columns: ["title"],
      every: "1s",
      fullEvery: "1h",
      rows: (options) => this.rows(options),
    });
    return { ...source, elsewhere: { ...source.elsewhere, reads: this.reads } };
  };

  async *rows({ since, place }: { since: unknown; place: unknown }) {
    if (place === null) this.readings.push(since === null ? "full" : "changes");
    while (this.isRestless && since !== null) {
      this.put("00000", `Change ${this.#change}`);
      yield await Promise.resolve({ rows: [...this.films.values()].slice(0, 1), place: "", mark: this.#change });
    }
    const films = [...this.films.values()]
      .filter(({ changed }) => since === null || changed > Number(since))
      .toSorted((a, b) => (a.id < b.id ? -1 : 1))
      .filter(({ id }) => place === null || id > String(place));
    for (let page = 0; page * this.pageRows < films.length; page++) {
      const onPage = this.onPage;
      this.onPage = null;
      await onPage?.();
      if (this.fault?.page === page) {
        const { error } = this.fault;
        this.fault = null;
        throw error;
      }
      const rows = films.slice(page * this.pageRows, (page + 1) * this.pageRows);
      const marks = this.hasMarks ? { mark: this.#change } : {};
      yield await Promise.resolve({ rows, place: rows.at(-1)?.id ?? null, ...marks });
    }
  }
}
