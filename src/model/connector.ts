/**
 * What a system elsewhere must answer to give rows or to take answers. Rowmill's own connectors use nothing else, and
 * `defineSource` and `defineTarget` take the same from you.
 */
import type { AnswerColumn } from "./answer/answer-columns.js";
import { RowmillError, type RowmillErrorOptions } from "./errors.js";
import type { Json, RowCells } from "./pipeline.js";

/** A column's value as a source gives it. Rowmill keeps its text: a `Date` in ISO 8601, a list or object as JSON. */
export type Cell = string | number | bigint | boolean | null | undefined | Date | Uint8Array | object;

/** Some rows of a pass over a source, which is written together with its place and mark. */
export interface Page {
  /** All of a page is in memory at once: some thousand rows, and some MiB. */
  readonly rows: readonly { readonly [column: string]: Cell }[];
  /** What is a row there and cannot be read. `rowmill status` counts them for a day, by reason. */
  readonly refused?: readonly RefusedSourceRow[];
  /** Where this pass continues after a crash. Left out: it begins again. */
  readonly place?: Json;
  /** Where the next reading of changes begins. The pass's last one counts, when the pass is complete. */
  readonly mark?: Json;
}

export interface RefusedSourceRow {
  /** One of a few texts, without values. */
  readonly reason: string;
  /** Where it is, or its key. */
  readonly example: string | null;
}

export interface ReadOptions {
  /** The mark of an earlier pass: only what has changed since. Null: all rows. */
  readonly since: Json;
  /** The place where this pass was cut off. Null: from its beginning. */
  readonly place: Json;
  /** Aborted at the end of `up`, and when a page takes longer than PAGE_MS_MAX. */
  readonly signal: AbortSignal;
}

/** What `rowmill doctor` shows of a connector. */
export interface ConnectorFinding {
  /** `warning`: it works, but you should know. `problem`: something has to change. */
  readonly level: "ok" | "warning" | "problem" | "notChecked";
  /** One sentence, without a secret and without the pipeline's name. */
  readonly text: string;
  /** What to do, one sentence each. */
  readonly fixes?: readonly string[];
  /** Statements for the administrator of a database there. */
  readonly sql?: readonly string[];
}

export const PAGE_MS_MAX = 120_000;

export type Identity = (signal: AbortSignal) => Promise<string | null>;

/** Rows that are read from a system elsewhere. */
export interface SourceConnector {
  /** For display: "postgres", "custom". */
  readonly name: string;
  /** Says what is read, without secrets: when it changes, all rows are read again. Default: it never does. */
  readonly reads?: string;
  /** Where the rows are, without secrets. A target of the same address writes into these very rows. */
  readonly address?: string | null;
  /** The same as the system itself says it, because one server may have many names. Null: it does not say. */
  readonly identity?: Identity;
  rows(options: ReadOptions): AsyncIterable<Page>;
  /** For `rowmill doctor`: looks at the source, changes nothing, and takes some seconds at most. */
  diagnose?(of: { readonly signal: AbortSignal }): Promise<readonly ConnectorFinding[]>;
}

/** What a target elsewhere gets of a row: its present answer, or that it has none any more. */
export type Change<Cells = Readonly<Record<string, Json>>> =
  | {
      readonly key: string;
      readonly fence: string;
      readonly cells: Cells;
      readonly model: string;
      /** Where it writes back: the source's columns, as texts, to which the answer was given. */
      readonly expect?: RowCells;
    }
  | { readonly key: string; readonly fence: string; readonly deleted: true };

/** What happened to each change, by its key. One that is named nowhere is tried again. */
export interface Written {
  readonly written: readonly string[];
  /** The target holds a newer fence; `fence`: which, where it can say so. */
  readonly stale: readonly { readonly key: string; readonly fence: string | null }[];
  /** The row that would be written to is not as it was asked (`expect`), or is gone. */
  readonly changed: readonly string[];
  /** Locked by someone else: tried again soon, and not counted as a failure. */
  readonly busy: readonly string[];
  /** The target refuses this row; `reason` is for display. */
  readonly failed: readonly { readonly key: string; readonly reason: string }[];
}

