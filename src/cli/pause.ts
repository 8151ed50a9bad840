/** `rowmill pause`: its options. The work is in `run-pause.ts`, which is loaded only when it is wanted. */
import { Command } from "commander";
import { withProject, type Cli } from "./cli.js";
import type { PauseOptions } from "./run-pause.js";

export function pauseCommand(cli: Cli): Command {
  return withProject(new Command("pause"))
    .description("send nothing more of a pipeline; batches at the provider are still collected")
    .argument("<pipeline>")
    .option("--reason <text>", "shown by status")
    .action(async (name: string, options: PauseOptions) => {
      const { runPause } = await import("./run-pause.js");
      cli.finish(await runPause(cli, name, options));
    });
}
