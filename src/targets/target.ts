/** What a target of results must answer. It is written chunk by chunk, as the ledger's guarded updates decide. */
import type { Json } from "../model/pipeline.js";
import type { Queryable } from "../postgres/database.js";

export interface Result {
  readonly key: string;
  /** Answer field → value as JSON; a field left out is null. */
  readonly cells: Readonly<Record<string, Json>>;
  readonly model: string;
  /** Of the config that asked. Null: it is not known. */
  readonly version: number | null;
}

export interface Target {
  /** The results go into the source's own rows. */
  readonly isSource: boolean;
  /**
   * @throws RowmillError `target_unsupported` where a write would run code of an owner whom the config does not trust
   */
  checkOwners(client: Queryable): Promise<void>;
  /**
   * Takes the write's lock, so that no trigger, default or owner can change before the commit, and checks the owners.
   * `plain`: no trigger or rule can turn the write into something else without an error.
   */
  lock(tx: Queryable): Promise<{ plain: boolean }>;
  /**
   * Locks as above. `busy`: the keys whose target rows another transaction holds; they are written later, so that a
   * user's transaction never waits for ours. The others stay locked for this transaction.
   */
  lockFree(tx: Queryable, keys: readonly string[]): Promise<{ busy: ReadonlySet<string> }>;
  /**
   * Upserts one result per key. Returns the keys at which the table does not hold the result, because a trigger or rule
   * did something else; none where the target is `plain`. The caller bounds the results, and halves them when a row
   * is refused.
   */
  write(tx: Queryable, results: readonly Result[], plain?: boolean): Promise<ReadonlySet<string>>;
  /** Of these keys, those that have a result. */
  present(tx: Queryable, keys: readonly string[]): Promise<ReadonlySet<string>>;
  /** Deletes the results of these keys, on your word alone. Never where they are in the source's own rows. */
  erase(tx: Queryable, keys: readonly string[]): Promise<number>;
}
