/** `rowmill failures`: its options. The work is in `run-failures.ts`, which is loaded only when it is wanted. */
import { Command } from "commander";
import { withProject, type Cli } from "./cli.js";
import type { FailuresOptions } from "./run-failures.js";

export function failuresCommand(cli: Cli): Command {
  return withProject(new Command("failures"))
    .description("why rows failed: each reason with its rows, an example, and what fixes it")
    .argument("[pipeline]", "default: all")
    .option("--json", "one JSON object for programs")
    .action(async (name: string | undefined, options: FailuresOptions) => {
      const { runFailures } = await import("./run-failures.js");
      cli.finish(await runFailures(cli, name, options));
    });
}
