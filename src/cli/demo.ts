/** `rowmill demo`: its description. The work is in `run-demo.ts`, which is loaded only when it is wanted. */
import { Command } from "commander";
import { withLogLevel, type Cli, type LogOptions } from "./cli.js";
import { DEMO_FILMS } from "./demo-films.js";

export function demoCommand(cli: Cli): Command {
  return withLogLevel(new Command("demo"))
    .description(`the whole path on ${DEMO_FILMS} made-up films: no key, no language model, no cost`)
    .action(async (options: LogOptions) => {
      const { runDemo } = await import("./run-demo.js");
      cli.finish(await runDemo(cli, options));
    });
}
