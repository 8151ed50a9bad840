/** Reads one pipeline: sections, bounds and defaults. What concerns several sections is in cross-checks.ts. */
import type { SourceConnector } from "../../model/connector.js";
import type { AnswerSpec, PipelineConfig, RowCells } from "../../model/pipeline.js";
import { ADAPTERS } from "../../providers/adapters.js";
import { checkAcrossSections } from "./cross-checks.js";
import { readAnswer, type ConfigLanguage } from "./read-answer.js";
import { columnName, tableName } from "./read-names.js";
import { readProvider } from "./read-provider.js";
import { isPlainFunction, readRequest } from "./read-request.js";
import {
  boolean,
  duration,
  integer,
  number,
  oneOf,
  optional,
  orEmpty,
  refuse,
  section,
  text,
  uniqueList,
  isPlainObject,
  type Place,
  type Reader,
} from "./readers.js";
import { isConnector, readConnector, readTarget } from "./read-target.js";
import { REPLICA_PREFIX, replicaTable } from "../../model/replica-name.js";
import { DEFINITION_SYMBOL } from "../spec.js";

const DAY = 86_400_000;

const ROWS_DEFAULT = 1_000;
const MAX_WAIT_MS_DEFAULT = 600_000;
const ATTEMPTS_DEFAULT = 3;
const APPROVE_ABOVE_USD_DEFAULT = 1;
const POLLING_MIN_MS_DEFAULT = 15_000;
const POLLING_MAX_MS_DEFAULT = 300_000;
const RECONCILE_WINDOW_MS_DEFAULT = 120_000;

const COUNT_MAX = 1_000_000;
/** Of pushed rows. */
const KEEP_MS = { min: 3_600_000, max: 3_650 * DAY };
/** Between two readings of a source elsewhere: of what has changed, and of everything. */
const EVERY_MS = { min: 1_000, max: 7 * DAY };
const EVERY_MS_DEFAULT = 60_000;
const FULL_EVERY_MS = { min: 1_000, max: 30 * DAY };
const FULL_EVERY_MS_DEFAULT = DAY;
const LIMIT_MAX = 1_000_000_000;
const USD_MAX = 1_000_000_000;
const BYTES = { min: 1_024, max: 1_000_000_000 };
const ATTEMPTS_MAX = 20;
const MAX_WAIT_MS = { min: 0, max: 30 * DAY };
/** From 10 ms, for a gateway on the same machine. */
const POLLING_MS = { min: 10, max: DAY };
/** After a day, a batch has expired at the provider too. */
const RECONCILE_WINDOW_MS = { min: 10, max: DAY };
/** Up to this, equal questions are asked once by default. */
const DEDUPE_TEMPERATURE_MAX = 0.3;

const SECTIONS = [
  "provider",
  "source",
  "when",
  "batch",
  "request",
  "answer",
  "validate",
  "attempts",
  "target",
  "budget",
  "approveAboveUsd",
  "onChange",
  "dedupe",
  "limit",
  "polling",
  "files",
  "reconcile",
] as const;

/**
 * The definition inside what `pipeline()` returned, with what a copy adds: `{ ...films, limit: 5 }`. A plain object, as
 * in a JSON config, is its own.
 */
function definitionOf(value: unknown): unknown {
  if (typeof value !== "object" || value === null || !(DEFINITION_SYMBOL in value)) return value;
  const { [DEFINITION_SYMBOL]: spec, ...added } = value;
  return typeof spec === "object" ? { ...spec, ...added } : spec;
}

