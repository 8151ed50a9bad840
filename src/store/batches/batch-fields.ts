/** What the holder of a batch may write about it; the names of columns are made here. */
import type { Json } from "../../model/pipeline.js";
import { storableJson, storableText } from "../../model/words/storable-text.js";
import { join, raw, sql, type Sql } from "../../postgres/database.js";
import type { ResultsRead } from "./batches.js";

/** The column `provider_data` of a batch. The first three belong to the adapter. */
export interface ProviderData {
  readonly staged: Json | null;
  readonly baseline: Json | null;
  readonly refs: Json | null;
  /** The last intent to create, in seconds since the epoch by the database: a refuted search continues from there. */
  readonly intendedAt: number | null;
  /** Provider batches that could have been this one and proved not to be. */
  readonly refuted: readonly string[];
}

export const NO_DATA: ProviderData = { staged: null, baseline: null, refs: null, intendedAt: null, refuted: [] };

/** What a move may write next to the state. */
export interface BatchFields {
  room?: number;
  requests?: number;
  lines?: number;
  sharing?: number;
  spoolBytes?: number;
  spoolSha256?: string;
  reservedNanoUsd?: number;
  reservedTokens?: number;
  lostNanoUsd?: number;
  /** Members that are given replace the previous ones. */
  providerData?: Partial<ProviderData>;
  providerBatchId?: string | null;
  presumed?: boolean;
  /** True: what is missing is reported now. */
  told?: boolean;
  providerStatus?: string | null;
  providerCounts?: Json;
  providerErrors?: Json;
  downloads?: number;
  resultsRead?: ResultsRead;
  polls?: number;
  /** True: a create may be on its way from now on; false: certainly none is; "still": it may be, after all. */
  createIntent?: boolean | "still";
  /** The provider was asked to cancel it. */
  cancelAsked?: true;
  likelyNanoUsd?: number | null;
  /** Only circumstance tells its create from others: one may be open in an account. */
  oneCreate?: boolean;
}

const JSON_FIELDS: ReadonlySet<string> = new Set(["providerCounts", "providerErrors", "resultsRead"]);

/** What follows `set`. */
export function assignments(fields: BatchFields): Sql {
  const { createIntent, providerData: data, told, cancelAsked, ...plain } = fields;
  const list = Object.entries(plain).map(([name, value]) => sql`${columnOf(name)} = ${valueOf(name, value)}`);
  if (data !== undefined || createIntent === true) {
    const intended = sql`jsonb_build_object('intendedAt', extract(epoch from clock_timestamp()))`;
    const added = createIntent === true ? sql`|| ${intended}` : sql``;
    list.push(sql`provider_data = provider_data || ${storableJson(data ?? {})}::jsonb ${added}`);
  }
  if (told !== undefined) list.push(sql`told_at = ${told ? sql`clock_timestamp()` : sql`null`}`);
  if (cancelAsked === true) list.push(sql`cancel_asked_at = clock_timestamp()`);
  if (createIntent !== undefined) list.push(sql`create_intent_at = ${intentAt(createIntent)}`);
  if (createIntent === true) list.push(sql`creates = creates + 1`);
  return list.length === 0 ? sql`id = id` : join(list);
}

/** "still": as old as it was. What the list shows from before it, and from long after it, is another batch. */
function intentAt(intent: boolean | "still"): Sql {
  if (intent === false) return sql`null`;
  return intent === true
    ? sql`clock_timestamp()`
    : sql`coalesce(to_timestamp((provider_data ->> 'intendedAt')::float8), clock_timestamp())`;
}

/** Without a new trouble, what failed before stays as long as failures are counted. */
export function troubleAfter({ failures, trouble = "" }: { failures: number; trouble?: string }): Sql {
  const text = sql`case
      when ${trouble !== ""} then ${storableText(trouble)}
      when ${failures > 0} then trouble end`;
  const since = sql`case when ${text} is not null then coalesce(trouble_since, clock_timestamp()) end`;
  return sql`trouble = ${text}, trouble_since = ${since}`;
}

function columnOf(field: string): Sql {
  return raw(field.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`));
}

function valueOf(field: string, value: unknown): Sql {
  if (JSON_FIELDS.has(field)) return sql`${value === null ? null : storableJson(value)}::jsonb`;
  return sql`${field === "providerStatus" && typeof value === "string" ? storableText(value) : value}`;
}
