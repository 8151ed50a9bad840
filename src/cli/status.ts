/** `rowmill status`: its options. The work is in `run-status.ts`, which is loaded only when it is wanted. */
import { Command } from "commander";
import { withProject, type Cli } from "./cli.js";
import type { StatusOptions } from "./run-status.js";

export function statusCommand(cli: Cli): Command {
  return withProject(new Command("status"))
    .description("where every pipeline and batch stands, what was spent, what is paused and why")
    .option("--json", "one JSON object for programs")
    .option("--watch", "again and again, until Ctrl-C; with --json one object a line, when it changed")
    .action(async (options: StatusOptions) => {
      const { runStatus } = await import("./run-status.js");
      cli.finish(await runStatus(cli, options));
    });
}
