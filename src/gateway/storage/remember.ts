/** Remembers the results of a pure function of one text; forgets all of them when there are too many. */

/** `max` results at most are held. */
export function remembering<T>(of: (text: string) => T, max: number): (text: string) => T {
  const known = new Map<string, T>();
  return (text) => {
    const former = known.get(text);
    if (former !== undefined) return former;
    if (known.size >= max) known.clear();
    const result = of(text);
    known.set(text, result);
    return result;
  };
}
