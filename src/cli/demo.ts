/** `rowmill demo`: its description. The work is in `run-demo.ts`, which is loaded only when it is wanted. */
import { Command } from "commander";
import { withLogLevel, type Cli } from "./cli.js";
import type { DemoOptions } from "./run-demo.js";

export function demoCommand(cli: Cli): Command {
  return withLogLevel(new Command("demo"))
    .description("the whole path on a table of films: no key, no language model, no cost")
    .option("--keep", "leave the project in ./rowmill-demo: config, database, answers")
    .option("--live", "ask the provider with your key, after saying what it costs; keeps the project too")
    .option("--yes", "with --live: do not ask")
    .action(async (options: DemoOptions) => {
      const { runDemo } = await import("./run-demo.js");
      cli.finish(await runDemo(cli, options));
    });
}
