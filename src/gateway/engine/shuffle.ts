/** A seeded order, so that output files are out of order and yet the same each time. Pure. */

/** The numbers 0 … count - 1; in order when the seed is null. */
export function shuffledOrder(count: number, seed: number | null): Uint32Array {
  const order = Uint32Array.from({ length: count }, (_, index) => index);
  if (seed === null) return order;
  const next = mulberry32(seed);
  for (let last = count - 1; last > 0; last--) {
    const chosen = Math.floor(next() * (last + 1));
    const kept = order[last] ?? 0;
    order[last] = order[chosen] ?? 0;
    order[chosen] = kept;
  }
  return order;
}

/** Tommy Ettinger's Mulberry32, public domain: uniform in [0, 1). */
function mulberry32(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
