/** `rowmill flush`: its options. The work is in `run-flush.ts`, which is loaded only when it is wanted. */
import { Command } from "commander";
import { withProject, type Cli, type ProjectOptions } from "./cli.js";

export function flushCommand(cli: Cli): Command {
  return withProject(new Command("flush"))
    .description("send what waits now, below the threshold and before the deadline")
    .argument("[pipelines...]", "default: all")
    .action(async (names: string[], options: ProjectOptions) => {
      const { runFlush } = await import("./run-flush.js");
      cli.finish(await runFlush(cli, names, options));
    });
}
