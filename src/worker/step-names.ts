/**
 * The steps of the stages: everything that a worker makes durable, and every call to a provider, by its name. docs/internals/state-machine.md
 * lists them from here, and the crash suite kills a worker before and after each of them.
 */
export const STEP_NAMES = {
  "worker.beat": "the worker says that it lives",
  "worker.signOff": "the worker says that it ends",
  "lease.renew": "the leases of this process are prolonged",

  "intake.take": "arrivals are taken, and what their rows mean is written: one transaction",
  "sweep.chunk":
    "a chunk of the source or the ledger is compared, and the sweep's place written: one transaction",
  "sweep.demo": "provider: whether it is the demo model, where rows were answered by that",

  "plan.sample": "some waiting rows are read, for what a request may need",
  "plan.estimate": "the estimate of a definition is written",
  "plan.approve": "a cheap definition is approved, or what was approved for a local server is not any more",
  "plan.batch": "requests go into a new batch, with reservation and wake-up: one transaction",
  "plan.clearFlush": "a wish to flush that is fulfilled is cleared",

  "turn.claim": "the lease of a batch is taken",
  "turn.release": "the lease is given back, with the time of the next look",
  "turn.wake": "the wake-up for that time is put into the queue",
  "turn.pause": "a pipeline pauses, with the reason",

  "render.limits": "the account's learned limits are read",
  "render.undo": "what a rendering that broke off took into the batch leaves it again, part by part",
  "render.read": "the next rows of the batch's queue are read, while those before them are rendered",
  "render.chunk":
    "a chunk of rows enters the batch in the ledger, then its lines the spool file: one transaction",
  "render.learn": "a line larger than any before is remembered",
  "render.move": "the batch moves, with size and hash of its file: one transaction",

  "upload.look": "provider: input of this batch that is there already is looked for",
  "upload.delete": "provider: input that is not the right one is removed",
  "upload.send": "provider: the input file is uploaded",
  "upload.wait": "that the input file is not ready yet, or never will be, is written",
  "upload.move": "the batch moves, with what was staged: one transaction",

  "submit.baseline":
    "provider: what is there before the create, where only circumstance tells it from others",
  "submit.intent": "the create is committed as intent",
  "submit.create": "provider: the batch is created: what costs money",
  "submit.takeBack": "the intent ends, since the create certainly had no effect",
  "submit.record": "the provider's batch is recorded as ours: one transaction",
  "submit.anew": "the batch goes back to its upload: one transaction",

  "reconcile.look": "provider: a batch that may have been created is looked for",
  "reconcile.fence": "provider: what was staged for a create without ending is removed",
  "reconcile.duplicate": "a second batch for the same requests is recorded",
  "reconcile.refute": "what was presumed to be ours is another batch: one transaction",

  "poll.ask": "provider: how the batch stands",
  "poll.note": "what the provider said is written",
  "poll.move":
    "the provider is done: the batch moves, with what its results are asked for by: one transaction",

  "collect.read": "provider: the next lines of its results",
  "collect.chunk":
    "a chunk of answers: endings, attempts and target rows, or that answers are kept: one transaction",
  "collect.prove": "that a presumed batch is ours is written",
  "collect.postpone": "results are to be read again later, or kept answers to be written",

  "refuse.note": "why the provider refused the file is written",
  "refuse.learn": "a limit of the account is learned",
  "end.chunk": "requests without an answer get their ending, then the batch: one transaction each",

  "rescue.bury": "what dead workers or a queue that ended held is freed: one transaction",
  "rescue.wake": "a batch without a wake-up gets one",

  "compare.look":
    "provider: its list is compared with the ledger, for second batches that were seen late, and for those of nobody",
  "compare.suspect": "that the ledger may be restored or copied is written: everything waits for a person",
  "compare.record": "such a batch is recorded, and counted as spent",
  "compare.cancel": "provider: it is cancelled",
  "compare.cancelled": "its cancellation is recorded",

  "clean.forget": "provider: what it keeps of an ended batch is deleted",
  "clean.noted": "that nothing of a batch is left at the provider is written",
  "clean.spool": "a spool file that is not needed any more is removed",
  "clean.ledger": "what nobody needs any more is deleted from the ledger and the queue",
} as const;

export type StepName = keyof typeof STEP_NAMES;
