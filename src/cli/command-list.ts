/**
 * Every command with its arguments, options and an example, in the groups and the order of the help. What a command
 * does is in its own file of `commands/`, in the folder of its group, loaded only when it runs: most of them load the
 * whole engine.
 */
import { Command, Option } from "commander";
import { withLogLevel, withProject, type Cli } from "./cli.js";
import { collect, command, JSON_OPTION, LOG_FORMAT, QUIET_OPTION, run, YES_OPTION } from "./command-parts.js";
import {
  adoptCommand,
  deploymentCommand,
  forgetCommand,
  gatewayCommand,
  tokensCommand,
  uninstallCommand,
} from "./advanced-commands.js";
import { groupOf, parseHttp, parseLimit, parseNumber, parseRequests, parseSince } from "./option-values.js";

const REQUESTS_SHOWN = 3;
type Build = (cli: Cli) => Command;

export const COMMAND_GROUPS = [
  ["Get started:", [demoCommand, runCommand, initCommand, doctorCommand]],
  ["Run:", [upCommand, planCommand, tryCommand, approveCommand, flushCommand, sweepCommand, syncCommand]],
  [
    "Inspect:",
    [
      statusCommand,
      showCommand,
      failuresCommand,
      batchesCommand,
      logCommand,
      costsCommand,
      versionsCommand,
      exportCommand,
    ],
  ],
  ["Fix:", [retryCommand, deliverCommand, cancelCommand, pauseCommand, resumeCommand]],
  ["Advanced:", [adoptCommand, deploymentCommand, tokensCommand, forgetCommand, gatewayCommand, uninstallCommand]],
] as const satisfies readonly (readonly [heading: string, commands: readonly Build[]])[];

function demoCommand(cli: Cli): Command {
  const demo = command("demo", "demo --keep")
    .description("Try Rowmill on a table of films: no API key, no language model, no cost.")
    .option("--keep", "keep the project in ./rowmill-demo: config, database and answers")
    .option("--live", "use the provider and your API key; shows the cost and asks first; implies --keep")
    .option("-y, --yes", "with --live: do not ask")
    .option(...QUIET_OPTION)
    .action(run(cli, async () => (await import("./commands/start/demo.js")).runDemo));
  return withLogLevel(demo);
}

function runCommand(cli: Cli): Command {
  const file = command(
    "run",
    "run films.csv",
    `run films.csv --prompt 'Sum up: {{ Title }}' \\\n    --model MODEL --answer "summary:string" --out labelled.csv`,
    "run films.csv --retry",
  )
    .description("Send every line of a file to a model, and write the answers as new columns.")
    .argument("[file]", "CSV, TSV, JSONL or Parquet, each also as .gz; - for a pipe")
    .option("--prompt <text>", "what the model should do with each line, with columns as in {{ Title }}")
    .option("--columns <columns>", "columns that the model sees, if the prompt names none; default: all")
    .option("--model <name>", "the model, as the provider names it")
    .option("--answer <fields>", "the new columns, as in categories:string[],mood:sad|glad; or: text")
    .option("--max-output-tokens <number>", "most tokens of an answer, with reasoning; default: 1024", parseNumber)
    .option("--out <file>", "the output; default: films.answers.csv for films.csv; - for stdout")
    .option("--force", "overwrite a file that this run did not write")
    .option("--pipeline <name>", "use request and answer of this pipeline of the config")
    .option("--key <column>", "the column that identifies a line; default: its content")
    .option("--name <name>", "a name for this question, to ask several about one file")
    .option("--try <number>", "first send this many lines live, and show the answers", parseNumber)
    .option("--limit <number>", "only this many lines, from the first", parseNumber)
    .option("--format <format>", "output format: csv, tsv, jsonl or parquet; default: from its name, else as the input")
    .option("--delimiter <character>", "the character between cells; default: detected")
    .option("--encoding <name>", "utf-8, utf-16le, utf-16be or latin1; default: detected")
    .option("--no-escape", "write answers that begin with =, +, - or @ as they are")
    .option("--detach", "send everything, then exit without waiting for answers")
    .option("--partial", "write the answers so far, and send nothing")
    .option("--retry", "send failed lines again")
    .option("--global", "keep the state in your user's state folder, not in .rowmill next to the file")
    .option("--list", "only list the files that you ran")
    .option("--forget", "only forget a file, or all: the next run sends and pays again")
    .option(...YES_OPTION)
    .option(...JSON_OPTION)
    .option(...QUIET_OPTION)
    .addOption(LOG_FORMAT)
    .action(run(cli, async () => (await import("./commands/run/run.js")).runRun));
  return withProject(file);
}

