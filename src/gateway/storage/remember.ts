/** Remembers at most `max` results of a pure function of one text; then it forgets all of them. */
export function remembering<T>(of: (text: string) => T, max: number): (text: string) => T {
  const known = new Map<string, T>();
  return (text) => {
    const remembered = known.get(text);
    if (remembered !== undefined) return remembered;
    if (known.size >= max) known.clear();
    const result = of(text);
    known.set(text, result);
    return result;
  };
}
