/**
 * The newest fence of each key in 20 bytes: hashes of 96 bits stand for the keys, so two keys among ten million are
 * taken for one with a chance of one to 10^15. A million keys take 42 MB.
 */
import { createHash } from "node:crypto";

const SLOTS_MIN = 1_024;
const LOAD_MAX = 0.6;
const WORDS = 3;

interface Slots {
  readonly hashes: Uint32Array;
  /** 0: the slot is free. */
  readonly fences: BigUint64Array;
}

export class KnownFences {
  #slots = slotsOf(SLOTS_MIN);
  #count = 0;

  get count(): number {
    return this.#count;
  }

  /** Null: nothing is known of this key. */
  get(key: string): bigint | null {
    const known = this.#slots.fences[find(this.#slots, hashOf(key))] ?? 0n;
    return known === 0n ? null : known - 1n;
  }

  /** A lower fence changes nothing. */
  add(key: string, fence: bigint): void {
    if (this.#count >= this.#slots.fences.length * LOAD_MAX) this.#grow();
    const hash = hashOf(key);
    const at = find(this.#slots, hash);
    const before = this.#slots.fences[at] ?? 0n;
    if (before > fence) return;
    if (before === 0n) this.#count += 1;
    put(this.#slots, at, { hash, fence: fence + 1n });
  }

  #grow(): void {
    const { hashes, fences } = this.#slots;
    const larger = slotsOf(fences.length * 2);
    for (const [at, fence] of fences.entries()) {
      if (fence === 0n) continue;
      const hash = hashes.subarray(at * WORDS, (at + 1) * WORDS);
      put(larger, find(larger, hash), { hash, fence });
    }
    this.#slots = larger;
  }
}

function slotsOf(count: number): Slots {
  return { hashes: new Uint32Array(count * WORDS), fences: new BigUint64Array(count) };
}

function put({ hashes, fences }: Slots, at: number, { hash, fence }: { hash: Uint32Array; fence: bigint }): void {
  hashes.set(hash, at * WORDS);
  fences[at] = fence;
}

function hashOf(key: string): Uint32Array {
  const digest = createHash("sha256").update(key).digest();
  return Uint32Array.from({ length: WORDS }, (_, word) => digest.readUInt32LE(word * 4));
}

/** Where this hash is, or may be put. */
function find({ hashes, fences }: Slots, hash: Uint32Array): number {
  const places = fences.length;
  for (let at = (hash[0] ?? 0) % places; ; at = (at + 1) % places) {
    if (fences[at] === 0n || hash.every((word, index) => hashes[at * WORDS + index] === word)) return at;
  }
}
