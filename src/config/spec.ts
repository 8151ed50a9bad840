/**
 * Owns the types of what you write in a config. The editor shows these comments on hover, and the docs' tables are
 * made of them: one sentence, unit and default. Checks nothing at run time; `validate.ts` does.
 *
 * `NoInfer` stands at every use, so that a column, a key or an answer field is inferred only where it is declared,
 * whatever the order of the properties.
 */
import type { BudgetPeriod } from "../model/pipeline.js";
import type { SyncedSource } from "./define-source.js";
import type { DefinedTarget } from "./define-target.js";
import type { Duration } from "../model/duration.js";
import type { Provider } from "../model/provider/provider.js";
import type { ProviderChoice } from "../model/provider/provider-choice.js";
import { FREE_JSON } from "../model/json/free-json.js";

/** Any zod 4 schema. It is recognized by its shape, so your own copy of zod 4 works too. */
export interface AnswerSchema {
  readonly _zod: { readonly input: unknown; readonly output: unknown };
}

/** One row as your functions get it: the declared columns, each as PostgreSQL's text of the cell, or null. */
export type Row<Column extends string = string> = { readonly [Name in Column]: string | null };

/** What the schema yields, or the model's text if there is no schema. */
export type AnswerValue<Schema extends AnswerSchema | undefined> = Schema extends AnswerSchema
  ? Schema["_zod"]["output"]
  : string;

/** The names that `target.columns` may map: the fields of an object, or the single name `answer`. */
export type AnswerField<Schema extends AnswerSchema | undefined> =
  AnswerValue<Schema> extends string | number | boolean | null | readonly unknown[]
    ? "answer"
    : string extends keyof AnswerValue<Schema>
      ? "answer"
      : keyof AnswerValue<Schema> & string;

/** The answer as a target elsewhere gets it: by its fields, or as the single cell `answer`. */
export type AnswerCells<Schema extends AnswerSchema | undefined> =
  AnswerField<Schema> extends "answer"
    ? AnswerValue<Schema> extends { readonly answer: unknown }
      ? AnswerValue<Schema>
      : { readonly answer: AnswerValue<Schema> }
    : AnswerValue<Schema>;

/** Any JSON object, as `JSON.parse` gives it. */
export interface JsonObject {
  readonly [name: string]: JsonValue;
}

/** Any JSON value. Numbers are doubles here; the column keeps them as the model wrote them. */
export type JsonValue = null | boolean | number | string | readonly JsonValue[] | JsonObject;

/** What `json()` returns. */
export interface JsonAnswer {
  readonly _zod: { readonly input: JsonObject; readonly output: JsonObject };
}

/** Where rows come from. */
export interface SourceSpec<Column extends string, Key extends string> {
  /** The table, as `"movies"` or `"schema.movies"`. Rowmill quotes the name, so write mixed case as it is. */
  readonly table: string;
  /** The column or columns that identify a row, usually the primary key. */
  readonly key: Key | readonly Key[];
  /**
   * The columns that your prompt uses. Only these reach `system`, `user` and `validate`. When one of them changes,
   * Rowmill sends the row again. Add a key column here if the prompt needs it.
   */
  readonly columns: readonly Column[];
  /** An SQL condition that selects rows, such as `"lang = 'en'"`. Default: all rows. */
  readonly where?: string;
  /**
   * What to do with rows that are older than the pipeline: `"include"` sends them, `"skip"` leaves them alone.
   * Default: `"include"`.
   */
  readonly existing?: "include" | "skip";
  /**
   * What to do with an answer whose row was deleted, or no longer matches `where`. `"drop"` discards the answer.
   * `"keepAnswer"` writes it anyway; the target must not be the source table. Default: `"drop"`.
   */
  readonly onGone?: "drop" | "keepAnswer";
}

