/** Reads where answers go: into a table of the same database, or to a system elsewhere. */
import type { DeliveryPromise } from "../../model/connector.js";
import type { PipelineConfig } from "../../model/pipeline.js";
import { answersTable } from "../../model/replica-name.js";
import { defineTarget, type DefinedTarget } from "../define-target.js";
import type { ConfigLanguage } from "./read-answer.js";
import { columnName, tableName } from "./read-names.js";
import { boolean, entries, isPlainObject, oneOf, optional, refuse, section, type Place } from "./readers.js";

export function readTarget(place: Place): PipelineConfig["target"] {
  const at = section(place, ["table", "columns", "access", "addColumns", "trustOwner"]);
  return {
    table: tableName(at.table),
    columns: optional(at.columns, readColumnMapping, null),
    access: optional(at.access, oneOf(["private", "inherit"]), "private"),
    addColumns: optional(at.addColumns, boolean, false),
    trustOwner: optional(at.trustOwner, boolean, false),
    elsewhere: null,
  };
}

function readColumnMapping(place: Place): Readonly<Record<string, string>> {
  const pairs = entries(place, 'an object that maps answer fields to columns, such as { summary: "one_line" }');
  return Object.fromEntries(pairs.map((pair) => [pair.key, columnName(pair)]));
}

const CHANGES = { min: 1, max: 10_000 };
const BYTES = { min: 1_024, max: 16 * 1024 * 1024 };

export function isConnector({ value }: Place): boolean {
  return typeof value === "object" && value !== null && "write" in value;
}

export function readConnector(
  place: Place,
  { name, language }: { readonly name: string; readonly language: ConfigLanguage },
): PipelineConfig["target"] {
  const { value } = place;
  const given = language === "script" && isDefinedTarget(value) ? value : null;
  if (given === null)
    refuse(
      place,
      language === "json"
        ? "a table in a JSON config. A target elsewhere needs TypeScript or JavaScript"
        : `a table, or { write } with a function, and of these at most: name, writes and address (texts), promise ` +
            `("onceInEffect" or "atLeastOnce"), most ({ changes: 1 to ${CHANGES.max}, bytes: ${BYTES.min} to ` +
            `${BYTES.max} }), prepare, settle and diagnose (functions)`,
    );
  return {
    table: answersTable(name),
    columns: null,
    access: "private",
    addColumns: true,
    trustOwner: false,
    elsewhere: given === null ? null : defineTarget(given),
  };
}

const PROMISES: readonly unknown[] = ["onceInEffect", "atLeastOnce"] satisfies DeliveryPromise[];

/** Rowmill's own connectors, what `defineTarget` returns, and the same written where it is used. */
function isDefinedTarget(value: unknown): value is DefinedTarget {
  if (!isPlainObject(value)) return false;
  const { name, promise, address, identity, writes, most = {}, prepare, write, settle, diagnose, ...others } = value;
  return (
    typeof write === "function" &&
    [name, writes, address ?? undefined].every((one) => one === undefined || typeof one === "string") &&
    (promise === undefined || PROMISES.includes(promise)) &&
    isPlainObject(most) &&
    isWithin(most["changes"], CHANGES) &&
    isWithin(most["bytes"], BYTES) &&
    [identity, prepare, settle, diagnose].every((one) => one === undefined || typeof one === "function") &&
    Object.keys(others).length === 0
  );
}

function isWithin(value: unknown, { min, max }: { readonly min: number; readonly max: number }): boolean {
  return value === undefined || (Number.isInteger(value) && Number(value) >= min && Number(value) <= max);
}
