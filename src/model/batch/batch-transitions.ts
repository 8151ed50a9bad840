/** The states of a batch and every event that may meet it. Pure; `store/batches/batches.ts` guards each move in SQL. */

export const BATCH_STATES = [
  "planned",
  "uploading",
  "submitting",
  "running",
  "collecting",
  "settled",
  "rejected",
  "cancelled",
] as const;
export type BatchState = (typeof BATCH_STATES)[number];

export const BATCH_EVENTS = [
  /** The spool file is complete on disk. */
  "rendered",
  /** No request was left to send when it was rendered. */
  "nothingToSend",
  /** The spool file is not on this machine, and no upload of it was found. */
  "spoolLost",
  /** The input is at the provider, or goes with the create. */
  "uploaded",
  /** A lost create was not found within the window: its input file was deleted, so that it can do no harm. */
  "fenced",
  /** The provider has the batch: its reply came, or reconciliation found it. */
  "created",
  /** The provider refused the file, at create or afterwards. */
  "refused",
  /** The provider says completed, expired or cancelled. */
  "providerDone",
  /** The presumed batch is another one: ours is looked for again. */
  "refuted",
  /** Every request of the batch has its ending. */
  "allEnded",
  /** You gave it up: nothing more is collected from it. */
  "abandoned",
] as const;
export type BatchEvent = (typeof BATCH_EVENTS)[number];

/** How a batch comes into the ledger, and in which state. */
export const BATCH_BEGINNINGS = {
  /** The planner took waiting requests for it. */
  planned: "planned",
  /** You gave it to a pipeline: other code had created it at the provider. */
  adopted: "running",
  /** You accepted answers of a try: its requests end in the same transaction. */
  accepted: "settled",
} as const satisfies Readonly<Record<string, BatchState>>;

export type BatchMove = BatchState | "impossible";

const NEVER = {
  rendered: "impossible",
  nothingToSend: "impossible",
  spoolLost: "impossible",
  uploaded: "impossible",
  fenced: "impossible",
  created: "impossible",
  refused: "impossible",
  providerDone: "impossible",
  refuted: "impossible",
  allEnded: "impossible",
  abandoned: "impossible",
} as const;

export const BATCH_TRANSITIONS: Readonly<Record<BatchState, Readonly<Record<BatchEvent, BatchMove>>>> = {
  planned: { ...NEVER, rendered: "uploading", nothingToSend: "settled", abandoned: "cancelled" },
  uploading: {
    ...NEVER,
    spoolLost: "planned",
    uploaded: "submitting",
    refused: "rejected",
    abandoned: "cancelled",
  },
  submitting: {
    ...NEVER,
    fenced: "uploading",
    created: "running",
    refused: "rejected",
    abandoned: "cancelled",
  },
  running: {
    ...NEVER,
    providerDone: "collecting",
    refuted: "submitting",
    refused: "rejected",
    abandoned: "cancelled",
  },
  collecting: { ...NEVER, refuted: "submitting", allEnded: "settled", abandoned: "cancelled" },
  settled: NEVER,
  rejected: NEVER,
  cancelled: NEVER,
};

/** The state after `event`; throws where the table says `impossible`: that is a bug, not an ending. */
export function moveBatch(state: BatchState, event: BatchEvent): BatchState {
  const move = BATCH_TRANSITIONS[state][event];
  if (move === "impossible") throw new Error(`A batch that is ${state} cannot meet "${event}".`);
  return move;
}
