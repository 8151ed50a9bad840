/** The log of a command: pino's records as lines for a person, on stderr above the live lines. */
import { pino, type Logger } from "pino";
import type { LogLevel } from "./cli.js";
import { harmless, type Terminal } from "./terminal.js";
import { fit } from "./text.js";

/** Shorter ids are enough to tell batches apart. */
const ID_CHARACTERS = 8;
const VALUE_CHARACTERS_MAX = 300;
const notShown = new Set(["level", "time", "pid", "hostname", "msg", "err"]);

export function openLog(terminal: Terminal, level: LogLevel): Logger {
  return pino(
    { level, base: null },
    { write: (line: string) => terminal.note(describeRecord(line, terminal.debug)) },
  );
}

function describeRecord(line: string, withStack: boolean): string {
  const record = parseRecord(line);
  const details = Object.entries(record)
    .filter(([name]) => !notShown.has(name))
    .map(([name, value]) => `${name} ${shown(name, value)}`);
  const where = details.length === 0 ? "" : ` (${details.join(", ")})`;
  const time = new Date(Number(record["time"])).toISOString().slice(11, 19);
  const level = pino.levels.labels[Number(record["level"])] ?? "log";
  return `${time} ${level}: ${String(record["msg"] ?? "")}${where}${errorOf(record["err"], withStack)}`;
}

function parseRecord(line: string): Record<string, unknown> {
  const parsed: unknown = JSON.parse(line);
  return typeof parsed === "object" && parsed !== null ? { ...parsed } : {};
}

function shown(name: string, value: unknown): string {
  const text = typeof value === "string" ? value : JSON.stringify(value);
  return name === "batch" ? text.slice(0, ID_CHARACTERS) : fit(harmless(text), VALUE_CHARACTERS_MAX);
}

/** As pino serialises errors: `message`, `stack`. */
function errorOf(error: unknown, withStack: boolean): string {
  if (typeof error !== "object" || error === null) return "";
  const { message, stack } = { message: "", stack: "", ...error };
  return withStack ? `\n${harmless(String(stack))}` : `: ${harmless(String(message))}`;
}
