/** Merges files that are in the order of their keys: of each key the line with the highest fence. */
import { isBefore, type PartLine } from "./part-line.js";
import type { RunReader } from "./run-reader.js";

/** Files that are open at once. */
export const MERGED_MAX = 66;

interface Open {
  readonly reader: RunReader;
  head: PartLine;
}

/** In memory is one chunk of each. The caller closes them. */
export async function* mergedLines(readers: readonly RunReader[]): AsyncGenerator<PartLine> {
  let open: Open[] = [];
  for (const reader of readers) {
    const head = await reader.line();
    if (head !== null) open.push({ reader, head });
  }
  while (open.length > 0) {
    const { head: least } = open.reduce((a, b) => (isBefore(b.head, a.head) ? b : a));
    let newest = least;
    for (const one of open) {
      if (one.head.key !== least.key) continue;
      if (one.head.fence > newest.fence) newest = one.head;
      const read = one.reader.line();
      const next = read instanceof Promise ? await read : read;
      if (next === null) open = open.filter((other) => other !== one);
      else one.head = next;
    }
    yield newest;
  }
}
