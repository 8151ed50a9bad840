/** The commands that few need, as command-list.ts has the others. */
import { Argument, Command, Option } from "commander";
import { withLogLevel, withProject, type Cli } from "./cli.js";
import { command, JSON_OPTION, LOG_FORMAT, run, YES_OPTION, collect } from "./command-parts.js";
import { parseNumber, parsePort } from "./option-values.js";

const GATEWAY_PORT = 4_477;

export function adoptCommand(cli: Cli): Command {
  const pattern = "how your code named its requests, with key columns in braces: 'task-{imdb_id}'";
  const adopt = command("adopt", "adopt batch_68a1 --pipeline movies \\\n    --custom-id 'task-{imdb_id}'")
    .description("Collect a batch that your own code created at the provider, without paying again.")
    .argument("<batch_id>", "the provider's ID of the batch")
    .requiredOption("--pipeline <name>", "the pipeline whose rows the batch asks about")
    .requiredOption("--custom-id <pattern>", pattern)
    .option(...YES_OPTION)
    .option(...JSON_OPTION)
    .action(run(cli, async () => (await import("./commands/advanced/adopt.js")).runAdopt));
  return withProject(adopt);
}

export function deploymentCommand(cli: Cli): Command {
  const deployment = command("deployment", "deployment", "deployment --restored")
    .description("Show which database has Rowmill's records, or confirm that it was restored or copied.")
    .option("--restored", "the previous database is gone; this one takes its place")
    .option("--copy", "the other database is still in use; this one becomes a separate ledger")
    .option(...YES_OPTION)
    .option(...JSON_OPTION)
    .action(run(cli, async () => (await import("./commands/advanced/deployment.js")).runDeployment));
  return withProject(deployment);
}

export function tokensCommand(cli: Cli): Command {
  const scope = new Option("--scope <scope>", "with create: what it may do").choices(SCOPES);
  const tokens = command("tokens", "tokens", "tokens create --scope push --pipeline movies", "tokens revoke 3")
    .description("List, create or revoke the tokens of the HTTP service.")
    .addArgument(new Argument("[action]", "what to do").choices(["list", "create", "revoke"]).default("list"))
    .argument("[number]", "with revoke: the token's number")
    .addOption(scope)
    .option("--pipeline <name>", "with create: for this pipeline only; default: all")
    .option("--note <text>", "with create: what it is for, shown in the list")
    .option(...JSON_OPTION)
    .action(run(cli, async () => (await import("./commands/advanced/tokens.js")).runTokens));
  return withProject(tokens);
}

/** What a token may do; `operate` may push and read too, `admin` everything. */
const SCOPES = ["push", "read", "operate", "admin"] as const;

export function forgetCommand(cli: Cli): Command {
  const forget = command("forget", "forget movies --key 42", "forget movies --key 42 --key 43 --answers --yes")
    .description("Erase Rowmill's copies of rows: pushed rows, texts, kept answers. Asks first.")
    .argument("<pipeline>")
    .requiredOption("--key <key>", "the row with this key; a JSON array for a composite key; can be repeated", collect)
    .option("--answers", "also delete these rows from the target table")
    .option(...YES_OPTION)
    .option(...JSON_OPTION)
    .action(run(cli, async () => (await import("./commands/advanced/forget.js")).runForget));
  return withProject(forget);
}

export function gatewayCommand(cli: Cli): Command {
  const gateway = command("gateway", "gateway --demo-model --port 4477")
    .description("Run a local server with OpenAI's Files and Batches API.")
    .option("--demo-model", "answer with rules and word lists: no language model, no cost")
    .option("--host <address>", "the address to listen on", "127.0.0.1")
    .option("--port <number>", "the port to listen on; 0 for any free one", parsePort, GATEWAY_PORT)
    .option("--data-dir <folder>", "the folder for files and batches", ".rowmill/gateway")
    .option("--api-key-file <file>", "accept only the API keys in this file, one per line")
    .option("--calls-per-minute <number>", "calls that each key may make per minute; more get 429", parseNumber, 60_000)
    .option("--keep-days <days>", "delete batches and their output files this long after their end", parseNumber, 30)
    .option(
      "--journal-mb <megabytes>",
      "largest size of the journal; beyond it the oldest entries are deleted",
      parseNumber,
      1_000,
    )
    .addOption(LOG_FORMAT)
    .action(run(cli, async () => (await import("./commands/advanced/gateway.js")).serveGateway));
  return withLogLevel(gateway);
}

export function uninstallCommand(cli: Cli): Command {
  const uninstall = command("uninstall", "uninstall movies")
    .description("Remove Rowmill's triggers from your tables. Your rows and answers stay.")
    .argument("[pipelines...]", "also those that are no longer in the config; default: all")
    .option("--purge", "also drop the schemas rowmill and rowmill_worker, with the record of all requests and costs")
    .option("--pushed-rows", "also drop the rows that were pushed: Rowmill has their only copy")
    .option("-y, --yes", "do not ask; pushed rows stay unless you add --pushed-rows")
    .action(run(cli, async () => (await import("./commands/advanced/uninstall.js")).runUninstall));
  return withProject(uninstall);
}
