/** Finds the known word that an unknown one probably means, for keys, values, columns and commands. Pure. */

/** Longer words are not compared: the distance costs the product of the two lengths. */
const WORD_LENGTH_MAX = 64;

/**
 * The candidate nearest to `word`, or null if none is near. Letter case, `_` and `-` do not count (`max_wait` is
 * `maxWait`); one edit per three letters is allowed, and a swap of neighbors is one edit. The first of equals wins.
 */
export function nearMatch(word: string, candidates: readonly string[]): string | null {
  if (word.length > WORD_LENGTH_MAX) return null;
  const folded = fold(word);
  let best: string | null = null;
  let bestDistance = Infinity;
  for (const candidate of candidates) {
    if (candidate.length > WORD_LENGTH_MAX) continue;
    const distance = editDistance(folded, fold(candidate));
    const allowed = Math.max(1, Math.floor(Math.max(folded.length, candidate.length) / 3));
    // One edit turns any single letter into any other.
    if (distance > allowed || distance >= folded.length || distance >= bestDistance) continue;
    best = candidate;
    bestDistance = distance;
  }
  return best;
}

function fold(word: string): string {
  return word.toLowerCase().replace(/[_-]/g, "");
}

/** Insertions, deletions, substitutions and swaps of neighbors (optimal string alignment). */
function editDistance(a: string, b: string): number {
  let beforePrevious: number[] = [];
  let previous = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let i = 1; i <= a.length; i++) {
    const current = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1];
      const edits = [at(previous, j) + 1, at(current, j - 1) + 1, at(previous, j - 1) + (same ? 0 : 1)];
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      if (swapped) edits.push(at(beforePrevious, j - 2) + 1);
      current.push(Math.min(...edits));
    }
    beforePrevious = previous;
    previous = current;
  }
  return at(previous, b.length);
}

function at(row: readonly number[], index: number): number {
  return row[index] ?? Infinity;
}