export function readPipeline(place: Place, name: string, language: ConfigLanguage): PipelineConfig {
  const at = section({ ...place, value: definitionOf(place.value) }, SECTIONS);
  const source = readAnySource(at.source, name);
  const columns = place.problems.clean(at.source.path) ? source.columns : null;
  const provider = optional(at.provider, (given) => readProvider(given, language), ADAPTERS[0].choice);
  const read = {
    name,
    provider,
    source,
    when: readWhen(at.when),
    batch: readBatch(at.batch),
    request: readRequest(at.request, { dialect: provider.dialect, columns, language }),
    answer: optional(at.answer, (answer): AnswerSpec | null => readAnswer(answer, language), null),
    validate: optional(at.validate, (validate) => readValidate(validate, language), null),
    attempts: optional(at.attempts, integer({ min: 1, max: ATTEMPTS_MAX }), ATTEMPTS_DEFAULT),
    target: isConnector(at.target) ? readConnector(at.target, { name, language }) : readTarget(at.target),
    budget: optional(at.budget, readBudget, null),
    approveAboveUsd: optional(
      at.approveAboveUsd,
      number({ min: 0, max: USD_MAX }, " (US dollars)"),
      APPROVE_ABOVE_USD_DEFAULT,
    ),
    onChange: optional(at.onChange, oneOf(["ask", "reask", "newOnly", "keep"]), "ask"),
    dedupe: optional(at.dedupe, boolean, null),
    limit: optional(at.limit, integer({ min: 1, max: LIMIT_MAX }, " rows"), null),
    polling: readPolling(at.polling),
    files: { keep: optional(section(orEmpty(at.files), ["keep"]).keep, boolean, false) },
    reconcile: readReconcile(at.reconcile),
  };
  const config: PipelineConfig = { ...read, dedupe: read.dedupe ?? isSteady(read.request) };
  checkAcrossSections(place, config);
  return config;
}

/** Equal questions get nearly equal answers. */
function isSteady({ parameters: { temperature } }: PipelineConfig["request"]): boolean {
  return typeof temperature === "number" && temperature <= DEDUPE_TEMPERATURE_MAX;
}

function readSource(place: Place): PipelineConfig["source"] {
  const at = section(place, ["table", "key", "columns", "where", "existing", "onGone"]);
  return {
    kind: "table",
    table: tableName(at.table),
    key:
      typeof at.key.value === "string"
        ? [columnName(at.key)]
        : uniqueList(at.key, columnName, "a column name, or a list of column names"),
    columns: uniqueList(at.columns, columnName, "a list of at least one column name"),
    where: optional(at.where, readPredicate, null),
    existing: optional(at.existing, oneOf(["include", "skip"]), "include"),
    onGone: optional(at.onGone, oneOf(["drop", "keepAnswer"]), "drop"),
    replica: null,
  };
}

function readAnySource(place: Place, name: string): PipelineConfig["source"] {
  const has = (key: string) => isPlainObject(place.value) && Object.hasOwn(place.value, key);
  if (has("push")) return readPush(place, name);
  return has("elsewhere") ? readSynced(place, name) : readSource(place);
}

function readSynced(place: Place, name: string): PipelineConfig["source"] {
  const at = section(place, ["elsewhere", "key", "columns", "every", "fullEvery", "onGone"]);
  const connector = at.elsewhere.value;
  if (!isSourceConnector(connector)) {
    refuse(at.elsewhere, "what defineSource({ … }) returns");
    return readSource(place);
  }
  return {
    ...readReplica(at, name),
    replica: {
      version: null,
      keepMs: null,
      sync: {
        connector,
        everyMs: optional(at.every, duration(EVERY_MS), EVERY_MS_DEFAULT),
        fullEveryMs: optional(at.fullEvery, duration(FULL_EVERY_MS), FULL_EVERY_MS_DEFAULT),
        goneAtOnce: false,
      },
    },
  };
}

function isSourceConnector(value: unknown): value is SourceConnector {
  if (!isPlainObject(value)) return false;
  const { name, address = null, rows } = value;
  return typeof name === "string" && (address === null || typeof address === "string") && typeof rows === "function";
}

