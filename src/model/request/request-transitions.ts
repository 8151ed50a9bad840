/**
 * The states of a request and every event that may meet it. Pure; the SQL in `store/requests/requests.ts` guards each
 * move with the state that this table starts from.
 */

export const REQUEST_STATES = ["waiting", "batched", "succeeded", "failed", "cancelled", "gone"] as const;
export type RequestState = (typeof REQUEST_STATES)[number];

/**
 * What may happen to a request. The first four compare the row's present content with what the ledger knows; what a
 * user did to the row (INSERT, UPDATE, …) does not matter.
 */
export const REQUEST_EVENTS = [
  /** The row does not exist, or no longer matches `source.where`. */
  "rowGone",
  /** The row's content is the request's own; or there is still no row, as was known when the answer was kept. */
  "rowAsKnown",
  /** The row's content is not the request's own, but the one whose answer still stands in the target. */
  "rowAsAnswered",
  /** The row's content is neither. */
  "rowDiffers",
  /** The definition would ask something else, you sent the row again, or a real account took over from the demo. */
  "reopened",
  /** The planner took it into a batch. */
  "planned",
  /** An answer for the row's present content was accepted. */
  "answered",
  /** An answer was accepted and written although its row was gone: `source.onGone: "keepAnswer"`. */
  "answeredGone",
  /** An ending that no further attempt can fix. */
  "failedForGood",
  /** The attempt ended without a usable answer; the row is sent again. */
  "returned",
  /** The row was found gone when its batch was rendered or collected. */
  "endedGone",
  /** The row already had its answer when the batch was rendered. */
  "endedAnswered",
  /** An answer that the target refused was kept, is still about the row, and was written now. */
  "keptWritten",
  /** You cancelled its batch with `--drop` before it had an answer. */
  "dropped",
  /** You want a row that you had dropped asked after all. */
  "recalled",
] as const;
export type RequestEvent = (typeof REQUEST_EVENTS)[number];

/**
 * A state to go to; `keep`: nothing to do; `restore`: back to the state from before the row was gone;
 * `impossible`: the statement that would cause it cannot reach a request in this state.
 */
export type RequestMove = RequestState | "keep" | "restore" | "impossible";

const NOT_IN_FLIGHT = {
  answered: "impossible",
  answeredGone: "impossible",
  failedForGood: "impossible",
  returned: "impossible",
  endedGone: "impossible",
  endedAnswered: "impossible",
  keptWritten: "impossible",
  dropped: "impossible",
  recalled: "impossible",
} as const;

/** One cell per state and event: leaving one out does not compile. */
export const REQUEST_TRANSITIONS: Readonly<Record<RequestState, Readonly<Record<RequestEvent, RequestMove>>>> = {
  waiting: {
    rowGone: "gone",
    rowAsAnswered: "succeeded",
    rowAsKnown: "keep",
    rowDiffers: "waiting",
    reopened: "keep",
    planned: "batched",
    ...NOT_IN_FLIGHT,
    // Planned, and not rendered yet.
    dropped: "cancelled",
  },
  // While a request is in flight its row may change: the collector compares the content at the end.
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
    dropped: "cancelled",
    recalled: "impossible",
  },
  succeeded: {
    rowGone: "gone",
    rowAsAnswered: "keep",
    rowAsKnown: "keep",
    rowDiffers: "waiting",
    reopened: "waiting",
    planned: "impossible",
    ...NOT_IN_FLIGHT,
  },
  failed: {
    rowGone: "gone",
    rowAsAnswered: "succeeded",
    rowAsKnown: "keep",
    rowDiffers: "waiting",
    reopened: "waiting",
    planned: "impossible",
    ...NOT_IN_FLIGHT,
    keptWritten: "succeeded",
  },
  cancelled: {
    rowGone: "gone",
    rowAsAnswered: "succeeded",
    rowAsKnown: "keep",
    rowDiffers: "waiting",
    reopened: "keep",
    planned: "impossible",
    ...NOT_IN_FLIGHT,
    recalled: "waiting",
  },
  gone: {
    rowGone: "keep",
    rowAsAnswered: "succeeded",
    rowAsKnown: "restore",
    rowDiffers: "waiting",
    reopened: "keep",
    planned: "impossible",
    ...NOT_IN_FLIGHT,
  },
};

/** What the ledger knows of a request, for a look at its row. */
export interface KnownRequest {
  readonly state: RequestState;
  readonly goneFrom: RequestState | null;
  /** Null: the row was never read. */
  readonly contentHash: string | null;
  readonly answeredHash: string | null;
  /** Its row was gone when its answer came and was kept, in the target or (failed) for it: no row is what is known. */
  readonly rowGone: boolean;
}

/** The event that the row's present content is for a request; `rowHash` null: no such row. */
export function compareRow(request: KnownRequest, rowHash: string | null): RequestEvent {
  const isKept = request.rowGone && (request.state === "succeeded" || request.state === "failed");
  if (rowHash === null) return isKept ? "rowAsKnown" : "rowGone";
  // This one first: a reopened request waits with the very content of its old answer.
  if (rowHash === request.contentHash) return "rowAsKnown";
  // It waits for the first time: its row is read when it is rendered.
  if (request.contentHash === null && request.state === "waiting") return "rowAsKnown";
  return rowHash === request.answeredHash ? "rowAsAnswered" : "rowDiffers";
}

/** The state after `event`; null: nothing to write. */
export function moveRequest(request: KnownRequest, event: RequestEvent): RequestState | null {
  const move = REQUEST_TRANSITIONS[request.state][event];
  if (move === "keep" || move === "impossible") return null;
  return move === "restore" ? (request.goneFrom ?? "waiting") : move;
}
