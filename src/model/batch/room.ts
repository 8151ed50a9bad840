/** How many requests the next batch may have, by everything that bounds it. Pure. */

/** What is left of something (Infinity: no bound), and what one request may need at most. */
export interface Purse {
  readonly left: number;
  readonly each: number;
}

export interface RoomFacts {
  /** The fewest requests that the provider takes in a batch. */
  readonly least: number;
  readonly ready: number;
  /** At most this many fit into one file, by number and by bytes. */
  readonly inFile: number;
  /** Requests that `limit` still allows to ask for the first time; Infinity without one. */
  readonly fresh: number;
  /** Waiting requests that were asked before. */
  readonly again: number;
  readonly tokens: Purse;
  /** `inFlight`: batches in flight have reserved some of it. */
  readonly money: Purse & { readonly inFlight: boolean };
}

/** What the smallest batch lacks. Money also: what all ready requests lack while batches in flight may return some. */
export type NoRoom = "tooFew" | "limit" | "noTokens" | "noMoney";

export function roomFor(facts: RoomFacts): { readonly requests: number } | { readonly because: NoRoom } {
  const { least, ready, inFile, fresh, again, tokens, money } = facts;
  if (inFile < least) return { because: "tooFew" };
  if (fresh + again < least) return { because: "limit" };
  if (!isEnough(tokens, least)) return { because: "noTokens" };
  if (!isEnough(money, least)) return { because: "noMoney" };
  // Most of what batches in flight reserve comes back when they settle: waiting is better than sending fragments.
  if (money.inFlight && !isEnough(money, ready)) return { because: "noMoney" };
  return { requests: Math.min(inFile, requestsOf(tokens), requestsOf(money)) };
}

export function isEnough({ left, each }: Purse, requests: number): boolean {
  return left >= requests * each;
}

/** Lines differ from the average: some slack, and one line more for small batches. Rendering gives the rest back. */
const RESERVE_SLACK = 1.25;

/** What a batch of this many requests takes out of the purse. `most`: the most that one line needed so far. */
export function reservation(requests: number, { left, each }: Purse, most: number): number {
  return Math.ceil(Math.min(left, Math.max((requests * RESERVE_SLACK + 1) * each, most)));
}

function requestsOf({ left, each }: Purse): number {
  return each === 0 ? Infinity : Math.floor(left / each);
}
