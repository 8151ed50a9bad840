/** `rowmill approve`: its options. The work is in `run-approve.ts`, which is loaded only when it is wanted. */
import { Command } from "commander";
import { withProject, type Cli } from "./cli.js";
import type { ApproveOptions } from "./run-approve.js";

export function approveCommand(cli: Cli): Command {
  return withProject(new Command("approve"))
    .description("let a new or changed pipeline send its first batch; shows what it may cost")
    .argument("<pipeline>")
    .option("--yes", "do not ask")
    .action(async (name: string, options: ApproveOptions) => {
      const { runApprove } = await import("./run-approve.js");
      cli.finish(await runApprove(cli, name, options));
    });
}
