/** `rowmill init`: its options. The work is in `run-init.ts`, which is loaded only when it is wanted. */
import { Command } from "commander";
import { withLogLevel, type Cli } from "./cli.js";
import type { InitOptions } from "./init-options.js";

export function initCommand(cli: Cli): Command {
  return withLogLevel(new Command("init"))
    .description("write a config by answering a few questions, or by these options")
    .option("--table <name>", "the table whose rows are asked about")
    .option("--key <columns>", "what tells its rows apart, with commas; default: its primary key")
    .option("--columns <columns>", "the columns that the model reads, with commas")
    .option("--model <name>", "the model's name at the provider")
    .option("--prompt <text>", "what the model shall do with a row")
    .option("--function", "write the prompt's columns as a function of the row, not as a template")
    .option("--answer <fields>", "as in categories:string[],summary:string; or text")
    .option("--target <table>", "where the answers go; default: the table's name and _answers")
    .option("--name <pipeline>", "default: the table's name")
    .option("--embedded", "use the embedded database, whatever DATABASE_URL says")
    .option("--sql <file>", "with --embedded: run this SQL in it first, to make the tables")
    .option("--force", "overwrite the config that is there")
    .action(async (options: InitOptions) => {
      const { runInit } = await import("./run-init.js");
      cli.finish(await runInit(cli, options));
    });
}
