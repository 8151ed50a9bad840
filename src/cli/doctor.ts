/** `rowmill doctor`: its options. The work is in `run-doctor.ts`, which is loaded only when it is wanted. */
import { Command } from "commander";
import { withProject, type Cli } from "./cli.js";
import type { DoctorOptions } from "./run-doctor.js";

export function doctorCommand(cli: Cli): Command {
  return withProject(new Command("doctor"))
    .description("what is wrong with config, database, tables, provider and pipelines, and how to mend it")
    .option("--json", "one JSON object for programs")
    .option("--audit", "instead: does the ledger account for every row, batch and cent?")
    .action(async (options: DoctorOptions) => {
      const { runDoctor, runAudit } = await import("./run-doctor.js");
      cli.finish(await (options.audit ? runAudit : runDoctor)(cli, options));
    });
}
