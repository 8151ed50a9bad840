/** Owns the names of columns: none is empty, none is there twice. Pure. */

export interface NamedColumns {
  readonly names: readonly string[];
  /** For display. */
  readonly notes: readonly string[];
}

/** Unnamed: `column_3` by its place. Repeated: `name_2`, `name_3`. A name that is given keeps its column. */
export function namedColumns(given: readonly string[]): NamedColumns {
  const taken = new Set(given.map((name) => (name.trim() === "" ? "" : name)));
  const seen = new Set<string>();
  const notes: string[] = [];
  const names = given.map((name, index) => {
    const isUnnamed = name.trim() === "";
    if (!isUnnamed && !seen.has(name)) {
      seen.add(name);
      return name;
    }
    const made = isUnnamed ? freeName(`column_${index + 1}`, taken) : freeName(name, taken, 2);
    taken.add(made);
    notes.push(
      isUnnamed
        ? `Column ${index + 1} has no name. It is read as ${made}.`
        : `The name ${name} occurs twice. Column ${index + 1} is read as ${made}.`,
    );
    return made;
  });
  return { names, notes };
}

/** `name`, or with the first free number from 2. With `from`, the name itself is not free. */
export function freeName(name: string, taken: ReadonlySet<string>, from?: number): string {
  if (from === undefined && !taken.has(name)) return name;
  for (let number = from ?? 2; ; number++) {
    const made = `${name}_${number}`;
    if (!taken.has(made)) return made;
  }
}
