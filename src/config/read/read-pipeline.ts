/** Reads one pipeline: sections, bounds and defaults. What concerns several sections is in `cross-checks.ts`. */
import type { AnswerSpec, PipelineConfig, RowCells } from "../../model/pipeline.js";
import { adapters } from "../../providers/adapters.js";
import { checkAcrossSections } from "./cross-checks.js";
import { readAnswer, type ConfigLanguage } from "./read-answer.js";
import { columnName, tableName } from "./read-names.js";
import { readProvider } from "./read-provider.js";
import { isPlainFunction, readRequest } from "./read-request.js";
import {
  boolean,
  duration,
  entries,
  integer,
  number,
  oneOf,
  optional,
  orEmpty,
  refuse,
  section,
  text,
  uniqueList,
  type Place,
} from "./readers.js";
import { definitionSymbol } from "../spec.js";

const day = 86_400_000;

const rowsDefault = 1_000;
const maxWaitMsDefault = 600_000;
const attemptsDefault = 3;
const approveAboveUsdDefault = 1;
const pollingMinMsDefault = 15_000;
const pollingMaxMsDefault = 300_000;
const reconcileWindowMsDefault = 120_000;

const countMax = 1_000_000;
const limitMax = 1_000_000_000;
const usdMax = 1_000_000_000;
const bytes = { min: 1_024, max: 1_000_000_000 };
const attemptsMax = 20;
const maxWaitMs = { min: 0, max: 30 * day };
/** Ten milliseconds: a gateway on the same machine may be asked often. */
const pollingMs = { min: 10, max: day };
/** A batch that is not found after a day has expired at the provider, too. */
const reconcileWindowMs = { min: 10, max: day };

const sections = [
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
  "limit",
  "polling",
  "files",
  "reconcile",
] as const;

/** The definition inside of what `pipeline()` returned; a plain object, as in a JSON config, is its own. */
function definitionOf(value: unknown): unknown {
  return typeof value === "object" && value !== null && definitionSymbol in value
    ? value[definitionSymbol]
    : value;
}

export function readPipeline(place: Place, name: string, language: ConfigLanguage): PipelineConfig {
  const at = section({ ...place, value: definitionOf(place.value) }, sections);
  const source = readSource(at.source);
  const columns = place.problems.clean(at.source.path) ? source.columns : null;
  const provider = optional(at.provider, (given) => readProvider(given, language), adapters[0].choice);
  const config: PipelineConfig = {
    name,
    provider,
    source,
    when: readWhen(at.when),
    batch: readBatch(at.batch),
    request: readRequest(at.request, { dialect: provider.dialect, columns, language }),
    answer: optional(at.answer, (answer): AnswerSpec | null => readAnswer(answer, language), null),
    validate: optional(at.validate, (validate) => readValidate(validate, language), null),
    attempts: optional(at.attempts, integer({ min: 1, max: attemptsMax }), attemptsDefault),
    target: readTarget(at.target),
    budget: optional(at.budget, readBudget, null),
    approveAboveUsd: optional(
      at.approveAboveUsd,
      number({ min: 0, max: usdMax }, " (US dollars)"),
      approveAboveUsdDefault,
    ),
    limit: optional(at.limit, integer({ min: 1, max: limitMax }, " rows"), null),
    polling: readPolling(at.polling),
    files: { keep: optional(section(orEmpty(at.files), ["keep"]).keep, boolean, false) },
    reconcile: readReconcile(at.reconcile),
  };
  checkAcrossSections(place, config);
  return config;
}

function readSource(place: Place): PipelineConfig["source"] {
  const at = section(place, ["table", "key", "columns", "where", "existing", "onGone"]);
  return {
    kind: "table",
    table: tableName(at.table),
    key:
      typeof at.key.value === "string"
        ? [columnName(at.key)]
        : uniqueList(at.key, columnName, "the name of a column, or a list of them"),
    columns: uniqueList(at.columns, columnName, "a list of at least one column"),
    where: optional(at.where, readPredicate, null),
    existing: optional(at.existing, oneOf(["include", "skip"]), "include"),
    onGone: optional(at.onGone, oneOf(["drop", "keepAnswer"]), "drop"),
  };
}

function readPredicate(place: Place): string {
  const expected =
    "an SQL predicate such as \"lang = 'en'\", without the word WHERE and without a semicolon at its end";
  const predicate = text(expected)(place);
  const isClean = place.problems.clean(place.path);
  if (isClean && (predicate.trim() === "" || /^\s*where\b|;\s*$/i.test(predicate))) refuse(place, expected);
  return predicate;
}

function readWhen(place: Place): PipelineConfig["when"] {
  const at = section(orEmpty(place), ["rows", "maxWait"]);
  return {
    rows: optional(at.rows, integer({ min: 1, max: countMax }), rowsDefault),
    maxWaitMs: optional(at.maxWait, duration(maxWaitMs), maxWaitMsDefault),
  };
}

function readBatch(place: Place): PipelineConfig["batch"] {
  const at = section(orEmpty(place), ["maxRequests", "maxBytes"]);
  return {
    requestsMax: optional(at.maxRequests, integer({ min: 1, max: countMax }), null),
    bytesMax: optional(at.maxBytes, integer(bytes, " bytes"), null),
  };
}

function readValidate(place: Place, language: ConfigLanguage): PipelineConfig["validate"] {
  if (isValidate(place.value) && isPlainFunction(place.value)) return place.value;
  if (language === "json") refuse(place, "nothing: a function needs a config in TypeScript or JavaScript");
  else refuse(place, "a plain function (answer, row) that returns null, or what is wrong as text");
  return null;
}

function isValidate(value: unknown): value is (answer: unknown, row: RowCells) => string | null {
  return typeof value === "function";
}

function readTarget(place: Place): PipelineConfig["target"] {
  const at = section(place, ["table", "columns", "access", "addColumns", "trustOwner"]);
  return {
    table: tableName(at.table),
    columns: optional(at.columns, readColumnMapping, null),
    access: optional(at.access, oneOf(["private", "inherit"]), "private"),
    addColumns: optional(at.addColumns, boolean, false),
    trustOwner: optional(at.trustOwner, boolean, false),
  };
}

function readColumnMapping(place: Place): Readonly<Record<string, string>> {
  const pairs = entries(place, 'an object of answer field and column, such as { summary: "one_line" }');
  return Object.fromEntries(pairs.map((pair) => [pair.key, columnName(pair)]));
}

function readBudget(place: Place): PipelineConfig["budget"] {
  const at = section(place, ["usd", "per"]);
  return {
    usd: number({ min: 0, max: usdMax, above: true }, " (US dollars)")(at.usd),
    per: oneOf(["run", "day", "month", "total"])(at.per),
  };
}

function readPolling(place: Place): PipelineConfig["polling"] {
  const at = section(orEmpty(place), ["min", "max"]);
  return {
    minMs: optional(at.min, duration(pollingMs), pollingMinMsDefault),
    maxMs: optional(at.max, duration(pollingMs), pollingMaxMsDefault),
  };
}

function readReconcile(place: Place): PipelineConfig["reconcile"] {
  const at = section(orEmpty(place), ["window", "unknown"]);
  return {
    windowMs: optional(at.window, duration(reconcileWindowMs), reconcileWindowMsDefault),
    unknown: optional(at.unknown, oneOf(["again", "ask"]), null),
  };
}
