/**
 * What the user writes, as types: every key with its meaning, unit and default, because the editor shows these
 * comments on hover, and the two functions that give the types their grip. Nothing is checked here at run time:
 * `validate.ts` looks at all pipelines together, so that every mistake is reported at once.
 *
 * `NoInfer` stands at every use, so that a column, a key or an answer field is inferred only where it is
 * declared, whatever the order of the properties.
 */
import type { BudgetPeriod } from "../model/pipeline.js";
import type { Duration } from "../model/duration.js";
import type { Provider } from "../model/provider/provider.js";
import type { ProviderChoice } from "../model/provider/provider-choice.js";
import { FREE_JSON } from "../model/json/free-json.js";

/** Any zod 4 schema, recognised by its shape: the user's own copy of zod 4 serves as well as ours. */
export interface AnswerSchema {
  readonly _zod: { readonly input: unknown; readonly output: unknown };
}

/** One row as functions see it: the declared columns, each PostgreSQL's own text of the cell, or null. */
export type Row<Column extends string = string> = { readonly [Name in Column]: string | null };

/** What the schema yields; the model's text where there is no schema. */
export type AnswerValue<Schema extends AnswerSchema | undefined> = Schema extends AnswerSchema
  ? Schema["_zod"]["output"]
  : string;

/** The names that `target.columns` may map: the fields of an object, else the one name `answer`. */
export type AnswerField<Schema extends AnswerSchema | undefined> =
  AnswerValue<Schema> extends string | number | boolean | null | readonly unknown[]
    ? "answer"
    : string extends keyof AnswerValue<Schema>
      ? "answer"
      : keyof AnswerValue<Schema> & string;

/** Any JSON object, as `JSON.parse` gives it. */
export interface JsonObject {
  readonly [name: string]: JsonValue;
}

/** Any JSON value. Numbers are doubles here; in the column they stay as the model wrote them. */
export type JsonValue = null | boolean | number | string | readonly JsonValue[] | JsonObject;

/** What `json()` returns. */
export interface JsonAnswer {
  readonly _zod: { readonly input: JsonObject; readonly output: JsonObject };
}

/** Where rows come from. */
export interface SourceSpec<Column extends string, Key extends string> {
  /** The table: `"movies"` or `"schema.movies"`. Quoted as given: write mixed case as it is, without quotes. */
  readonly table: string;
  /** The column or columns that tell rows apart, such as the primary key. */
  readonly key: Key | readonly Key[];
  /**
   * The columns that shape the request. Only these reach `user`, `system` and `validate`, and a row is asked
   * again exactly when one of them changes. List a key column here too if the prompt needs it.
   */
  readonly columns: readonly Column[];
  /** SQL predicate on the row, such as `"lang = 'en'"`. Default: all rows. */
  readonly where?: string;
  /** Rows that are there before the pipeline: `"include"` asks for them too, `"skip"` leaves them. Default: `"include"`. */
  readonly existing?: "include" | "skip";
  /**
   * A row that was deleted, or that `where` leaves out, before its answer came: `"drop"` writes nothing, `"keepAnswer"` writes the answer,
   * which was paid for. Needs a target that is another table. Default: `"drop"`.
   */
  readonly onGone?: "drop" | "keepAnswer";
}

/** When a batch starts: the threshold or the deadline, whichever comes first. */
export interface WhenSpec {
  /** Start when so many rows wait. Whole number, 1 to 1,000,000. Default: 1000. */
  readonly rows?: number;
  /** Start when the oldest waiting row has waited so long, up to `"30d"`. Default: `"10m"`. */
  readonly maxWait?: Duration;
}

/** How large one batch may be, below the provider's own limits; the smaller limit holds. */
export interface BatchSpec {
  /** Requests in one batch. Whole number from 1. Default: the provider's limit. */
  readonly maxRequests?: number;
  /** Bytes of one input file. Whole number from 1,024. Default: the provider's limit. */
  readonly maxBytes?: number;
}

/** What a model costs, in US dollars per million tokens of a live request, as price lists have it. A batch counts as half of it. */
export interface PriceSpec {
  /** What the model reads. */
  readonly input: number;
  /** What it has read before, where the provider charges less for it. Default: as `input`. */
  readonly cachedInput?: number;
  /** What it writes. */
  readonly output: number;
}

