/**
 * Every command with its arguments and options, in the order in which help shows them. What a command does is in its own file of `commands`, which
 * is loaded only when it is wanted: most of them bring the whole engine.
 */
import { Command, InvalidArgumentError, Option } from "commander";
import { withLogLevel, withProject, type Cli, type ProjectOptions } from "./cli.js";
import type { AdoptOptions } from "./commands/adopt.js";
import type { ApproveOptions } from "./commands/approve.js";
import type { CancelOptions } from "./commands/cancel.js";
import type { DemoOptions } from "./commands/demo.js";
import type { DeploymentOptions } from "./commands/deployment.js";
import type { DoctorOptions } from "./commands/doctor.js";
import type { FailuresOptions } from "./commands/failures.js";
import type { GatewayOptions } from "./commands/gateway.js";
import type { InitOptions } from "./commands/init.js";
import type { PauseOptions } from "./commands/pause.js";
import type { ResumeOptions } from "./commands/resume.js";
import type { RetryOptions } from "./commands/retry.js";
import type { ShowOptions } from "./commands/show.js";
import type { StatusOptions } from "./commands/status.js";
import type { UninstallOptions } from "./commands/uninstall.js";
import type { UpOptions } from "./commands/up.js";

const GATEWAY_PORT = 4_477;
const PORT_MAX = 65_535;

export const COMMANDS: readonly ((cli: Cli) => Command)[] = [
  initCommand,
  upCommand,
  statusCommand,
  failuresCommand,
  showCommand,
  flushCommand,
  sweepCommand,
  pauseCommand,
  resumeCommand,
  approveCommand,
  retryCommand,
  adoptCommand,
  cancelCommand,
  deploymentCommand,
  doctorCommand,
  uninstallCommand,
  gatewayCommand,
  demoCommand,
];

function initCommand(cli: Cli): Command {
  return withLogLevel(new Command("init"))
    .description("write a config by answering a few questions, or by these options")
    .option("--table <name>", "the table whose rows are asked about")
    .option("--key <columns>", "what tells its rows apart, with commas; default: its primary key")
    .option("--columns <columns>", "the columns that the model reads, with commas")
    .option("--model <name>", "the model's name at the provider")
    .option("--prompt <text>", "what the model shall do with a row")
    .option("--function", "write the prompt's columns as a function of the row, not as a template")
    .option("--answer <fields>", "as in categories:string[],summary:string; or text")
    .option("--target <table>", "where the answers go; default: the table's name and _answers")
    .option("--name <pipeline>", "default: the table's name")
    .option("--embedded", "use the embedded database, whatever DATABASE_URL says")
    .option("--sql <file>", "with --embedded: run this SQL in it first, to make the tables")
    .option("--force", "overwrite the config that is there")
    .action(async (options: InitOptions) => {
      const { runInit } = await import("./commands/init.js");
      cli.finish(await runInit(cli, options));
    });
}

function upCommand(cli: Cli): Command {
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
      if (options.printSql)
        return cli.finish(await (await import("./commands/print-sql.js")).printSql(cli, options));
      const { runUp } = await import("./commands/up.js");
      cli.finish(await runUp(cli, options));
    });
}

function statusCommand(cli: Cli): Command {
  return withProject(new Command("status"))
    .description("where every pipeline and batch stands, what was spent, what is paused and why")
    .option("--json", "one JSON object for programs")
    .option("--watch", "again and again, until Ctrl-C; with --json one object a line, when it changed")
    .action(async (options: StatusOptions) => {
      const { runStatus } = await import("./commands/status.js");
      cli.finish(await runStatus(cli, options));
    });
}

function failuresCommand(cli: Cli): Command {
  return withProject(new Command("failures"))
    .description("why rows failed: each reason with its rows, an example, and what fixes it")
    .argument("[pipeline]", "default: all")
    .option("--json", "one JSON object for programs")
    .action(async (name: string | undefined, options: FailuresOptions) => {
      const { runFailures } = await import("./commands/failures.js");
      cli.finish(await runFailures(cli, name, options));
    });
}

function showCommand(cli: Cli): Command {
  return withProject(new Command("show"))
    .description("one row's whole story: row, request, attempts, batches, tokens, errors, result")
    .argument("<pipeline>")
    .argument("<key...>", "the row's key; the parts of a composite one, or they as a JSON array")
    .option("--json", "one JSON object for programs")
    .action(async (pipeline: string, key: string[], options: ShowOptions) => {
      const { runShow } = await import("./commands/show.js");
      cli.finish(await runShow(cli, { pipeline, key }, options));
    });
}

function flushCommand(cli: Cli): Command {
  return withProject(new Command("flush"))
    .description("send what waits now, below the threshold and before the deadline")
    .argument("[pipelines...]", "default: all")
    .action(async (names: string[], options: ProjectOptions) => {
      const { runFlush } = await import("./commands/flush.js");
      cli.finish(await runFlush(cli, names, options));
    });
}

function sweepCommand(cli: Cli): Command {
  return withProject(new Command("sweep"))
    .description("compare all rows with what is known of them; finds what no trigger could report")
    .argument("[pipelines...]", "default: all")
    .action(async (names: string[], options: ProjectOptions) => {
      const { runSweep } = await import("./commands/sweep.js");
      cli.finish(await runSweep(cli, names, options));
    });
}

function pauseCommand(cli: Cli): Command {
  return withProject(new Command("pause"))
    .description("send nothing more of a pipeline; batches at the provider are still collected")
    .argument("<pipeline>")
    .option("--reason <text>", "shown by status")
    .action(async (name: string, options: PauseOptions) => {
      const { runPause } = await import("./commands/pause.js");
      cli.finish(await runPause(cli, name, options));
    });
}

