/** `rowmill up`: its options. The work is in `run-up.ts`, which is loaded only when it is wanted: it brings the whole engine. */
import { Command, Option } from "commander";
import { withProject, type Cli } from "./cli.js";
import type { UpOptions } from "./run-up.js";

export function upCommand(cli: Cli): Command {
  return withProject(new Command("up"))
    .description("install triggers and tables, and work: send batches, collect answers")
    .addOption(new Option("--once", "one round of each stage, then exit; for cron").conflicts("untilIdle"))
    .option("--until-idle", "send all that waits, wait for all of it, exit")
    .option(
      "--yes",
      "approve what new and changed pipelines will cost, and the changes that their targets need",
    )
    .addOption(
      new Option("--print-sql", "print what it would run in the database, and change nothing").conflicts([
        "once",
        "untilIdle",
        "yes",
      ]),
    )
    .action(async (options: UpOptions) => {
      if (options.printSql) return cli.finish(await (await import("./print-sql.js")).printSql(cli, options));
      const { runUp } = await import("./run-up.js");
      cli.finish(await runUp(cli, options));
    });
}