/** What `push` takes. */
export interface PushSpec<Column extends string, Key extends string> {
  /** The field or fields of a pushed row that identify it. */
  readonly key: Key | readonly Key[];
  /** The fields that your prompt uses. Rowmill keeps these and the key; a missing one counts as null. */
  readonly columns: readonly Column[];
  /**
   * A field that grows with each version of a row: a number, or a time in ISO 8601. With it, an older push never
   * overwrites a newer one. Default: none, the last push wins.
   */
  readonly version?: string;
  /**
   * How long Rowmill keeps an answered row after its last change. The answer stays, but Rowmill cannot send the row
   * again without its copy. Default: `"forever"`.
   */
  readonly keep?: "forever" | Duration;
  /** What to do with an answer whose row was deleted, as for a table. Default: `"drop"`. */
  readonly onGone?: "drop" | "keepAnswer";
}

/** What `push` returns. */
export interface PushSource<Column extends string, Key extends string> extends PushSpec<Column, Key> {
  readonly push: true;
}

/** When a batch starts: after this many rows, or after this long, whichever comes first. */
export interface WhenSpec {
  /** Start a batch after this many waiting rows. Whole number, 1 to 1,000,000. Default: 1000. */
  readonly rows?: number;
  /** Start a batch once the oldest row has waited this long, at most `"30d"`. Default: `"10m"`. */
  readonly maxWait?: Duration;
}

/** How large one batch may be. The provider's own limits apply too. */
export interface BatchSpec {
  /** The most requests in one batch. Whole number from 1. Default: the provider's limit. */
  readonly maxRequests?: number;
  /** The most bytes in one input file. Whole number from 1,024. Default: the provider's limit. */
  readonly maxBytes?: number;
}

/** What a model costs, in US dollars per million tokens at the live price. A batch counts as half of it. */
export interface PriceSpec {
  /** The price of input tokens. */
  readonly input: number;
  /** The price of input tokens that the provider has cached. Default: as `input`. */
  readonly cachedInput?: number;
  /** The price of output tokens. */
  readonly output: number;
}

/** What Rowmill asks the model about each row. */
export interface RequestSpec<Column extends string> {
  /** The model's name at the provider. */
  readonly model: string;
  /** The system message: a Liquid template over the declared columns, or a function of the row. Default: none. */
  readonly system?: string | ((row: Row<Column>) => string);
  /**
   * The user message: a Liquid template over the declared columns (`"{{ Description }}"`), or a function of the row.
   * If the function returns null, Rowmill sends nothing, and the row fails with the reason `empty`.
   */
  readonly user: string | ((row: Row<Column>) => string | null);
  /**
   * What the model costs, in US dollars per million tokens at the live price; a batch costs half of it. A budget
   * needs it for a model whose price Rowmill does not know. Default: the known price.
   */
  readonly price?: PriceSpec;
  /** The longest answer that you allow, in tokens. Whole number from 1. Default: 1024. */
  readonly maxOutputTokens?: number;
  /** Randomness, 0 to 2, sent as `temperature`. Default: the provider's. */
  readonly temperature?: number;
  /** Nucleus sampling, 0 to 1, sent as `top_p`. Default: the provider's. */
  readonly topP?: number;
  /** A whole number that makes sampling repeatable if the model supports it, sent as `seed`. Default: none. */
  readonly seed?: number;
  /** Up to 4 texts at which the model stops, sent as `stop`. Default: none. */
  readonly stop?: string | readonly string[];
  /** Above 0, the model avoids words that it has used; -2 to 2, sent as `presence_penalty`. Default: the provider's. */
  readonly presencePenalty?: number;
  /** Above 0, the model avoids frequent words; -2 to 2, sent as `frequency_penalty`. Default: the provider's. */
  readonly frequencyPenalty?: number;
  /** How much a reasoning model thinks before it answers, sent as `reasoning_effort`. Default: the model's. */
  readonly reasoningEffort?: "none" | "minimal" | "low" | "medium" | "high" | "xhigh" | "max";
}

