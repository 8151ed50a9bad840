/**
 * Finds two records of a file with the same key and different content, in 16 bytes a record: hashes of 64 bits, so two
 * different keys are taken for one with a chance of one to ten million in a file of a million lines.
 */
import { createHash } from "node:crypto";

const SLOTS_MIN = 1_024;
const LOAD_MAX = 0.6;
const FIELDS = 4;

export class KnownKeys {
  #slots = new Uint32Array(SLOTS_MIN * FIELDS);
  #count = 0;

  /** The line of an earlier record with this key and other content; null: there is none. `line`: from 1. */
  add(key: string, content: string, line: number): number | null {
    if (this.#count >= (this.#slots.length / FIELDS) * LOAD_MAX) this.#grow();
    const digest = createHash("sha256").update(key).digest();
    const entry = [digest.readUInt32LE(0), digest.readUInt32LE(4), hash32(content), line] as const;
    const at = find(this.#slots, entry[0], entry[1]);
    const known = this.#slots[at + 3] ?? 0;
    if (known !== 0) return this.#slots[at + 2] === entry[2] ? null : known;
    this.#slots.set(entry, at);
    this.#count += 1;
    return null;
  }

  #grow(): void {
    const larger = new Uint32Array(this.#slots.length * 2);
    for (let at = 0; at < this.#slots.length; at += FIELDS) {
      const entry = this.#slots.subarray(at, at + FIELDS);
      if (entry[3] !== 0) larger.set(entry, find(larger, entry[0] ?? 0, entry[1] ?? 0));
    }
    this.#slots = larger;
  }
}

/** Where these two halves of a hash are, or may be put. A line of 0 is a free slot. */
function find(slots: Uint32Array, low: number, high: number): number {
  const places = slots.length / FIELDS;
  for (let place = low % places; ; place = (place + 1) % places) {
    const at = place * FIELDS;
    if (slots[at + 3] === 0 || (slots[at] === low && slots[at + 1] === high)) return at;
  }
}

function hash32(text: string): number {
  return createHash("sha256").update(text).digest().readUInt32LE(0);
}
