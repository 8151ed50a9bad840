/** `rowmill deployment`: its options. The work is in `run-deployment.ts`, which is loaded only when it is wanted: it brings the engine. */
import { Command } from "commander";
import { withProject, type Cli } from "./cli.js";
import type { DeploymentOptions } from "./run-deployment.js";

export function deploymentCommand(cli: Cli): Command {
  return withProject(new Command("deployment"))
    .description("which database this ledger is in; say whether it was restored, or is a copy")
    .option("--restored", "the former database is gone, and this one goes on in its place")
    .option("--copy", "the other database lives on; this one becomes a ledger of its own")
    .option("--yes", "do not ask")
    .option("--json", "one JSON object")
    .action(async (options: DeploymentOptions) => {
      const { runDeployment } = await import("./run-deployment.js");
      cli.finish(await runDeployment(cli, options));
    });
}
