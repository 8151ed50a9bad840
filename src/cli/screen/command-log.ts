/** The log of a command: pino's records as lines on stderr, above the live ones, or in JSON (`--log-format`). */
import type { Logger } from "pino";
import { commonjs } from "../../model/commonjs.js";
import type { LogLevel } from "../cli.js";
import { causesOf, stackOf } from "./report-error.js";
import type { Terminal } from "./terminal.js";
import { fit, indented } from "./text.js";

const { pino } = commonjs("pino") as typeof import("pino");

const ID_CHARACTERS = 8;
const VALUE_CHARACTERS_MAX = 300;
const NOT_SHOWN = new Set(["level", "time", "pid", "hostname", "msg", "err"]);

export function openLog(terminal: Terminal, level: LogLevel): Logger {
  return terminal.logFormat === "json" ? openRecords(terminal, level) : openLines(terminal, level);
}

function openLines(terminal: Terminal, level: LogLevel): Logger {
  return pino(
    { level, base: null, serializers: { err: errorOf } },
    {
      write: (line: string) => {
        for (const text of describeRecord(parseRecord(line), terminal.debug)) terminal.note(text);
      },
    },
  );
}

function openRecords(terminal: Terminal, level: LogLevel): Logger {
  const err = (error: unknown) => {
    const known = errorOf(error);
    return terminal.debug || known === null ? known : { message: known.message };
  };
  return pino(
    {
      level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      serializers: { err },
    },
    { write: (line: string) => terminal.record(line.trimEnd()) },
  );
}

function describeRecord(record: Readonly<Record<string, unknown>>, withStack: boolean): string[] {
  const details = Object.entries(record)
    .filter(([name]) => !NOT_SHOWN.has(name))
    .map(([name, value]) => `${name} ${shown(name, value)}`);
  const where = details.length === 0 ? "" : ` (${details.join(", ")})`;
  const time = new Date(Number(record["time"])).toISOString();
  const level = pino.levels.labels[Number(record["level"])] ?? "log";
  const text = `${time} ${level}: ${String(record["msg"] ?? "")}${where}`;
  const error = record["err"];
  if (typeof error !== "object" || error === null) return [text];
  const { message, stack } = { message: "", stack: "", ...error };
  return withStack ? [text, ...indented(stack)] : [`${text}: ${message}`];
}

function parseRecord(line: string): Record<string, unknown> {
  const parsed: unknown = JSON.parse(line);
  return typeof parsed === "object" && parsed !== null ? { ...parsed } : {};
}

function shown(name: string, value: unknown): string {
  const text = typeof value === "string" ? value : JSON.stringify(value);
  return name === "batch" ? text.slice(0, ID_CHARACTERS) : fit(text, VALUE_CHARACTERS_MAX);
}

function errorOf(error: unknown): { message: string; stack: string } | null {
  if (!(error instanceof Error)) return null;
  return { message: withCauses(error), stack: stackOf(error) };
}

/** Many errors of ours repeat the message of their cause. */
function withCauses(error: Error): string {
  let text = error.message;
  for (const cause of causesOf(error))
    if (cause instanceof Error && !text.includes(cause.message)) text += `: ${cause.message}`;
  return text;
}
