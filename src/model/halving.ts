/**
 * Finds the rows that make a write throw where the target says nothing of single rows: first whether any row can be
 * written alone, so that it is not the target that fails; then halves, down to single rows. Pure.
 */

/** Single rows, spread over the group, that throw before the target counts as failing as a whole. */
const SINGLES_MAX = 5;

export interface Suspect {
  readonly key: string;
  readonly fence: string;
  /** How many times it was refused before. */
  readonly failures: number;
  readonly reason: string;
}

/** A row of a write that threw. `known`: alone it threw so before, at a time when the target worked. */
export type Thrown = Omit<Suspect, "reason"> & { readonly known: boolean };

export interface Halving {
  /** Groups of keys that are written next, in this order. */
  readonly parts: readonly (readonly string[])[];
  /** Keys that are halved once a single row was written. */
  readonly rest: readonly string[];
  /** Rows that throw alone, and a later write showed that the target works. */
  readonly refused: readonly Suspect[];
  /** The same since the last write that worked. */
  readonly suspects: readonly Suspect[];
  readonly worked: boolean;
  /** Throws since the last write that worked. */
  readonly throws: number;
  readonly throwsMax: number;
}

export function startHalving(keys: readonly string[]): Halving {
  const singles = new Set(spread(keys, SINGLES_MAX));
  return {
    parts: [...singles].map((key) => [key]),
    rest: keys.filter((key) => !singles.has(key)),
    refused: [],
    suspects: [],
    worked: false,
    throws: 0,
    throwsMax: SINGLES_MAX,
  };
}

/** The first and the last one, and others between them. */
function spread(keys: readonly string[], count: number): string[] {
  if (keys.length <= count) return [...keys];
  const step = (keys.length - 1) / (count - 1);
  return Array.from({ length: count }, (_, index) => keys[Math.round(index * step)] ?? "");
}

/** Its first part was written, or none of its rows is due any more (`empty`), which says nothing of the target. */
export function afterWritten(halving: Halving, { empty }: { readonly empty: boolean }): Halving {
  const parts = halving.parts.slice(1);
  if (empty) return { ...halving, parts };
  const { refused, suspects, worked, rest } = halving;
  const known = { ...halving, worked: true, throws: 0, refused: [...refused, ...suspects], suspects: [] };
  if (worked) return { ...known, parts };
  // Now the target is known to work, so the other single rows go with the rest.
  const left = [...parts.flat(), ...rest];
  return { ...known, parts: halves(left), rest: [], throwsMax: SINGLES_MAX + Math.ceil(Math.log2(left.length + 1)) };
}

/** Its first part, of these lines, made the write throw. */
export function afterThrown(halving: Halving, lines: readonly Thrown[], reason: string): Halving {
  const { parts, refused, suspects, throws } = halving;
  const [only] = lines;
  const others = parts.slice(1);
  const thrown = { ...halving, throws: throws + 1 };
  if (lines.length > 1 || only === undefined)
    return { ...thrown, parts: [...halves(lines.map(({ key }) => key)), ...others] };
  const { known, ...line } = only;
  const suspect = { ...line, reason };
  if (known) return { ...thrown, parts: others, throws, refused: [...refused, suspect] };
  return { ...thrown, parts: others, suspects: [...suspects, suspect] };
}

function halves(keys: readonly string[]): (readonly string[])[] {
  const middle = Math.ceil(keys.length / 2);
  return [keys.slice(0, middle), keys.slice(middle)].filter(({ length }) => length > 0);
}

/** Null: it continues. `target`: the target fails as a whole. `refused`: rows that do not, whatever the target does. */
export function verdictOf(halving: Halving): {
  readonly by: "rows" | "target";
  readonly refused: readonly Suspect[];
} | null {
  const { parts, worked, throws, throwsMax, refused, suspects } = halving;
  if (throws >= throwsMax) return { by: "target", refused };
  if (parts.length > 0) return null;
  // What was found since it last worked is so little that it is the rows.
  if (worked) return { by: "rows", refused: [...refused, ...suspects] };
  return { by: suspects.length === 0 ? "rows" : "target", refused };
}

/** What rows threw alone while it was not known whether the target works. */
export type Alone = ReadonlyMap<string, { readonly reason: string; readonly worked: boolean }>;

/** Beyond that the oldest are forgotten. */
const ALONE_MAX = 100;

export function withAlone(alone: Alone, suspects: readonly Suspect[]): Alone {
  const all = new Map(alone);
  for (const { key, reason } of suspects) all.set(key, { reason, worked: false });
  return new Map([...all].slice(-ALONE_MAX));
}

/** A write worked: what was thrown before it may be the rows' fault. */
export function aloneAfterWritten(alone: Alone): Alone {
  return new Map([...alone].map(([key, { reason }]) => [key, { reason, worked: true }]));
}