function initCommand(cli: Cli): Command {
  const rowsIn = (flags: string, text: string) => new Option(flags, text).conflicts(["table", "sql", "from"]);
  const init = command(
    "init",
    "init",
    "init --csv films.csv",
    'init --table films --columns title \\\n    --model MODEL --prompt "Summarize it." --answer text',
  )
    .description("Write a config file. Asks a few questions, unless these options answer them.")
    .option("--table <name>", "the table that has your rows")
    .addOption(
      rowsIn("--file <file>", "the file that has your rows, instead of a table: CSV, TSV, JSONL or Parquet, also .gz"),
    )
    .addOption(rowsIn("--csv <file>", "the same as --file").conflicts("file"))
    .addOption(new Option("--from <url>", "the MySQL, MariaDB or SQLite that has your rows").conflicts("sql"))
    .option("--key <columns>", "columns that identify a row, separated by commas; default: the primary key")
    .option("--columns <columns>", "columns that the model sees, separated by commas")
    .option("--model <name>", "the model, as the provider names it")
    .option("--prompt <text>", "what the model should do with each row")
    .option("--function", "insert the columns into the prompt with a function instead of a template")
    .option("--answer <fields>", "the fields of an answer, as in categories:string[],summary:string; or: text")
    .option("--target <table>", "the table for the answers; default: the name of your table and _answers")
    .option("--name <pipeline>", "the name of the pipeline; default: the name of your table")
    .option("--embedded", "use the embedded database, even if DATABASE_URL is set")
    .option("--sql <file>", "with --embedded: first run this SQL file in it, to create your tables")
    .option("--force", "overwrite an existing config")
    .action(run(cli, async () => (await import("./commands/start/init.js")).runInit));
  return withLogLevel(init);
}

function doctorCommand(cli: Cli): Command {
  const doctor = command("doctor", "doctor")
    .description("Check config, database, tables, provider and pipelines, and show how to fix what is wrong.")
    .option("--audit", "only check that Rowmill's records account for every row, batch and cent")
    .option(...JSON_OPTION)
    .action(run(cli, async () => (await import("./commands/start/doctor.js")).runDoctor));
  return withProject(doctor);
}

function upCommand(cli: Cli): Command {
  const once = new Option("--once", "do one round of work, then exit; for cron").conflicts("untilIdle");
  const printSql = new Option("--print-sql", "print the SQL of the setup without running it");
  const http = new Option(
    "--http <address>",
    "accept pushed rows and return results over HTTP, at an address such as 127.0.0.1:8788",
  ).argParser(parseHttp);
  const up = command("up", "up", "up --until-idle --yes", "up movies", "up --http 127.0.0.1:8788")
    .description("Set up triggers and tables, then work until Ctrl-C: send batches, collect answers.")
    .argument("[pipelines...]", "work on these only, and leave the others alone; default: all")
    .option("--until-idle", "send all waiting rows, wait for their answers, then exit")
    .addOption(once)
    .option("-y, --yes", "approve the cost of new and changed pipelines, and changes to their target tables")
    .addOption(http.conflicts(["once", "untilIdle"]))
    .addOption(printSql.conflicts(["once", "untilIdle", "yes", "http"]))
    .option(...QUIET_OPTION)
    .addOption(LOG_FORMAT)
    .action(run(cli, async () => (await import("./commands/run/up.js")).runUp));
  return withProject(up);
}