function readPush(place: Place, name: string): PipelineConfig["source"] {
  const at = section(place, ["push", "key", "columns", "version", "keep", "onGone"]);
  if (at.push.value !== true) refuse(at.push, "true");
  return {
    ...readReplica(at, name),
    replica: {
      version: optional(at.version, text("the name of a field"), null),
      keepMs: at.keep.value === "forever" ? null : optional(at.keep, duration(KEEP_MS), null),
      sync: null,
    },
  };
}

function readReplica(
  at: Readonly<Record<"key" | "columns" | "onGone", Place>>,
  name: string,
): Omit<PipelineConfig["source"], "replica"> {
  return {
    kind: "table",
    table: replicaTable(name),
    key:
      typeof at.key.value === "string"
        ? [fieldName(at.key)]
        : uniqueList(at.key, fieldName, "the name of a field, or a list of names"),
    columns: uniqueList(at.columns, fieldName, "a list of at least one field"),
    where: null,
    existing: "include",
    onGone: optional(at.onGone, oneOf(["drop", "keepAnswer"]), "drop"),
  };
}

/** It becomes a column of Rowmill's own table. */
const fieldName: Reader<string> = (place) => {
  const name = columnName(place);
  if (name.startsWith(REPLICA_PREFIX))
    refuse(place, `a name that does not begin with ${REPLICA_PREFIX}, as Rowmill's own`);
  return name;
};

function readPredicate(place: Place): string {
  const expected = "an SQL condition such as \"lang = 'en'\", without the word WHERE or a semicolon at its end";
  const predicate = text(expected)(place);
  const isClean = place.problems.clean(place.path);
  if (isClean && (predicate.trim() === "" || /^\s*where\b|;\s*$/i.test(predicate))) refuse(place, expected);
  return predicate;
}

function readWhen(place: Place): PipelineConfig["when"] {
  const at = section(orEmpty(place), ["rows", "maxWait"]);
  return {
    rows: optional(at.rows, integer({ min: 1, max: COUNT_MAX }), ROWS_DEFAULT),
    maxWaitMs: optional(at.maxWait, duration(MAX_WAIT_MS), MAX_WAIT_MS_DEFAULT),
  };
}

function readBatch(place: Place): PipelineConfig["batch"] {
  const at = section(orEmpty(place), ["maxRequests", "maxBytes"]);
  return {
    requestsMax: optional(at.maxRequests, integer({ min: 1, max: COUNT_MAX }), null),
    bytesMax: optional(at.maxBytes, integer(BYTES, " bytes"), null),
  };
}

function readValidate(place: Place, language: ConfigLanguage): PipelineConfig["validate"] {
  if (isValidate(place.value) && isPlainFunction(place.value)) return place.value;
  if (language === "json") refuse(place, "nothing in a JSON config. A function needs TypeScript or JavaScript");
  else refuse(place, "a plain function (answer, row) that returns null, or a text that says what is wrong");
  return null;
}

function isValidate(value: unknown): value is (answer: unknown, row: RowCells) => string | null {
  return typeof value === "function";
}

function readBudget(place: Place): PipelineConfig["budget"] {
  const at = section(place, ["usd", "per"]);
  return {
    usd: number({ min: 0, max: USD_MAX, above: true }, " (US dollars)")(at.usd),
    per: oneOf(["run", "day", "month", "total"])(at.per),
  };
}

function readPolling(place: Place): PipelineConfig["polling"] {
  const at = section(orEmpty(place), ["min", "max"]);
  return {
    minMs: optional(at.min, duration(POLLING_MS), POLLING_MIN_MS_DEFAULT),
    maxMs: optional(at.max, duration(POLLING_MS), POLLING_MAX_MS_DEFAULT),
  };
}

function readReconcile(place: Place): PipelineConfig["reconcile"] {
  const at = section(orEmpty(place), ["window", "unknown"]);
  return {
    windowMs: optional(at.window, duration(RECONCILE_WINDOW_MS), RECONCILE_WINDOW_MS_DEFAULT),
    unknown: optional(at.unknown, oneOf(["again", "ask"]), null),
  };
}
