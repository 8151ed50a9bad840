/** The command line as a whole: every command with its options. Parses and starts; what a command does is in its own file. */
import { Command, CommanderError } from "commander";
import { VERSION } from "../version.js";
import type { Cli } from "./cli.js";
import { COMMANDS } from "./command-list.js";
import { EXIT_STATUS } from "./screen/exit-status.js";

const INTRODUCTION = `Turns the rows of a Postgres table into LLM batch requests, and the answers back into typed columns.

It reads rowmill.config.ts (or .js, .json) in this folder, and .env beside it.`;

const EXAMPLES = `
Examples:
  rowmill up                       install and work until Ctrl-C
  rowmill up --until-idle --yes    send all that waits, wait for the answers, exit
  rowmill status --watch           where everything is
  rowmill show movies 42           one row's whole story
  rowmill demo                     the whole path in seconds, without a key and without a model

Exit status: 0 done, 1 failed, 2 wrong command or config, 3 some rows failed, 4 waits for a person.
More: rowmill help COMMAND, and docs/cli.md`;

export function buildProgram(cli: Cli): Command {
  const program = new Command("rowmill")
    .description(INTRODUCTION)
    .version(VERSION, "-V, --version", "print the version")
    .helpOption("-h, --help", "print this help")
    .addHelpText("after", EXAMPLES)
    .showHelpAfterError("(rowmill --help shows every command, rowmill help COMMAND its options)")
    .exitOverride()
    .hook("preAction", (_program, command) => {
      cli.terminal.debug = command.opts()["logLevel"] === "debug";
    });
  for (const build of COMMANDS) program.addCommand(build(cli).copyInheritedSettings(program));
  return program;
}

/** The status for what commander throws after it has printed help, the version or a mistake; null: not commander's. */
export function statusOfParsing(error: unknown): number | null {
  if (!(error instanceof CommanderError)) return null;
  return error.exitCode === 0 ? EXIT_STATUS.ok : EXIT_STATUS.usage;
}