/** Where answers go. */
export interface TargetSpec<Field extends string> {
  /**
   * The table for the answers, as `"labels"` or `"schema.labels"`; it may be the source table. If it does not exist,
   * Rowmill creates it with typed columns.
   */
  readonly table: string;
  /** Answer fields whose column has another name, with that name. Default: columns named as the fields. */
  readonly columns?: { readonly [Name in Field]?: string };
  /**
   * Who may read a table that Rowmill creates: `"private"` turns row-level security on and grants nothing, `"inherit"`
   * keeps the database's default grants. Default: `"private"`.
   */
  readonly access?: "private" | "inherit";
  /** Add the columns of new fields without asking, also to a table that you created. Default: false. */
  readonly addColumns?: boolean;
  /**
   * Write to a table even if another user owns it, or owns the functions of its triggers, checks and defaults. Those
   * functions run with the rights of Rowmill's user. Default: false.
   */
  readonly trustOwner?: boolean;
}

/** A hard cap on spending. Batches that are running count with their highest possible cost. */
export interface BudgetSpec {
  /** The cap, in US dollars. */
  readonly usd: number;
  /** What the cap applies to. A day or month (UTC) counts the batches submitted in it. */
  readonly per: BudgetPeriod;
}

/** How often Rowmill asks the provider for the state of a batch. */
export interface PollingSpec {
  /** The first and shortest interval. Default: `"15s"`. */
  readonly min?: Duration;
  /** The longest interval. Each interval is longer than the one before, up to this. Default: `"5m"`. */
  readonly max?: Duration;
}

/** A source, a request, an answer, a target, and limits. */
export interface PipelineSpec<Column extends string, Key extends string, Schema extends AnswerSchema | undefined> {
  /**
   * The provider of the model: `openai({ … })`, or your own object that implements `Provider`. Not for a JSON config.
   * Default: the one that your environment variables name.
   */
  readonly provider?: ProviderChoice | Provider;
  /**
   * Where rows come from: a table of the database, `push({ … })` for rows that are sent to Rowmill, or
   * `defineSource({ … })` for rows that Rowmill reads from elsewhere.
   */
  readonly source: SourceSpec<Column, Key> | PushSource<Column, Key> | SyncedSource<Column, Key>;
  /** Start a batch after this many rows, or after this long, whichever comes first. Default: 1000 rows, 10 minutes. */
  readonly when?: WhenSpec;
  /** How large one batch may be. Default: the provider's limits. */
  readonly batch?: BatchSpec;
  /** What Rowmill asks the model about each row. */
  readonly request: RequestSpec<NoInfer<Column>>;
  /**
   * The shape of the answer: a zod 4 schema, which the model must follow and Rowmill checks, or `json()` for any JSON
   * object in the jsonb column `answer`. Default: none, the model's text goes into the column `answer`.
   */
  readonly answer?: Schema;
  /**
   * Your own check beyond the schema: returns null for a good answer, or else what is wrong with it. With
   * `source.onGone: "keepAnswer"`, all columns of a deleted row are null. Default: none.
   */
  readonly validate?: (answer: AnswerValue<NoInfer<Schema>>, row: Row<NoInfer<Column>>) => string | null;
  /** How many times to ask about a row whose answer is invalid or refused. Whole number, 1 to 20. Default: 3. */
  readonly attempts?: number;
  /** Where answers go: a table of the database, or another system. */
  readonly target: TargetSpec<AnswerField<NoInfer<Schema>>> | DefinedTarget<AnswerCells<NoInfer<Schema>>>;
  /** A hard cap on spending. Default: none. */
  readonly budget?: BudgetSpec;
  /**
   * The first batch of a new or changed pipeline waits for your approval if its likely cost is above this many US
   * dollars. 0 asks every time. Default: 1.
   */
  readonly approveAboveUsd?: number;
  /**
   * What to do with answered rows when the question changes (prompt, model, schema, …). `"reask"` sends them again.
   * `"newOnly"` keeps their answers. `"keep"` also counts these as answers to the new question. `"ask"` asks you, and
   * acts as `"newOnly"` until you decide. New and changed rows always get the new question. Default: `"ask"`.
   */
  readonly onChange?: "ask" | "reask" | "newOnly" | "keep";
  /**
   * Send equal questions of a batch once: rows with the same message share one line and its answer. `validate` checks
   * it for each row. Default: true for a `temperature` of at most 0.3, otherwise false.
   */
  readonly dedupe?: boolean;
  /** Process at most this many rows in total, to start small. Whole number from 1. Default: none. */
  readonly limit?: number;
  /** How often Rowmill asks the provider for the state of a batch. Default: every 15 seconds, growing to 5 minutes. */
  readonly polling?: PollingSpec;
  /** What happens to files at the provider. */
  readonly files?: {
    /** Keep input and output files at the provider after the batch is finished. Default: false. */
    readonly keep?: boolean;
  };
  /** What happens when Rowmill does not know whether the provider created a batch, as after a crash. */
  readonly reconcile?: {
    /** How long to search the provider for the batch, in addition to the minute of the call. Default: `"2m"`. */
    readonly window?: Duration;
    /**
     * What to do when the search finds nothing and the provider stores no ID of Rowmill's: `"again"` creates the batch
     * again, `"ask"` waits for you. Default: `"again"` if the account is `exclusive`, otherwise `"ask"`.
     */
    readonly unknown?: "again" | "ask";
  };
}

