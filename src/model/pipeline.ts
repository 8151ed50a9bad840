/** A pipeline as the rest of the program sees it: parsed, complete, defaults filled in by `config/`. */
import type { z } from "zod";
import type { SourceConnector, TargetConnector } from "./connector.js";
import type { HttpAddress } from "./http-address.js";
import type { FreeJson } from "./json/free-json.js";
import type { ProviderChoice } from "./provider/provider-choice.js";

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/** One row's declared columns, each as PostgreSQL's text of the cell, or null. */
export type RowCells = Readonly<Record<string, string | null>>;

/** `row => text`, or a Liquid template over the cells. A function returns null if there is nothing to ask. */
export type MessageSource =
  | { readonly kind: "template"; readonly text: string }
  | { readonly kind: "function"; readonly render: (row: RowCells) => string | null };

export interface OwnPrice {
  readonly input: number;
  readonly cachedInput: number;
  readonly output: number;
}

export interface ReplicaConfig {
  /** The field by which an older push loses to a newer one. Null: the last push wins. */
  readonly version: string | null;
  /** How long an answered row is kept after its last change. Null: forever. */
  readonly keepMs: number | null;
  /** Rowmill reads the rows itself. Null: they are pushed. */
  readonly sync: SyncConfig | null;
}

export interface SyncConfig {
  readonly connector: SourceConnector;
  /** From the end of a pass until the next one. */
  readonly everyMs: number;
  /** Only a pass over all rows notices deleted ones. */
  readonly fullEveryMs: number;
  /** One pass shows what is gone, and it goes at once, however much: otherwise two passes have to miss a row. */
  readonly goneAtOnce: boolean;
}

export interface PipelineConfig {
  readonly name: string;
  readonly provider: ProviderChoice;
  readonly source: {
    readonly kind: "table";
    /** As you wrote it: `table` or `schema.table`. */
    readonly table: string;
    /** At least one column, in your order. */
    readonly key: readonly string[];
    readonly columns: readonly string[];
    /** An SQL condition, or null for all rows. Trusted, because it comes from your own config. */
    readonly where: string | null;
    readonly existing: "include" | "skip";
    /** What to do with the answer to a deleted row. */
    readonly onGone: "drop" | "keepAnswer";
    /** `table` is Rowmill's copy of rows that come from elsewhere. Null: it is the user's own. */
    readonly replica: ReplicaConfig | null;
  };
  readonly when: { readonly rows: number; readonly maxWaitMs: number };
  /** Null: the provider's own limits only. */
  readonly batch: { readonly requestsMax: number | null; readonly bytesMax: number | null };
  readonly request: {
    readonly model: string;
    /** Sent as they are in the request body (`temperature`, `top_p`, `seed`, …): wire names and values. */
    readonly parameters: Readonly<Record<string, Json>>;
    readonly system: MessageSource | null;
    readonly user: MessageSource;
    readonly maxOutputTokens: number;
    /** US dollars per million tokens of live requests. Null: the known price, if there is one. */
    readonly price: OwnPrice | null;
  };
  /** Null: the text goes into the column `answer`, as the JSON object of a `FreeJson` does. */
  readonly answer: AnswerSpec | null;
  readonly validate: ((answer: unknown, row: RowCells) => string | null) | null;
  /** How many times to ask for an invalid or refused answer. */
  readonly attempts: number;
  readonly target: {
    readonly table: string;
    /** Answer field → column of the target; null: the columns are named as the fields. */
    readonly columns: Readonly<Record<string, string>> | null;
    /** Of a table that we create. `private`: row-level security on and no grants. */
    readonly access: "private" | "inherit";
    readonly addColumns: boolean;
    /** Write to it even if another user owns it or the functions of its triggers, checks and defaults. */
    readonly trustOwner: boolean;
    /** Answers go there, and `table` is Rowmill's own, from which they are delivered. Null: `table` is the target. */
    readonly elsewhere: TargetConnector | null;
  };
  readonly budget: { readonly usd: number; readonly per: BudgetPeriod } | null;
  readonly approveAboveUsd: number;
  /** What a changed definition does to answered rows. */
  readonly onChange: "ask" | "reask" | "newOnly" | "keep";
  /** Equal questions of a batch share a line. */
  readonly dedupe: boolean;
  readonly limit: number | null;
  readonly polling: { readonly minMs: number; readonly maxMs: number };
  readonly files: { readonly keep: boolean };
  readonly reconcile: {
    readonly windowMs: number;
    /** What to do if a create is not found by circumstance. Null: "again" if no one else uses the account. */
    readonly unknown: "again" | "ask" | null;
  };
}

export type AnswerSpec = z.ZodType | FreeJson;

export type BudgetPeriod = "run" | "day" | "month" | "total";

export interface ProjectConfig {
  /** Absolute path of its file; relative paths and `.rowmill/` start in its folder. */
  readonly file: string;
  readonly database: DatabaseAddress;
  /** Null: `up` serves nothing over HTTP. */
  readonly http: HttpAddress | null;
  readonly pipelines: readonly PipelineConfig[];
}

export type DatabaseAddress = { readonly kind: "server"; readonly url: string } | { readonly kind: "embedded" };
