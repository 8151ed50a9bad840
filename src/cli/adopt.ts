/** `rowmill adopt`: its options. The work is in `run-adopt.ts`, which is loaded only when it is wanted: it brings the engine. */
import { Command } from "commander";
import { withProject, type Cli } from "./cli.js";
import type { AdoptOptions } from "./run-adopt.js";

export function adoptCommand(cli: Cli): Command {
  return withProject(new Command("adopt"))
    .description("collect a batch that other code created at the provider; nothing is paid again")
    .argument("<batch_id>")
    .requiredOption("--pipeline <name>", "the pipeline whose rows the batch asks about")
    .requiredOption(
      "--custom-id <pattern>",
      "how that code named its requests, the key's columns in braces: 'task-{imdb_id}'",
    )
    .option("--yes", "do not ask")
    .option("--json", "one JSON object")
    .action(async (batchId: string, options: AdoptOptions) => {
      const { runAdopt } = await import("./run-adopt.js");
      cli.finish(await runAdopt(cli, batchId, options));
    });
}