/** `Symbol.for`: a config that loaded another copy of this module still has a definition that we find. */
export const DEFINITION_SYMBOL: unique symbol = Symbol.for("rowmill.pipeline");

/** Exists in types only. */
declare const INFERRED: unique symbol;

/** What `pipeline` returns: list it in `defineConfig`; `AnswerOf` gives the type of its answers. */
export interface Pipeline<Answer = unknown, Column extends string = string, Key extends string = string> {
  readonly [DEFINITION_SYMBOL]: object;
  readonly [INFERRED]?: { readonly answer: Answer; readonly column: Column; readonly key: Key };
}

/** The type of a pipeline's answers: what its schema yields, or `string` if there is no schema. */
export type AnswerOf<Defined extends Pipeline> =
  Defined extends Pipeline<infer Answer, infer _Column, infer _Key> ? Answer : never;

/** The whole config. */
export interface ConfigSpec {
  /**
   * The database of your tables and of Rowmill's state: a `postgres://` URL, or `"embedded"` for a Postgres that
   * Rowmill runs in the folder of the config. Default: the variable `DATABASE_URL`.
   */
  readonly database?: string | undefined;
  /**
   * Where `rowmill up` takes pushed rows and gives results over HTTP, as `"127.0.0.1:8788"`; `up --http` overrides it.
   * Default: nowhere.
   */
  readonly http?: string;
  /** Your pipelines by name. A name is a lower-case letter, then up to 39 lower-case letters, digits, `_` or `-`. */
  readonly pipelines: { readonly [name: string]: Pipeline };
}

/**
 * Defines a pipeline. A column that you did not declare, or a field that the answer does not have, is a type error.
 * `rowmill` checks the rest when it loads the config.
 */
export function pipeline<
  const Column extends string,
  const Key extends string,
  const Schema extends AnswerSchema | undefined = undefined,
>(spec: PipelineSpec<Column, Key, Schema>): Pipeline<AnswerValue<Schema>, Column, Key> {
  return { [DEFINITION_SYMBOL]: spec };
}

/**
 * Rows that other programs send, over HTTP or by `rowmill.push` in SQL. Rowmill keeps them in the table
 * `rowmill_data.NAME`. In a JSON config: `"source": { "push": true, … }`.
 */
export function push<const Column extends string, const Key extends string>(
  spec: PushSpec<Column, Key>,
): PushSource<Column, Key> {
  return { push: true, ...spec };
}

/** An answer that may be any JSON object, kept in the jsonb column `answer`. Mention "JSON" in `system` or `user`. */
export function json(): JsonAnswer {
  // Only the types of a schema matter; nothing reads these values.
  return { ...FREE_JSON, _zod: { input: {}, output: {} } };
}

/** Defines the config. Make it the default export of `rowmill.config.ts`. */
export function defineConfig(config: ConfigSpec): ConfigSpec {
  return config;
}
