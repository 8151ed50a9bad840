/** What every command is given, and the options that most of them share. */
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
}

export interface ProjectOptions extends LogOptions {
  readonly config?: string;
}

export function withLogLevel(command: Command): Command {
  return command.addOption(
    new Option("--log-level <level>", "how much the log on stderr says; debug: stack traces as well")
      .choices([...LOG_LEVELS])
      .default("warn"),
  );
}

export function withProject(command: Command): Command {
  return withLogLevel(
    command.option("--config <file>", "the config; default: rowmill.config.* in this folder"),
  );
}
