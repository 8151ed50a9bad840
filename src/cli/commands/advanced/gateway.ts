/** `rowmill gateway`: the local Batch API server, until Ctrl-C. */
import { resolve } from "node:path";
import { completeFromDotenv } from "../../../config/load/dotenv.js";
import { KEYS_VARIABLE, runGateway } from "../../../gateway/command.js";
import { RowmillError } from "../../../model/errors.js";
import type { Cli, LogOptions } from "../../cli.js";
import { EXIT_STATUS } from "../../screen/exit-status.js";
import { interruptible } from "../../screen/interruption.js";

export interface GatewayOptions extends LogOptions {
  readonly demoModel?: true;
  readonly host: string;
  readonly port: number;
  readonly dataDir: string;
  readonly apiKeyFile?: string;
  readonly callsPerMinute: number;
  readonly keepDays: number;
  readonly journalMb: number;
}

const DAY_SECONDS = 86_400;
const MEGABYTE = 1_000_000;

export async function serveGateway({ terminal }: Cli, options: GatewayOptions): Promise<number> {
  const { host, port, demoModel = false } = options;
  await completeFromDotenv(process.env, process.cwd());
  const keys = { file: options.apiKeyFile ?? null, variable: process.env[KEYS_VARIABLE] || null };
  const warn = (text: string) => terminal.note(`! Warning: ${text}`);
  const dataDir = resolve(options.dataDir);
  const tell = options.logFormat === "json" ? (text: string) => terminal.note(text) : null;
  const { callsPerMinute, keepDays, journalMb } = options;
  const retention = { batchSeconds: keepDays * DAY_SECONDS, journalBytesMax: journalMb * MEGABYTE };
  const bounds = { limits: { callsPerMinute }, retention };
  return interruptible(terminal, null, async (signal) => {
    try {
      await runGateway({ host, port, dataDir, demoModel, keys, bounds, warn, tell, signal });
      return EXIT_STATUS.ok;
    } catch (error) {
      throw explainListen(error, options);
    }
  });
}

const LISTEN_ERRORS: Readonly<Record<string, string>> = {
  EADDRINUSE: "is in use",
  EACCES: "is not allowed for this user",
  EADDRNOTAVAIL: "is not an address of this machine",
  ENOTFOUND: "is not an address of this machine",
};

function explainListen(error: unknown, { host, port }: GatewayOptions): unknown {
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  const why = LISTEN_ERRORS[code];
  if (why === undefined || error instanceof RowmillError) return error;
  return new RowmillError("usage", `The gateway cannot listen: ${host}:${port} ${why}.`, {
    cause: error,
    hints: ["Choose another address with --host, or any free port with: --port 0"],
  });
}