function planCommand(cli: Cli): Command {
  const plan = command("plan", "plan movies", "plan --requests 0 --json")
    .description("Show what up would send and why, its cost, and what is wrong. Sends and changes nothing.")
    .argument("[pipeline]", "default: all")
    .option("--requests <number>", "show this many requests of each pipeline, 0 to 20", parseRequests, REQUESTS_SHOWN)
    .option(...JSON_OPTION)
    .action(run(cli, async () => (await import("./commands/run/plan.js")).runPlan));
  return withProject(plan);
}

function tryCommand(cli: Cli): Command {
  const collect = (text: string, before: readonly string[] = []) => [...before, text];
  const numbers = (text: string, before: readonly number[] = []) => [...before, parseNumber(text)];
  const asking = ["rows", "key", "where", "random", "model", "promptFile"];
  const rows = new Option("-n, --rows <number>", "how many rows; default: 5, or all of --key").argParser(parseNumber);
  const key = new Option(
    "--key <key>",
    "only the row with this key; a JSON array for a composite key; can be repeated",
  );
  const random = new Option("--random", "random rows instead of the first ones by their key").conflicts("key");
  const accept = new Option(
    "--accept [try]",
    "write the answers of this try (default: the last one) to the target; no batch sends these rows again",
  );
  const list = new Option("--list", "list earlier tries");
  const compare = new Option("--compare <tries...>", "compare two tries, row by row").argParser(numbers);
  const tried = command("try", "try movies", "try movies --prompt-file new.txt --key 42", "try movies --accept")
    .description("Send a few rows live before a batch. Shows answers, problems, cost, and what changed.")
    .argument("[pipeline]", "default: the only one of the config")
    .addOption(rows.conflicts("key"))
    .option("--where <sql>", "only rows that match this SQL condition")
    .addOption(key.argParser(collect))
    .addOption(random)
    .option("--model <name>", "ask this model instead")
    .option("--prompt-file <file>", "use the text of this file as the template request.user")
    .addOption(accept.argParser(parseNumber).conflicts([...asking, "list", "compare"]))
    .addOption(list.conflicts([...asking, "compare"]))
    .addOption(compare.conflicts(asking))
    .option(...YES_OPTION)
    .option(...JSON_OPTION)
    .action(run(cli, async () => (await import("./commands/run/try.js")).runTry));
  return withProject(tried);
}

function approveCommand(cli: Cli): Command {
  const approve = command("approve", "approve movies")
    .description("Approve the cost of a new or changed pipeline. Shows the estimate and asks first.")
    .argument("<pipeline>")
    .addOption(
      new Option("--on-change <what>", "what to do with answered rows after the config changed").choices([
        "reask",
        "newOnly",
        "keep",
      ]),
    )
    .option(...YES_OPTION)
    .action(run(cli, async () => (await import("./commands/run/approve.js")).runApprove));
  return withProject(approve);
}

function flushCommand(cli: Cli): Command {
  const flush = command("flush", "flush movies")
    .description("Send waiting rows now, without waiting for the row threshold or the deadline.")
    .argument("[pipelines...]", "default: all")
    .action(run(cli, async () => (await import("./commands/run/flush.js")).runFlush));
  return withProject(flush);
}

function sweepCommand(cli: Cli): Command {
  const sweep = command("sweep", "sweep movies")
    .description("Compare every row with Rowmill's records, to find changes that no trigger reported.")
    .argument("[pipelines...]", "default: all")
    .option(...QUIET_OPTION)
    .action(run(cli, async () => (await import("./commands/run/sweep.js")).runSweep));
  return withProject(sweep);
}

function syncCommand(cli: Cli): Command {
  const sync = command("sync", "sync films", "sync films --accept-deletions")
    .description("Read rows from sources outside the database now, without waiting for the next scheduled time.")
    .argument("[pipelines...]", "default: all with such a source")
    .option("--full", "read all rows, to find deleted ones too")
    .addOption(
      new Option(
        "--accept-deletions",
        "delete the rows that disappeared from the source, even if they are more than a tenth of all",
      ).conflicts("full"),
    )
    .action(run(cli, async () => (await import("./commands/run/sync.js")).runSync));
  return withProject(sync);
}

