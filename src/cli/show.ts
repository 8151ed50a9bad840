/** `rowmill show`: its options. The work is in `run-show.ts`, which is loaded only when it is wanted. */
import { Command } from "commander";
import { withProject, type Cli } from "./cli.js";
import type { ShowOptions } from "./run-show.js";

export function showCommand(cli: Cli): Command {
  return withProject(new Command("show"))
    .description("one row's whole story: row, request, attempts, batches, tokens, errors, result")
    .argument("<pipeline>")
    .argument("<key...>", "the row's key; the parts of a composite one, or they as a JSON array")
    .option("--json", "one JSON object for programs")
    .action(async (pipeline: string, key: string[], options: ShowOptions) => {
      const { runShow } = await import("./run-show.js");
      cli.finish(await runShow(cli, { pipeline, key }, options));
    });
}
