/** `rowmill cancel`: its options. The work is in `run-cancel.ts`, which is loaded only when it is wanted. */
import { Command } from "commander";
import { withProject, type Cli } from "./cli.js";
import type { CancelOptions } from "./run-cancel.js";

export function cancelCommand(cli: Cli): Command {
  return withProject(new Command("cancel"))
    .description("give up a batch that cannot be collected any more; its rows wait again")
    .argument("<batch>")
    .option("--abandon", "leave what the provider has of it, and count what it may have cost as spent")
    .option("--yes", "do not ask")
    .option("--json", "one JSON object")
    .action(async (batch: string, options: CancelOptions) => {
      const { runCancel } = await import("./run-cancel.js");
      cli.finish(await runCancel(cli, batch, options));
    });
}
