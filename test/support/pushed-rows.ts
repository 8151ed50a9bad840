/** What a table of pushed rows has to hold, by a simple model: each row is judged alone, then the newest one counts. */

export interface Shape {
  readonly key: readonly string[];
  readonly columns: readonly string[];
  readonly version: string | null;
}

/** Its JSON, and the text that PostgreSQL makes of it; null: no text. */
export interface Value {
  readonly json: string;
  readonly text: string | null;
}

/** The JSON of a row, with what its fields say; of a field that comes twice the last counts. Null: it is no object. */
export interface ModelRow {
  readonly json: string;
  readonly fields: readonly (readonly [name: string, value: Value])[] | null;
}

export interface Counts {
  readonly accepted: number;
  readonly unchanged: number;
  readonly older: number;
  readonly refused: number;
}

interface Kept {
  readonly cells: readonly (string | null)[];
  readonly version: string | null;
}

const NUMBER = /^-?[0-9]{1,40}([.][0-9]{1,40})?$/;

/** For numbers that a double holds. */
function isOlder(a: string, b: string): boolean {
  const [aIsNumber, bIsNumber] = [NUMBER.test(a), NUMBER.test(b)];
  if (aIsNumber && bIsNumber) return Number(a) < Number(b);
  if (aIsNumber || bIsNumber) return aIsNumber;
  return Buffer.compare(Buffer.from(a), Buffer.from(b)) < 0;
}

export class PushedRows {
  readonly #shape: Shape;
  readonly #kept = new Map<string, Kept>();

  constructor(shape: Shape) {
    this.#shape = shape;
  }

  /** A push of these, all at once. */
  push(rows: readonly ModelRow[]): Counts {
    const newest = new Map<string, Kept>();
    let refused = 0;
    for (const row of rows) {
      const one = this.#judge(row);
      if (one === null) {
        refused += 1;
        continue;
      }
      const other = newest.get(one.key)?.version ?? null;
      if (other === null || one.kept.version === null || !isOlder(one.kept.version, other))
        newest.set(one.key, one.kept);
    }
    let [accepted, unchanged, older] = [0, 0, 0];
    for (const [key, kept] of newest) {
      const before = this.#kept.get(key);
      if (before?.version != null && kept.version !== null && isOlder(kept.version, before.version)) older += 1;
      else if (JSON.stringify(before) === JSON.stringify(kept)) unchanged += 1;
      else {
        accepted += 1;
        this.#kept.set(key, kept);
      }
    }
    return { accepted, unchanged, older, refused };
  }

  /** One list per row: its columns in the order of the shape, then its version. Sorted. */
  rows(): (string | null)[][] {
    return sorted([...this.#kept.values()].map(({ cells, version }) => [...cells, version]));
  }

  #judge({ fields }: ModelRow): { readonly key: string; readonly kept: Kept } | null {
    if (fields === null) return null;
    if (fields.some(([name, value]) => !isStorable(name) || !isStorable(value.text ?? ""))) return null;
    const texts = new Map(fields.map(([name, value]) => [name, value.text]));
    const parts = this.#shape.key.map((name) => texts.get(name) ?? null);
    if (parts.includes(null)) return null;
    const key = parts.length === 1 ? (parts[0] ?? "") : `[${parts.map((part) => JSON.stringify(part)).join(", ")}]`;
    if (key === "" || Buffer.byteLength(key) > 1_024) return null;
    const version = this.#shape.version === null ? null : (texts.get(this.#shape.version) ?? null);
    if (this.#shape.version !== null && version === null) return null;
    if (version !== null && Buffer.byteLength(version) > 128) return null;
    return { key, kept: { cells: this.#shape.columns.map((name) => texts.get(name) ?? null), version } };
  }
}

export function sorted(rows: readonly (string | null)[][]): (string | null)[][] {
  const text = (row: (string | null)[]) => JSON.stringify(row);
  return rows.toSorted((a, b) => (text(a) < text(b) ? -1 : 1));
}

function isStorable(text: string): boolean {
  return !/\0|\p{Surrogate}/u.test(text);
}