function resumeCommand(cli: Cli): Command {
  return withProject(new Command("resume"))
    .description("go on with a paused pipeline")
    .argument("<pipeline>")
    .option("--accept", "such failures are normal: do not pause for them again under this definition")
    .action(async (name: string, options: ResumeOptions) => {
      const { runResume } = await import("./commands/resume.js");
      cli.finish(await runResume(cli, name, options));
    });
}

function approveCommand(cli: Cli): Command {
  return withProject(new Command("approve"))
    .description("let a new or changed pipeline send its first batch; shows what it may cost")
    .argument("<pipeline>")
    .option("--yes", "do not ask")
    .action(async (name: string, options: ApproveOptions) => {
      const { runApprove } = await import("./commands/approve.js");
      cli.finish(await runApprove(cli, name, options));
    });
}

function retryCommand(cli: Cli): Command {
  const collect = (text: string, before: readonly string[] = []) => [...before, text];
  return withProject(new Command("retry"))
    .description("write kept answers into the target at no cost, and ask the other failed rows again")
    .argument("[pipeline]", "default: all")
    .option(
      "--reason <outcome>",
      "only rows that failed so, such as unwritable; may be given more than once",
      collect,
    )
    .option(
      "--key <key>",
      "only this row; of a composite key a JSON array; may be given more than once",
      collect,
    )
    .option("--yes", "do not ask before rows are asked again")
    .option("--json", "one JSON object")
    .action(async (name: string | undefined, options: RetryOptions) => {
      const { runRetry } = await import("./commands/retry.js");
      cli.finish(await runRetry(cli, name, options));
    });
}

function adoptCommand(cli: Cli): Command {
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
      const { runAdopt } = await import("./commands/adopt.js");
      cli.finish(await runAdopt(cli, batchId, options));
    });
}

function cancelCommand(cli: Cli): Command {
  return withProject(new Command("cancel"))
    .description("give up a batch that cannot be collected any more; its rows wait again")
    .argument("<batch>")
    .option("--abandon", "leave what the provider has of it, and count what it may have cost as spent")
    .option("--yes", "do not ask")
    .option("--json", "one JSON object")
    .action(async (batch: string, options: CancelOptions) => {
      const { runCancel } = await import("./commands/cancel.js");
      cli.finish(await runCancel(cli, batch, options));
    });
}

function deploymentCommand(cli: Cli): Command {
  return withProject(new Command("deployment"))
    .description("which database this ledger is in; say whether it was restored, or is a copy")
    .option("--restored", "the former database is gone, and this one goes on in its place")
    .option("--copy", "the other database lives on; this one becomes a ledger of its own")
    .option("--yes", "do not ask")
    .option("--json", "one JSON object")
    .action(async (options: DeploymentOptions) => {
      const { runDeployment } = await import("./commands/deployment.js");
      cli.finish(await runDeployment(cli, options));
    });
}

function doctorCommand(cli: Cli): Command {
  return withProject(new Command("doctor"))
    .description("what is wrong with config, database, tables, provider and pipelines, and how to mend it")
    .option("--json", "one JSON object for programs")
    .option("--audit", "instead: does the ledger account for every row, batch and cent?")
    .action(async (options: DoctorOptions) => {
      const { runDoctor, runAudit } = await import("./commands/doctor.js");
      cli.finish(await (options.audit ? runAudit : runDoctor)(cli, options));
    });
}

function uninstallCommand(cli: Cli): Command {
  return withProject(new Command("uninstall"))
    .description("take the triggers off your tables; nothing else is touched")
    .argument("[pipelines...]", "also those that are in the config no more; default: all")
    .option(
      "--purge",
      "also drop the schemas rowmill and rowmill_worker: what was asked, answered and spent is forgotten",
    )
    .option("--yes", "with --purge: do not ask")
    .action(async (names: string[], options: UninstallOptions) => {
      const { runUninstall } = await import("./commands/uninstall.js");
      cli.finish(await runUninstall(cli, names, options));
    });
}

function gatewayCommand(cli: Cli): Command {
  return withLogLevel(new Command("gateway"))
    .description("a local server that speaks OpenAI's Files and Batches API")
    .option("--demo-model", "answer by rules and word lists: no language model, and nothing to pay")
    .option("--host <address>", "where to listen", "127.0.0.1")
    .option("--port <number>", "0: any free port", parsePort, GATEWAY_PORT)
    .option("--data-dir <folder>", "where files and batches are kept", ".rowmill/gateway")
    .option("--api-key-file <file>", "take only the keys in this file, one a line")
    .action(async (options: GatewayOptions) => {
      const { serveGateway } = await import("./commands/gateway.js");
      cli.finish(await serveGateway(cli, options));
    });
}

function parsePort(text: string): number {
  const port = Number(text);
  if (/^\d+$/.test(text) && port <= PORT_MAX) return port;
  throw new InvalidArgumentError(`A port is a whole number from 0 to ${PORT_MAX}.`);
}

function demoCommand(cli: Cli): Command {
  return withLogLevel(new Command("demo"))
    .description("the whole path on a table of films: no key, no language model, no cost")
    .option("--keep", "leave the project in ./rowmill-demo: config, database, answers")
    .option("--live", "ask the provider with your key, after saying what it costs; keeps the project too")
    .option("--yes", "with --live: do not ask")
    .action(async (options: DemoOptions) => {
      const { runDemo } = await import("./commands/demo.js");
      cli.finish(await runDemo(cli, options));
    });
}
