/** `rowmill resume`: its options. The work is in `run-resume.ts`, which is loaded only when it is wanted. */
import { Command } from "commander";
import { withProject, type Cli, type ProjectOptions } from "./cli.js";

export function resumeCommand(cli: Cli): Command {
  return withProject(new Command("resume"))
    .description("go on with a paused pipeline")
    .argument("<pipeline>")
    .action(async (name: string, options: ProjectOptions) => {
      const { runResume } = await import("./run-resume.js");
      cli.finish(await runResume(cli, name, options));
    });
}
