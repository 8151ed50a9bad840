/** Into how many batches rows go, by the planner's own arithmetic, one batch after another. Pure. */
import { reservation, roomFor, type NoRoom, type RoomFacts } from "../../model/batch/room.js";
import type { RequestBounds } from "../../worker/rounds/estimate.js";
import type { FileLimits } from "../../worker/rounds/file-limits.js";
import type { BatchLimit, LaterBecause, PackingPlan } from "./pipeline-plan.js";

/** Planned one by one; what is left then goes in batches of the same size. */
const BATCHES_MAX = 10_000;

export interface PackingFacts {
  readonly rows: number;
  readonly least: number;
  readonly inFile: number;
  readonly tokensLeft: number;
  readonly money: { readonly left: number; readonly inFlight: boolean };
  readonly bounds: RequestBounds;
  readonly file: FileLimits;
  /** Of the config and of the provider's documentation. */
  readonly requestsMax: { readonly config: number | null; readonly provider: number };
  readonly bytesMax: { readonly config: number | null; readonly provider: number };
}

export function packBatches(facts: PackingFacts): PackingPlan {
  const { rows, bounds } = facts;
  let [left, batches, requestsEach] = [rows, 0, 0];
  let room = roomOf(facts, { left, tokens: facts.tokensLeft, money: facts.money });
  while (left > 0 && "requests" in room.found && batches < BATCHES_MAX) {
    const taken = Math.min(left, room.found.requests);
    batches++;
    requestsEach ||= taken;
    left -= taken;
    const { tokens, money } = room;
    room = roomOf(facts, {
      left,
      tokens: tokens - reservation(taken, { left: tokens, each: bounds.tokensEach }, bounds.tokensMost),
      money: {
        left: money.left - reservation(taken, { left: money.left, each: bounds.nanoUsdEach }, bounds.nanoUsdMost),
        inFlight: true,
      },
    });
    if (facts.file.bytesGuess !== null) break;
  }
  const each = requestsEach === 0 ? Math.max(1, Math.min(rows, facts.inFile)) : requestsEach;
  const because = whyLater(facts, "because" in room.found ? room.found.because : null);
  const inLater = Math.ceil(left / each);
  return {
    batches: because === null ? batches + inLater : batches,
    requests: because === null ? rows : rows - left,
    requestsEach: each,
    bytesEach: Math.round(bounds.bytesEach),
    decidedBy: decidedBy(facts),
    later: left === 0 || because === null ? null : { requests: left, batches: inLater, because },
  };
}

/** Null: there is room for all of it, in more batches than were planned one by one. */
function whyLater({ file }: PackingFacts, found: NoRoom | null): LaterBecause | null {
  // One file at a time until one passes.
  if (found === null) return file.bytesGuess === null ? null : "guessedBytes";
  return found === "limit" ? "fewRows" : found;
}

interface Purses {
  readonly left: number;
  readonly tokens: number;
  readonly money: PackingFacts["money"];
}

function roomOf({ least, inFile, bounds }: PackingFacts, { left, tokens, money }: Purses) {
  const facts: RoomFacts = {
    least,
    ready: left,
    inFile,
    // `limit` was applied to the rows.
    fresh: left,
    again: 0,
    tokens: { left: tokens, each: bounds.tokensEach },
    money: { ...money, each: bounds.nanoUsdEach },
  };
  return { found: roomFor(facts), tokens, money };
}

/** The narrowest limit of the first batch; of equal ones the one that you can change. */
function decidedBy({ rows, tokensLeft, money, bounds, file, requestsMax, bytesMax }: PackingFacts): BatchLimit {
  const inBytes = (bytes: number) => Math.max(1, Math.floor(bytes / bounds.bytesEach));
  const inPurse = (left: number, each: number) => (each === 0 ? Infinity : Math.max(0, Math.floor(left / each)));
  const limits: readonly (readonly [BatchLimit, number])[] = [
    ["rows", rows],
    ["maxRequests", requestsMax.config ?? Infinity],
    ["maxBytes", inBytes(bytesMax.config ?? Infinity)],
    ["budget", inPurse(money.left, bounds.nanoUsdEach)],
    ["enqueuedTokens", inPurse(tokensLeft, bounds.tokensEach)],
    ["providerRequests", requestsMax.provider],
    ["providerBytes", inBytes(bytesMax.provider)],
    ["learnedBytes", inBytes(Math.min(file.bytesMax, file.bytesGuess ?? Infinity))],
  ];
  const least = Math.min(...limits.map(([, most]) => most));
  return limits.find(([, most]) => most === least)?.[0] ?? "rows";
}