function statusCommand(cli: Cli): Command {
  const status = command("status", "status --watch")
    .description("Show every pipeline and batch, what was spent, and what is paused and why.")
    .option("-w, --watch", "refresh until Ctrl-C; with --json, print one object per line when it changes")
    .option(...JSON_OPTION)
    .action(run(cli, async () => (await import("./commands/inspect/status.js")).runStatus));
  return withProject(status);
}

function showCommand(cli: Cli): Command {
  const show = command("show", "show movies 42")
    .description("Show everything about one row: its columns, requests, batches, costs, errors and answer.")
    .argument("<pipeline>")
    .argument("<key...>", "the row's key; for a composite key all its parts, or one JSON array")
    .option(...JSON_OPTION)
    .action(run(cli, async () => (await import("./commands/inspect/show.js")).runShow));
  return withProject(show);
}

function failuresCommand(cli: Cli): Command {
  const failures = command("failures", "failures movies")
    .description("Show why rows failed: each reason with its count, an example, and how to fix it.")
    .argument("[pipeline]", "default: all")
    .option("--reason <reason>", "only rows that failed for this reason, such as invalid; can be repeated", collect)
    .option("--key <key>", "only the row with this key; a JSON array for a composite key; can be repeated", collect)
    .option("--where <sql>", "only rows that match this SQL condition over their table: 'year > 2000'")
    .option(...JSON_OPTION)
    .action(run(cli, async () => (await import("./commands/inspect/failures.js")).runFailures));
  return withProject(failures);
}

const SHOWN_DEFAULT = 20;

function batchesCommand(cli: Cli): Command {
  const state = new Option(
    "--state <state>",
    "only batches that are open, have ended, were canceled by you, or have failed requests",
  ).choices(["open", "ended", "cancelled", "failed"]);
  const batches = command("batches", "batches movies --state open", "batches --since 7d --limit 50")
    .description("List batches, newest first: counts, times, and what they cost.")
    .argument("[pipeline]", "default: all")
    .addOption(state)
    .option("--since <time>", "only batches planned since then: 12h, 7d, or a day (UTC)", parseSince)
    .option("--limit <number>", "at most this many", parseLimit, SHOWN_DEFAULT)
    .option(...JSON_OPTION)
    .action(run(cli, async () => (await import("./commands/inspect/batches.js")).runBatches));
  return withProject(batches);
}

function logCommand(cli: Cli): Command {
  const log = command("log", "log 3473fe9e")
    .description("Show everything about one batch: its events, counts, money, files, and errors.")
    .argument("<batch>", "its ID, the beginning of it, or the provider's ID")
    .option(...JSON_OPTION)
    .action(run(cli, async () => (await import("./commands/inspect/log.js")).runLog));
  return withProject(log);
}

function costsCommand(cli: Cli): Command {
  const by = new Option(
    "--by <group>",
    "pipeline, version, model, day or batch; can be repeated (default: pipeline, model)",
  ).argParser((text: string, before: readonly string[] = []) => [...before, ...groupOf(text)]);
  const costs = command("costs", "costs", "costs movies --by day --since 30d")
    .description("Show what was estimated, reserved and spent, and what batches saved against live requests.")
    .argument("[pipeline]", "default: all")
    .addOption(by)
    .option("--since <time>", "only batches sent since then: 12h, 7d, or a day (UTC)", parseSince)
    .option("--limit <number>", "at most this many lines; the sum counts all", parseLimit, SHOWN_DEFAULT)
    .option(...JSON_OPTION)
    .action(run(cli, async () => (await import("./commands/inspect/costs.js")).runCosts));
  return withProject(costs);
}