/** What is asked of the model for one row. */
export interface RequestSpec<Column extends string> {
  /** The model's name at the provider. */
  readonly model: string;
  /** The system message: a Liquid template over the declared columns, or a function of the row. Default: none. */
  readonly system?: string | ((row: Row<Column>) => string);
  /**
   * The user message: a Liquid template over the declared columns (`"{{ Description }}"`), or a function of the
   * row. A function may return null: there is nothing to ask, and the row fails with `empty`.
   */
  readonly user: string | ((row: Row<Column>) => string | null);
  /**
   * What the model costs, in US dollars per million tokens, as price lists have it for live requests: a batch counts as half of it. It
   * goes before the price that Rowmill knows, and is needed for a budget where Rowmill knows none. Default: the known price.
   */
  readonly price?: PriceSpec;
  /** The most that one answer may cost, in tokens. Whole number from 1. Default: 1024. */
  readonly maxOutputTokens?: number;
  /** Randomness, 0 to 2. Sent as `temperature`. Default: the provider's. */
  readonly temperature?: number;
  /** Nucleus sampling, 0 to 1. Sent as `top_p`. Default: the provider's. */
  readonly topP?: number;
  /** Whole number for repeatable sampling, as far as the model honours it. Sent as `seed`. Default: none. */
  readonly seed?: number;
  /** Up to four texts at which the model stops. Sent as `stop`. Default: none. */
  readonly stop?: string | readonly string[];
  /** -2 to 2; positive: fewer words that were used already. Sent as `presence_penalty`. Default: the provider's. */
  readonly presencePenalty?: number;
  /** -2 to 2; positive: fewer words that were used often. Sent as `frequency_penalty`. Default: the provider's. */
  readonly frequencyPenalty?: number;
  /** How long a reasoning model may think. Sent as `reasoning_effort`. Default: the model's. */
  readonly reasoningEffort?: "none" | "minimal" | "low" | "medium" | "high" | "xhigh" | "max";
}

/** Where answers go. */
export interface TargetSpec<Field extends string> {
  /** `"labels"` or `"schema.labels"`; created with typed columns if missing. May be the source's own table. */
  readonly table: string;
  /** Answer field → column, for the fields whose column has another name. Default: columns named as the fields. */
  readonly columns?: { readonly [Name in Field]?: string };
  /**
   * Who may read a table that Rowmill creates. `"private"`: row-level security on, no grants. `"inherit"`: the
   * database's default grants stay as they are. Default: `"private"`.
   */
  readonly access?: "private" | "inherit";
  /** True adds the column of a new field without asking, also to a table that Rowmill did not create. Default: false. */
  readonly addColumns?: boolean;
  /**
   * True writes to a table whoever owns it, or the functions that its triggers, checks and defaults run: they run with
   * the rights of Rowmill's user. Default: false.
   */
  readonly trustOwner?: boolean;
}

/** A hard cap on spending; the reservations of batches in flight count. */
export interface BudgetSpec {
  /** US dollars, more than 0. */
  readonly usd: number;
  /** What the cap is counted over; the day and month (UTC) are those of submission. */
  readonly per: BudgetPeriod;
}

/** How often the provider is asked for the state of a batch. */
export interface PollingSpec {
  /** The shortest interval, used at first. Default: `"15s"`. */
  readonly min?: Duration;
  /** The longest interval, which it grows to. Default: `"5m"`. */
  readonly max?: Duration;
}

/** A source, a request, an answer, a target, and limits. */
export interface PipelineSpec<
  Column extends string,
  Key extends string,
  Schema extends AnswerSchema | undefined,
