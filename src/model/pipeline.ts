/**
 * A pipeline as the rest of the program sees it: parsed, complete, defaults filled in.
 * `config/` makes it from what the user wrote; nothing after it looks at the user's object again.
 */
import type { z } from "zod";
import type { FreeJson } from "./json/free-json.js";
import type { ProviderChoice } from "./provider/provider-choice.js";

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/** One row's declared columns, each PostgreSQL's own text of the cell, or null. */
export type RowCells = Readonly<Record<string, string | null>>;

/** `row => text`, or a Liquid template over the cells. Null from a function means: nothing to ask. */
export type MessageSource =
  | { readonly kind: "template"; readonly text: string }
  | { readonly kind: "function"; readonly render: (row: RowCells) => string | null };

export interface OwnPrice {
  readonly input: number;
  readonly cachedInput: number;
  readonly output: number;
}

export interface PipelineConfig {
  readonly name: string;
  /** Whom it asks. */
  readonly provider: ProviderChoice;
  readonly source: {
    readonly kind: "table";
    /** As the user wrote it: `table` or `schema.table`. */
    readonly table: string;
    /** At least one column, in the user's order. */
    readonly key: readonly string[];
    readonly columns: readonly string[];
    /** SQL predicate on the row, or null for all rows. Trusted: it comes from the user's own config. */
    readonly where: string | null;
    readonly existing: "include" | "skip";
    /** What becomes of the answer to a row that is gone when it comes. */
    readonly onGone: "drop" | "keepAnswer";
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
    /** US dollars per million tokens of live requests, before any known price. Null: the known price, if there is one. */
    readonly price: OwnPrice | null;
  };
  /** Null: no schema, the text goes into the column `answer`; so does any JSON object of a `FreeJson`. */
  readonly answer: AnswerSpec | null;
  readonly validate: ((answer: unknown, row: RowCells) => string | null) | null;
  /** Tries that the model may use for an invalid or refused answer. */
  readonly attempts: number;
  readonly target: {
    readonly table: string;
    /** Answer field → column of the target; null: the columns are named as the fields. */
    readonly columns: Readonly<Record<string, string>> | null;
    /** `private`: row-level security on and no grants, where we create the table. */
    readonly access: "private" | "inherit";
    readonly addColumns: boolean;
    /** Write to it whoever owns it, or what its triggers, checks and defaults run. */
    readonly trustOwner: boolean;
  };
  readonly budget: { readonly usd: number; readonly per: BudgetPeriod } | null;
  readonly approveAboveUsd: number;
  readonly limit: number | null;
  readonly polling: { readonly minMs: number; readonly maxMs: number };
  readonly files: { readonly keep: boolean };
  readonly reconcile: {
    readonly windowMs: number;
    /** What becomes of a create that cannot be found, where only circumstance could show it. Null: "again" where nobody else uses the account. */
    readonly unknown: "again" | "ask" | null;
  };
}

export type AnswerSpec = z.ZodType | FreeJson;

export type BudgetPeriod = "run" | "day" | "month" | "total";

export interface ProjectConfig {
  /** Absolute path of the file it came from; relative paths and `.rowmill/` are beside it. */
  readonly file: string;
  readonly database: DatabaseAddress;
  readonly pipelines: readonly PipelineConfig[];
}

export type DatabaseAddress =
  { readonly kind: "server"; readonly url: string } | { readonly kind: "embedded" };
