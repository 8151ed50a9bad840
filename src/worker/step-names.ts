/**
 * Every step that makes something durable or calls a provider, by its name. docs/internals/state-machine.md lists them;
 * the crash suite kills a worker before and after each.
 */
export const STEP_NAMES = {
  "worker.beat": "the worker records that it is alive",
  "worker.signOff": "the worker records that it ends",
  "lease.renew": "the leases of this process are renewed",

  "intake.take": "arrivals are taken, and what follows from their rows is written: one transaction",
  "sweep.chunk": "a chunk of the source or the ledger is compared, and the sweep's position written: one transaction",
  "sweep.demo": "provider: whether it is the demo model, where that model answered rows",

  "sync.begin": "the lease of a source elsewhere is taken, and a pass begins or continues: one transaction",
  "sync.read": "elsewhere: the next rows are read",
  "sync.write": "these rows are written to Rowmill's copy, with the pass's place: one transaction",
  "sync.end": "a pass is complete, and the rows that it did not meet are noted: one transaction",
  "sync.delete": "some rows that are gone elsewhere are deleted here: one transaction",
  "sync.fail": "records why a source elsewhere could not be read, and when the next attempt is",

  "plan.sample": "some waiting rows are read, to estimate what a request may need",
  "plan.estimate": "the estimate of a definition is written",
  "plan.approve": "a cheap definition is approved, or the approval for a local server is withdrawn",
  "plan.batch": "requests go into a new batch, with reservation and wake-up: one transaction",
  "plan.clearFlush": "a flush that is done is cleared",

  "turn.claim": "the lease of a batch is taken",
  "turn.release": "the lease is given back, with the time of the next look",
  "turn.wake": "the wake-up for that time is queued",
  "turn.pause": "a pipeline pauses, with the reason",

  "render.limits": "the account's learned limits are read",
  "render.undo": "requests of an interrupted rendering leave the batch again, part by part",
  "render.read": "the next rows of the batch's queue are read, while those before them are rendered",
  "render.chunk": "a chunk of rows enters the batch in the ledger, then its lines the spool file: one transaction",
  "render.learn": "a line larger than any before is remembered",
  "render.move": "the batch moves, with size and hash of its file: one transaction",

  "upload.look": "provider: looks for input of this batch that is there already",
  "upload.delete": "provider: removes input that is not the right one",
  "upload.send": "provider: uploads the input file",
  "upload.wait": "records that the input file is not ready yet, or never will be",
  "upload.move": "the batch moves, with what was staged: one transaction",

  "submit.baseline": "provider: which batches exist before the create, if only circumstances tell batches apart",
  "submit.intent": "the create is committed as intent",
  "submit.create": "provider: creates the batch, which costs money",
  "submit.takeBack": "the intent ends, because the create certainly had no effect",
  "submit.record": "the provider's batch is recorded as ours: one transaction",
  "submit.uploadAgain": "the batch goes back to its upload: one transaction",

  "reconcile.look": "provider: looks for a batch that may have been created",
  "reconcile.fence": "provider: removes the input of a create that was not found",
  "reconcile.duplicate": "a duplicate is recorded",
  "reconcile.refute": "the presumed batch is another one, and the search continues: one transaction",

  "poll.ask": "provider: how the batch stands",
  "poll.note": "what the provider reported is written",
  "poll.move": "the provider is done: the batch moves, with the references to its results: one transaction",

  "cancel.ask": "provider: cancels a batch that you want canceled",
  "cancel.noted": "records that the provider was asked: one transaction",
  "cancel.drop": "rows queued for a batch that you canceled are dropped: one transaction",

  "collect.read": "provider: the next lines of its results",
  "collect.chunk":
    "writes a chunk of answers with outcomes, attempts and target rows, or keeps the answers: one transaction",
  "collect.prove": "records that a presumed batch is ours",
  "collect.postpone": "results will be read again later, or kept answers written",

  "refuse.note": "records why the provider refused the file",
  "refuse.learn": "a limit of the account is learned",
  "end.chunk": "requests without an answer end, then the batch: one transaction each",

  "deliver.take": "the next changes for a target elsewhere are taken, under its pipeline's lease: one transaction",
  "deliver.write": "target: they are written to it",
  "deliver.readBack":
    "for answers that go into rows of the source: records how the write leaves these, before it takes effect",
  "deliver.confirm": "records what happened to them, if no newer answer came in the meantime: one transaction",
  "deliver.settle": "target: learns that no change is due",
  "deliver.settled": "records that it learned that, or why not: one transaction",

  "rescue.bury": "frees what dead workers or an ended queue held: one transaction",
  "rescue.wake": "a batch without a wake-up gets one",

  "compare.look": "provider: compares its list with the ledger, for duplicates and orphans",
  "compare.suspect": "records that the ledger may be restored or copied: everything waits for your decision",
  "compare.record": "a duplicate is recorded, and counted as spent",
  "compare.cancel": "provider: cancels a duplicate",
  "compare.cancelled": "its cancellation is recorded",

  "clean.forget": "provider: deletes what it keeps of an ended batch",
  "clean.noted": "records that nothing of a batch is left at the provider",
  "clean.spool": "a spool file that is no longer needed is removed",
  "clean.pushed": "pushed rows whose time is over are deleted, and their answers stay: one transaction",
  "clean.ledger": "what is no longer needed is deleted from the ledger and the queue",
} as const;

export type StepName = keyof typeof STEP_NAMES;