> {
  /**
   * Whom the rows are sent to: `openai({ … })`, or an object of your own that implements `Provider`. Not in a JSON config.
   * Default: as the environment says it.
   */
  readonly provider?: ProviderChoice | Provider;
  /** Where rows come from. */
  readonly source: SourceSpec<Column, Key>;
  /** When a batch starts. Default: 1000 rows or 10 minutes, whichever comes first. */
  readonly when?: WhenSpec;
  /** How large one batch may be. Default: the provider's limits. */
  readonly batch?: BatchSpec;
  /** What is asked of the model for one row. */
  readonly request: RequestSpec<NoInfer<Column>>;
  /**
   * A zod 4 schema; it becomes the strict response format, and each answer is checked against it. Or `json()`: any JSON object goes
   * into the jsonb column `answer`. Default: none, the model's text goes into the column `answer`.
   */
  readonly answer?: Schema;
  /**
   * A check beyond the schema: null when the answer is good, else what is wrong with it. With `source.onGone: "keepAnswer"`, every column
   * of a row that is gone is null. Default: none.
   */
  readonly validate?: (answer: AnswerValue<NoInfer<Schema>>, row: Row<NoInfer<Column>>) => string | null;
  /** How often the model may try one row when its answer is invalid or refused. 1 to 20. Default: 3. */
  readonly attempts?: number;
  /** Where answers go. */
  readonly target: TargetSpec<AnswerField<NoInfer<Schema>>>;
  /** A hard cap on spending. Default: none. */
  readonly budget?: BudgetSpec;
  /**
   * US dollars: the estimate above which the first batch of a new or changed pipeline waits for approval.
   * 0 asks every time. Default: 1.
   */
  readonly approveAboveUsd?: number;
  /** At most so many rows in all, to begin small. Whole number from 1. Default: none. */
  readonly limit?: number;
  /** How often the provider is asked for the state of a batch. Default: every 15 seconds, growing to 5 minutes. */
  readonly polling?: PollingSpec;
  /** What becomes of the files at the provider. */
  readonly files?: {
    /** True keeps input and output files at the provider after a batch has settled. Default: false. */
    readonly keep?: boolean;
  };
  /** What happens after a crash in the middle of creating a batch. */
  readonly reconcile?: {
    /** How long a batch whose creation was not confirmed is looked for at the provider, beside the minute of its call. Default: `"2m"`. */
    readonly window?: Duration;
    /**
     * At a provider whose list shows no name of ours: what becomes of a batch whose creation was not confirmed and that cannot be found.
     * "again" creates it again, "ask" pauses for a person. Default: "again" where the provider's account is `exclusive`, else "ask".
     */
    readonly unknown?: "again" | "ask";
  };
}

/** `Symbol.for`: a config that met another copy of this module still carries a definition that we find. */
export const DEFINITION_SYMBOL: unique symbol = Symbol.for("rowmill.pipeline");

/** Exists in types only. */
declare const INFERRED: unique symbol;

/** What `pipeline` returns: to be listed in `defineConfig`, and asked for its answer's type by `AnswerOf`. */
export interface Pipeline<Answer = unknown, Column extends string = string, Key extends string = string> {
  readonly [DEFINITION_SYMBOL]: object;
  readonly [INFERRED]?: { readonly answer: Answer; readonly column: Column; readonly key: Key };
}

/** The type of a pipeline's answers: what its schema yields, or `string` without a schema. */
export type AnswerOf<Defined extends Pipeline> =
  Defined extends Pipeline<infer Answer, infer _Column, infer _Key> ? Answer : never;

/** The whole config. */
export interface ConfigSpec {
  /**
   * Where Rowmill keeps its state and finds tables: a `postgres://` URL, or `"embedded"` for a Postgres of
   * Rowmill's own beside the config. Default: the variable `DATABASE_URL`; one of the two must be there.
   */
  readonly database?: string | undefined;
  /** The pipelines by name: a lower-case letter, then at most 39 lower-case letters, digits, `_` and `-`. */
  readonly pipelines: { readonly [name: string]: Pipeline };
}

/**
 * Defines a pipeline. Columns, key and answer are inferred from `spec`: a column that was not declared, or a
 * field that the answer does not have, is a type error. Checks nothing at run time; `rowmill` does when it loads
 * the config.
 */
export function pipeline<
  const Column extends string,
  const Key extends string,
  const Schema extends AnswerSchema | undefined = undefined,
>(spec: PipelineSpec<Column, Key, Schema>): Pipeline<AnswerValue<Schema>, Column, Key> {
  return { [DEFINITION_SYMBOL]: spec };
}

/**
 * An answer that may be any JSON object: kept in one jsonb column, `answer`. The word "JSON" has to stand in `system` or `user` where the
 * provider demands it.
 */
export function json(): JsonAnswer {
  // The types are those of a schema; nothing looks at their values when the program runs.
  return { ...FREE_JSON, _zod: { input: {}, output: {} } };
}

/** Defines the config; make it the default export of `rowmill.config.ts`. Returns what it was given. */
export function defineConfig(config: ConfigSpec): ConfigSpec {
  return config;
}