/**
 * `onceInEffect`: no one reads an older answer after a newer one, and a repeated delivery changes nothing.
 * `atLeastOnce`: the receiver may see a change more than once, and has the fence to tell.
 */
export type DeliveryPromise = "onceInEffect" | "atLeastOnce";

export interface DeliveryOptions {
  readonly pipeline: string;
  /** The same for the same changes, also after a crash. */
  readonly id: string;
  readonly signal: AbortSignal;
  /**
   * Where it writes back: to be called with each row as this write leaves it, before that takes effect where possible,
   * because a trigger there may change it. A row that has the change already is not told again.
   */
  readonly readBack?: (rows: readonly RowAfter[]) => Promise<void>;
}

/** A row of the source after an answer was written into it. */
export interface RowAfter {
  readonly key: string;
  /** The source's columns. */
  readonly row: { readonly [column: string]: Cell };
}

export interface KeyColumn {
  readonly name: string;
  /** Of PostgreSQL, such as `bigint`. Of rows from elsewhere: `text`. */
  readonly type: string;
}

export interface PrepareOptions {
  readonly pipeline: string;
  readonly fields: readonly AnswerColumn[];
  /** The source's key columns. */
  readonly key?: readonly KeyColumn[];
  /** Of the rows that it writes back into. */
  readonly source?: { readonly key: readonly string[]; readonly columns: readonly string[] };
  /** So many keys were delivered and are not erased: a target that has fewer lost some, or is a new one. */
  readonly delivered?: number;
  readonly signal: AbortSignal;
}

/** Answers that are delivered to a system elsewhere. */
export interface TargetConnector<Cells = Readonly<Record<string, Json>>> {
  /** For display: "webhook", "postgres", "custom". */
  readonly name: string;
  readonly promise: DeliveryPromise;
  /** As of a source. Where both are the same, answers are written back into the source's rows. */
  readonly address?: string | null;
  readonly identity?: Identity;
  /**
   * Says where it writes, without secrets: when it changes, workers that began with another one deliver no more.
   * Default: it never does.
   */
  readonly writes?: string;
  /** Of one `write`. */
  readonly most: { readonly changes: number; readonly bytes: number };
  /**
   * Before the first write of a process, and after a failure: makes or checks what is written to.
   * @throws ConnectorError
   */
  prepare(of: PrepareOptions): Promise<void>;
  /** For `rowmill doctor`: looks at the target, changes and sends nothing, and takes some seconds at most. */
  diagnose?(of: PrepareOptions): Promise<readonly ConnectorFinding[]>;
  /** @throws ConnectorError where nothing can be said of single rows */
  write(changes: readonly Change<Cells>[], options: DeliveryOptions): Promise<Written>;
  /**
   * Called when no change is due any more: after the last write, again if that fails or a crash comes between, and once
   * at the start of `up`. May take up to SETTLE_MS_MAX.
   * @throws ConnectorError
   */
  settle?(options: SettleOptions): Promise<void>;
}

export interface SettleOptions {
  readonly pipeline: string;
  readonly signal: AbortSignal;
}

export const SETTLE_MS_MAX = 900_000;

/** Of a source or target as a whole. */
export class ConnectorError extends RowmillError {
  override readonly name = "ConnectorError";
  /** `again`: it is down or busy. `stop`: it needs your attention, so the pipeline pauses with the message. */
  readonly kind: "again" | "stop";
  /** When it may be tried again, as it asked. Null: it did not say. */
  readonly retryAfterMs: number | null;

  constructor(
    kind: "again" | "stop",
    message: string,
    { retryAfterMs = null, ...options }: RowmillErrorOptions & { readonly retryAfterMs?: number | null } = {},
  ) {
    super("connector_failed", message, options);
    this.kind = kind;
    this.retryAfterMs = retryAfterMs;
  }
}
