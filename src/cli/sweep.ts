/** `rowmill sweep`: its options. The work is in `run-sweep.ts`, which is loaded only when it is wanted. */
import { Command } from "commander";
import { withProject, type Cli, type ProjectOptions } from "./cli.js";

export function sweepCommand(cli: Cli): Command {
  return withProject(new Command("sweep"))
    .description("compare all rows with what is known of them; finds what no trigger could report")
    .argument("[pipelines...]", "default: all")
    .action(async (names: string[], options: ProjectOptions) => {
      const { runSweep } = await import("./run-sweep.js");
      cli.finish(await runSweep(cli, names, options));
    });
}
