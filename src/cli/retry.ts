/** `rowmill retry`: its options. The work is in `run-retry.ts`, which is loaded only when it is wanted. */
import { Command } from "commander";
import { withProject, type Cli } from "./cli.js";
import type { RetryOptions } from "./run-retry.js";

export function retryCommand(cli: Cli): Command {
  const collect = (text: string, before: readonly string[] = []) => [...before, text];
  return withProject(new Command("retry"))
    .description("write kept answers into the target at no cost, and ask the other failed rows again")
    .argument("[pipeline]", "default: all")
    .option(
      "--reason <outcome>",
      "only rows that failed so, such as unwritable; may be given more than once",
      collect,
    )
    .option(
      "--key <key>",
      "only this row; of a composite key a JSON array; may be given more than once",
      collect,
    )
    .option("--yes", "do not ask before rows are asked again")
    .option("--json", "one JSON object")
    .action(async (name: string | undefined, options: RetryOptions) => {
      const { runRetry } = await import("./run-retry.js");
      cli.finish(await runRetry(cli, name, options));
    });
}
