/** The command line as a whole: parses it and starts a command. What a command does is in its own file. */
import { Command, CommanderError, Option } from "commander";
import { VERSION } from "../version.js";
import { COMMON_OPTIONS, type Cli } from "./cli.js";
import { COMMAND_GROUPS } from "./command-list.js";
import { EXIT_STATUS } from "./screen/exit-status.js";
import { markOf } from "./screen/report-error.js";

const INTRODUCTION = `Turns the rows of a Postgres table into LLM batch requests, and the answers into typed columns.

Reads rowmill.config.ts (or .js, .json) and .env in this folder.`;

const AFTER = `
Examples:
  rowmill demo            try it in seconds, without an API key
  rowmill init            write a config for your table
  rowmill up              work until Ctrl-C
  rowmill show movies 42  everything about one row

Exit status:
  0  done
  1  failed
  2  wrong command or config
  3  some rows failed
  4  paused, or waits for your approval

${COMMON_OPTIONS}
  -h, --help     show help; after a command: its options
  -V, --version  show the version`;

/** Commander does not break descriptions in narrower columns, so a terminal would cut words. */
const WRAPPED_COLUMNS_MIN = 10;

export function buildProgram({ terminal, finish }: Cli): Command {
  const program = new Command("rowmill")
    .description(INTRODUCTION)
    .usage("COMMAND [options]")
    .configureHelp({ minWidthToWrap: WRAPPED_COLUMNS_MIN, subcommandTerm: (command) => command.name() })
    .configureOutput({
      writeOut: (text) => text.trimEnd().split("\n").forEach(terminal.print),
      outputError: (text) => {
        const lines = text
          .trimEnd()
          .replace(/^error: /, markOf(terminal))
          .split("\n");
        for (const line of lines) terminal.note(line.replace(/^\((.*)\)$/, "  Hint: $1"));
        terminal.note("  Hint: See all commands: rowmill --help");
        terminal.note("  Hint: See the options of one: rowmill help COMMAND");
      },
    })
    .optionsGroup(COMMON_OPTIONS)
    .helpOption("-h, --help", "show this help")
    .addHelpText("after", AFTER)
    .exitOverride()
    .hook("preAction", (_program, command) => {
      const { logLevel, logFormat, quiet } = command.opts();
      terminal.logFormat = logFormat === "json" ? "json" : "text";
      terminal.debug = logLevel === "debug";
      terminal.quiet = quiet === true;
    });
  for (const [heading, builds] of COMMAND_GROUPS) {
    program.commandsGroup(heading);
    for (const build of builds) program.addCommand(build({ terminal, finish }).copyInheritedSettings(program));
  }
  terminal.commands = [...program.commands.map((command) => command.name()), "help"];
  // Last of all in the help, which lists options before commands.
  program.version(VERSION, "-V, --version").options.forEach((option) => option.hideHelp());
  return program
    .addHelpOption(new Option("-h, --help").hideHelp())
    .commandsGroup(COMMAND_GROUPS[0][0])
    .helpCommand("help [command]", "Show the options of a command.");
}

/** The status for what commander throws after it printed help, the version or an error; null: not commander's. */
export function statusOfParsing(error: unknown): number | null {
  if (!(error instanceof CommanderError)) return null;
  return error.exitCode === 0 ? EXIT_STATUS.ok : EXIT_STATUS.usage;
}