function versionsCommand(cli: Cli): Command {
  const versions = command("versions", "versions movies")
    .description("Show each version of a pipeline's config: when, what changed, rows, cost and failures.")
    .argument("<pipeline>")
    .option("--limit <number>", "at most this many, newest first", parseLimit, SHOWN_DEFAULT)
    .option(...JSON_OPTION)
    .action(run(cli, async () => (await import("./commands/inspect/versions.js")).runVersions));
  return withProject(versions);
}

function exportCommand(cli: Cli): Command {
  const written = command(
    "export",
    "export movies --out movies.csv",
    `export movies --out new.parquet --where "year > 2020"`,
  )
    .description("Write the answered rows of a pipeline to a file.")
    .argument("<pipeline>")
    .requiredOption("--out <file>", "the file to write or replace: CSV, TSV, JSONL or Parquet, each also as .gz")
    .option("--where <condition>", "only rows of the source that match this SQL condition")
    .option("--format <format>", "csv, tsv, jsonl or parquet; default: by the name of the file")
    .option("--no-escape", "write answers that begin with =, +, - or @ as they are")
    .option(...JSON_OPTION)
    .action(run(cli, async () => (await import("./commands/inspect/export.js")).runExport));
  return withProject(written);
}

function retryCommand(cli: Cli): Command {
  const retry = command("retry", "retry movies", "retry movies --reason truncated --yes")
    .description("Retry failed rows: write answers that your table refused, and send the other rows again. Asks first.")
    .argument("[pipeline]", "default: all")
    .option("--reason <reason>", "only rows that failed for this reason, such as unwritable; can be repeated", collect)
    .option("--key <key>", "only the row with this key; a JSON array for a composite key; can be repeated", collect)
    .option("--where <sql>", "only rows that match this SQL condition over their table: 'year > 2000'")
    .option(...YES_OPTION)
    .option(...QUIET_OPTION)
    .option(...JSON_OPTION)
    .action(run(cli, async () => (await import("./commands/fix/retry.js")).runRetry));
  return withProject(retry);
}

function deliverCommand(cli: Cli): Command {
  const all = new Option("--all", "also answers that were delivered, for example after the target was restored");
  const deliver = command("deliver", "deliver movies --replay", "deliver movies --replay --all")
    .description("Deliver answers to a target outside the database again. Sends nothing to the provider.")
    .argument("[pipeline]", "default: all")
    .requiredOption("--replay", "queue the answers for delivery again")
    .option("--failed", "only answers that were not delivered; the default")
    .addOption(all.conflicts("failed"))
    .action(run(cli, async () => (await import("./commands/fix/deliver.js")).runDeliver));
  return withProject(deliver);
}

function cancelCommand(cli: Cli): Command {
  const cancel = command("cancel", "cancel 3473fe9e", "cancel movies --drop")
    .description("Cancel a batch, or all open batches of a pipeline. Finished answers are kept.")
    .argument("<batch|pipeline>", "a pipeline, or a batch: its ID, the beginning of it, or the provider's ID")
    .option("--drop", "drop its unanswered rows instead of sending them again")
    .option("--abandon", "give up a batch whose account is gone, and count its possible cost as spent")
    .option(...YES_OPTION)
    .option(...JSON_OPTION)
    .action(run(cli, async () => (await import("./commands/fix/cancel.js")).runCancel));
  return withProject(cancel);
}

function pauseCommand(cli: Cli): Command {
  const pause = command("pause", 'pause movies --reason "new prompt"')
    .description("Stop sending rows of a pipeline. Batches already sent are still collected.")
    .argument("<pipeline>")
    .option("--reason <text>", "a note that status shows")
    .action(run(cli, async () => (await import("./commands/fix/pause.js")).runPause));
  return withProject(pause);
}

function resumeCommand(cli: Cli): Command {
  const resume = command("resume", "resume movies")
    .description("Resume a paused pipeline.")
    .argument("<pipeline>")
    .option("--accept", "treat these failures as expected: do not pause for them again until the config changes")
    .action(run(cli, async () => (await import("./commands/fix/resume.js")).runResume));
  return withProject(resume);
}
