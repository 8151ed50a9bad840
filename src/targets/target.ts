/** What a target of results must answer: created when missing, written set by set, driven by the ledger's guarded updates. */
import type { Json } from "../model/pipeline.js";
import type { Queryable } from "../postgres/database.js";

export interface Result {
  readonly key: string;
  /** Answer field → value as JSON; a field left out is null. */
  readonly cells: Readonly<Record<string, Json>>;
  readonly model: string;
}

export interface Target {
  /** The results go into the source's own rows. */
  readonly isSource: boolean;
  /** @throws RowmillError `target_unsupported` where a write would run code of somebody whom the config does not trust. */
  checkOwners(client: Queryable): Promise<void>;
  /**
   * Locks the table as the write does anyway, so that from here to the commit no trigger, default or owner of it can change, and checks the
   * owners as above. `plain`: nothing of the user's can do something else than what is written; where it fails, it says so.
   */
  lock(tx: Queryable): Promise<{ plain: boolean }>;
  /**
   * Locks as above, then: of these keys, those whose target rows some other transaction holds right now: they are written later, so that a user's
   * transaction never waits for ours. The others stay locked for this transaction.
   */
  lockFree(tx: Queryable, keys: readonly string[]): Promise<{ busy: ReadonlySet<string> }>;
  /**
   * Upserts, and looks, unless the target is `plain`: the keys at which the table does not hold what was written, since a trigger or rule of the user's did something else.
   * One result per key; the caller bounds their number, since a user's table is written, and halves them when a row is refused.
   */
  write(tx: Queryable, results: readonly Result[], plain?: boolean): Promise<ReadonlySet<string>>;
  /** Of these keys, those that have a result. */
  present(tx: Queryable, keys: readonly string[]): Promise<ReadonlySet<string>>;
}
