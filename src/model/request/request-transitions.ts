/**
 * The states of a request and every event that may meet it, decided once and for all.
 * Pure. The SQL in `store/requests.ts` guards each move with the state that this table starts from.
 */

export const REQUEST_STATES = ["waiting", "batched", "succeeded", "failed", "cancelled", "gone"] as const;
export type RequestState = (typeof REQUEST_STATES)[number];

/**
 * What may happen to a request. The first five say how the row looks now, compared with what the ledger knows;
 * what a user did to it (INSERT, UPDATE, …) is never asked: only the row's present content counts.
 */
export const REQUEST_EVENTS = [
  /** The row does not exist, or does not match `source.where` any more. */
  "rowGone",
  /**
   * The row's content is the one that this request speaks of (was answered, failed, was cancelled, or waits with); or there is still no
   * row, where that was known when the answer was kept.
   */
  "rowAsKnown",
  /** It is another one than the request speaks of, but the one whose answer still stands in the target. */
  "rowAsAnswered",
  /** The row's content is another one. */
  "rowDiffers",
  /** The definition changed such that this row would be asked something else, a person asked again, or a real account took over from the demo. */
  "reopened",
  /** The planner took it into a batch. */
  "planned",
  /** An answer for the row's present content was accepted. */
  "answered",
  /** An answer was accepted and written although its row was gone: `source.onGone: "keepAnswer"`. */
  "answeredGone",
  /** An ending that no further attempt can mend. */
  "failedForGood",
  /** The attempt ended without an answer that can be kept; it goes out again. */
  "returned",
  /** The row was found gone when its batch was rendered or collected. */
  "endedGone",
  /** At rendering the row had its answer already. */
  "endedAnswered",
  /** The answer that the target refused then was kept, still is about the row, and was written now. */
  "keptWritten",
] as const;
export type RequestEvent = (typeof REQUEST_EVENTS)[number];

/**
 * A state to go to; `keep`: nothing to do; `restore`: back to the state from before the row was gone;
 * `impossible`: the statement that would cause it cannot reach a request in this state.
 */
export type RequestMove = RequestState | "keep" | "restore" | "impossible";

/** One cell per state and event: leaving one out does not compile. */
export const REQUEST_TRANSITIONS: Readonly<
  Record<RequestState, Readonly<Record<RequestEvent, RequestMove>>>
> = {
  waiting: {
    rowGone: "gone",
    rowAsAnswered: "succeeded",
    rowAsKnown: "keep",
    rowDiffers: "waiting",
    reopened: "keep",
    planned: "batched",
    answered: "impossible",
    answeredGone: "impossible",
    failedForGood: "impossible",
    returned: "impossible",
    endedGone: "impossible",
    endedAnswered: "impossible",
    keptWritten: "impossible",
  },
  // While a request is in flight its row may change as it likes: the collector compares content at the end.
  batched: {
    rowGone: "keep",
    rowAsAnswered: "keep",
    rowAsKnown: "keep",
    rowDiffers: "keep",
    reopened: "keep",
    planned: "impossible",
    answered: "succeeded",
    answeredGone: "succeeded",
    failedForGood: "failed",
    returned: "waiting",
    endedGone: "gone",
    endedAnswered: "succeeded",
    keptWritten: "impossible",
  },
  succeeded: {
    rowGone: "gone",
    rowAsAnswered: "keep",
    rowAsKnown: "keep",
    rowDiffers: "waiting",
    reopened: "waiting",
    planned: "impossible",
    answered: "impossible",
    answeredGone: "impossible",
    failedForGood: "impossible",
    returned: "impossible",
    endedGone: "impossible",
    endedAnswered: "impossible",
    keptWritten: "impossible",
  },
  failed: {
    rowGone: "gone",
    rowAsAnswered: "succeeded",
    rowAsKnown: "keep",
    rowDiffers: "waiting",
    reopened: "waiting",
    planned: "impossible",
    answered: "impossible",
    answeredGone: "impossible",
    failedForGood: "impossible",
    returned: "impossible",
    endedGone: "impossible",
    endedAnswered: "impossible",
    keptWritten: "succeeded",
  },
  cancelled: {
    rowGone: "gone",
    rowAsAnswered: "succeeded",
    rowAsKnown: "keep",
    rowDiffers: "waiting",
    reopened: "keep",
    planned: "impossible",
    answered: "impossible",
    answeredGone: "impossible",
    failedForGood: "impossible",
    returned: "impossible",
    endedGone: "impossible",
    endedAnswered: "impossible",
    keptWritten: "impossible",
  },
  gone: {
    rowGone: "keep",
    rowAsAnswered: "succeeded",
    rowAsKnown: "restore",
    rowDiffers: "waiting",
    reopened: "keep",
    planned: "impossible",
    answered: "impossible",
    answeredGone: "impossible",
    failedForGood: "impossible",
    returned: "impossible",
    endedGone: "impossible",
    endedAnswered: "impossible",
    keptWritten: "impossible",
  },
};

/** What the ledger knows of a request, as far as a look at its row needs it. */
export interface KnownRequest {
  readonly state: RequestState;
  readonly goneFrom: RequestState | null;
  /** Null: the row was never read. */
  readonly contentHash: string | null;
  readonly answeredHash: string | null;
  /** Its row was gone when its answer came, which was kept, in the target or (failed) for it: no row is what is known. */
  readonly rowGone: boolean;
}

/** The event that the row's present content makes for a request; `rowHash` null: no such row. */
export function compareRow(request: KnownRequest, rowHash: string | null): RequestEvent {
  const isKept = request.rowGone && (request.state === "succeeded" || request.state === "failed");
  if (rowHash === null) return isKept ? "rowAsKnown" : "rowGone";
  // Known first: a request that was reopened waits with the very content that its old answer belongs to.
  if (rowHash === request.contentHash) return "rowAsKnown";
  // It waits for the first time, and is read when it is rendered.
  if (request.contentHash === null && request.state === "waiting") return "rowAsKnown";
  return rowHash === request.answeredHash ? "rowAsAnswered" : "rowDiffers";
}

/** The state after `event`, or null when nothing is to be written. */
export function moveRequest(request: KnownRequest, event: RequestEvent): RequestState | null {
  const move = REQUEST_TRANSITIONS[request.state][event];
  if (move === "keep" || move === "impossible") return null;
  return move === "restore" ? (request.goneFrom ?? "waiting") : move;
}
