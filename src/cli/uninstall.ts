/** `rowmill uninstall`: its options. The work is in `run-uninstall.ts`, which is loaded only when it is wanted. */
import { Command } from "commander";
import { withProject, type Cli } from "./cli.js";
import type { UninstallOptions } from "./run-uninstall.js";

export function uninstallCommand(cli: Cli): Command {
  return withProject(new Command("uninstall"))
    .description("take the triggers off your tables; nothing else is touched")
    .argument("[pipelines...]", "also those that are in the config no more; default: all")
    .option(
      "--purge",
      "also drop the schemas rowmill and rowmill_worker: what was asked, answered and spent is forgotten",
    )
    .option("--yes", "with --purge: do not ask")
    .action(async (names: string[], options: UninstallOptions) => {
      const { runUninstall } = await import("./run-uninstall.js");
      cli.finish(await runUninstall(cli, names, options));
    });
}
