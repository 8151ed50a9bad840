/** Reads where answers go: into a table of the same database, or to a system elsewhere. */
import type { TargetConnector } from "../../model/connector.js";
import type { PipelineConfig } from "../../model/pipeline.js";
import { answersTable } from "../../model/replica-name.js";
import type { ConfigLanguage } from "./read-answer.js";
import { columnName, tableName } from "./read-names.js";
import { boolean, entries, oneOf, optional, refuse, section, type Place } from "./readers.js";

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
  const isKnown = language === "script" && isTargetConnector(value);
  if (!isKnown)
    refuse(
      place,
      language === "json"
        ? "a table in a JSON config. A target elsewhere needs TypeScript or JavaScript"
        : "what defineTarget({ write }) returns, or a table",
    );
  return {
    table: answersTable(name),
    columns: null,
    access: "private",
    addColumns: true,
    trustOwner: false,
    elsewhere: isKnown ? value : null,
  };
}

function isTargetConnector(value: unknown): value is TargetConnector {
  if (typeof value !== "object" || value === null) return false;
  const { name, promise, most, prepare, write } = value as Partial<Record<keyof TargetConnector, unknown>>;
  const { changes, bytes } = (typeof most === "object" && most !== null ? most : {}) as Record<string, unknown>;
  return (
    typeof name === "string" &&
    (promise === "onceInEffect" || promise === "atLeastOnce") &&
    isWithin(changes, CHANGES) &&
    isWithin(bytes, BYTES) &&
    typeof prepare === "function" &&
    typeof write === "function"
  );
}

function isWithin(value: unknown, { min, max }: { readonly min: number; readonly max: number }): boolean {
  return Number.isInteger(value) && Number(value) >= min && Number(value) <= max;
}
