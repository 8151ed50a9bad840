/** `rowmill resume`: its options. The work is in `run-resume.ts`, which is loaded only when it is wanted. */
import { Command } from "commander";
import { withProject, type Cli } from "./cli.js";
import type { ResumeOptions } from "./run-resume.js";

export function resumeCommand(cli: Cli): Command {
  return withProject(new Command("resume"))
    .description("go on with a paused pipeline")
    .argument("<pipeline>")
    .option("--accept", "such failures are normal: do not pause for them again under this definition")
    .action(async (name: string, options: ResumeOptions) => {
      const { runResume } = await import("./run-resume.js");
      cli.finish(await runResume(cli, name, options));
    });
}
