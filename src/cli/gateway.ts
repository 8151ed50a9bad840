/** `rowmill gateway`: the local Batch API server, until Ctrl-C. */
import { resolve } from "node:path";
import { Command, InvalidArgumentError } from "commander";
import { completeFromDotenv } from "../config/dotenv.js";
import { RowmillError } from "../model/errors.js";
import { withLogLevel, type Cli, type LogOptions } from "./cli.js";
import { exitStatus } from "./exit-status.js";
import { listenForInterruption } from "./interruption.js";

interface GatewayCommandOptions extends LogOptions {
  readonly demoModel?: true;
  readonly host: string;
  readonly port: number;
  readonly dataDir: string;
  readonly apiKeyFile?: string;
}

const PORT_DEFAULT = 4_477;
const PORT_MAX = 65_535;

export function gatewayCommand(cli: Cli): Command {
  return withLogLevel(new Command("gateway"))
    .description("a local server that speaks OpenAI's Files and Batches API")
    .option("--demo-model", "answer by rules and word lists: no language model, and nothing to pay")
    .option("--host <address>", "where to listen", "127.0.0.1")
    .option("--port <number>", "0: any free port", parsePort, PORT_DEFAULT)
    .option("--data-dir <folder>", "where files and batches are kept", ".rowmill/gateway")
    .option("--api-key-file <file>", "take only the keys in this file, one a line")
    .action(async (options: GatewayCommandOptions) => cli.finish(await serve(cli, options)));
}

function parsePort(text: string): number {
  const port = Number(text);
  if (/^\d+$/.test(text) && port <= PORT_MAX) return port;
  throw new InvalidArgumentError(`A port is a whole number from 0 to ${PORT_MAX}.`);
}

/** A stop by Ctrl-C is the usual end of a server, and no failure. */
async function serve({ terminal }: Cli, options: GatewayCommandOptions): Promise<number> {
  const { host, port, demoModel = false } = options;
  const { runGateway, keysVariable } = await import("../gateway/command.js");
  await completeFromDotenv(process.env, process.cwd());
  const keys = { file: options.apiKeyFile ?? null, variable: process.env[keysVariable] || null };
  const warn = (text: string) => terminal.note(`Warning: ${text}`);
  const interruption = listenForInterruption(() => undefined);
  try {
    const dataDir = resolve(options.dataDir);
    await runGateway({ host, port, dataDir, demoModel, keys, warn, signal: interruption.signal });
    return exitStatus.ok;
  } catch (error) {
    throw explainListen(error, options);
  } finally {
    interruption.dispose();
  }
}

const listenErrors: Readonly<Record<string, string>> = {
  EADDRINUSE: "is in use",
  EACCES: "may not be used by this user",
  EADDRNOTAVAIL: "is no address of this machine",
  ENOTFOUND: "is no address of this machine",
};

function explainListen(error: unknown, { host, port }: GatewayCommandOptions): unknown {
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  const why = listenErrors[code];
  if (why === undefined || error instanceof RowmillError) return error;
  return new RowmillError("usage", `The gateway cannot listen: ${host}:${port} ${why}.`, {
    cause: error,
    hints: ["Choose another one with --port and --host; --port 0 takes any free port."],
  });
}
