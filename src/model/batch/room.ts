/** How many requests the next batch may have, by everything that bounds it. Pure. */

/** What is left of something, and what one request may need of it at most; `left` is Infinity where nothing bounds it. */
export interface Purse {
  readonly left: number;
  readonly each: number;
}

export interface RoomFacts {
  /** The fewest requests that the provider takes in a batch. */
  readonly least: number;
  readonly ready: number;
  /** As many as go into one file, by their number and by their bytes. */
  readonly inFile: number;
  /** Requests that were never asked: as many as `limit` still allows, Infinity without one. And those of `ready` that were asked before. */
  readonly fresh: number;
  readonly again: number;
  readonly tokens: Purse;
  /** `inFlight`: batches that are on their way have reserved some of it. */
  readonly money: Purse & { readonly inFlight: boolean };
}

/** What stands in the way of even the smallest batch; of money also: of a batch with all that is ready, while more will come back. */
export type NoRoom = "tooFew" | "limit" | "noTokens" | "noMoney";

export function roomFor(facts: RoomFacts): { readonly requests: number } | { readonly because: NoRoom } {
  const { least, ready, inFile, fresh, again, tokens, money } = facts;
  if (inFile < least) return { because: "tooFew" };
  if (fresh + again < least) return { because: "limit" };
  if (!isEnough(tokens, least)) return { because: "noTokens" };
  if (!isEnough(money, least)) return { because: "noMoney" };
  // What is reserved by batches in flight mostly comes back when they settle: better to wait for it than to send fragments.
  if (money.inFlight && !isEnough(money, ready)) return { because: "noMoney" };
  return { requests: Math.min(inFile, requestsOf(tokens), requestsOf(money)) };
}

export function isEnough({ left, each }: Purse, requests: number): boolean {
  return left >= requests * each;
}

function requestsOf({ left, each }: Purse): number {
  return each === 0 ? Infinity : Math.floor(left / each);
}
