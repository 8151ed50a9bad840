/** What every command is given, and the options that several of them share. */
import { Command, Option } from "commander";
import type { Terminal } from "./screen/terminal.js";

export interface Cli {
  readonly terminal: Terminal;
  /** The exit status of a command that came to its end; 0 when it is never called. */
  finish(status: number): void;
}

const LOG_LEVELS = ["debug", "info", "warn", "error", "silent"] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

export interface LogOptions {
  readonly logLevel: LogLevel;
  readonly logFormat?: "text" | "json";
}

export interface ProjectOptions extends LogOptions {
  readonly config?: string;
}

/** The heading under which help lists, last of all, what every command takes. */
export const COMMON_OPTIONS = "Common options:";

/** To be called when a command has its own options: these come last. */
export function withLogLevel(command: Command): Command {
  return command
    .optionsGroup(COMMON_OPTIONS)
    .addOption(
      new Option("--log-level <level>", "log messages of this level and above to stderr; debug adds stack traces")
        .choices([...LOG_LEVELS])
        .default("warn"),
    );
}

export function withProject(command: Command): Command {
  command.optionsGroup(COMMON_OPTIONS);
  return withLogLevel(
    command.option("-c, --config <file>", "the config file; default: rowmill.config.* in this folder"),
  );
}
