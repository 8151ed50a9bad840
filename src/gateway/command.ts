/** `rowmill gateway`: starts the server with its keys, prints how to use it, stops on the signal of the CLI. */
import { once } from "node:events";
import { RowmillError } from "../model/errors.js";
import { keysFromFile, keysFromVariable, ownKeyOf, type GivenKeys } from "./storage/api-keys.js";
import { oneLine } from "../model/words/one-line.js";
import { startGateway, type GatewayOptions } from "./gateway.js";

export const KEYS_VARIABLE = "ROWMILL_GATEWAY_KEYS";

export interface GatewayCommand {
  readonly host: string;
  readonly port: number;
  readonly dataDir: string;
  readonly demoModel: boolean;
  /** Keys from a file, else the value of ROWMILL_GATEWAY_KEYS, else the gateway makes its own. */
  readonly keys: { readonly file: string | null; readonly variable: string | null };
  readonly bounds: Required<Pick<GatewayOptions, "limits" | "retention">>;
  readonly warn: (text: string) => void;
  /** For a log: takes one line each at the start and the end. Null: instructions on stdout. */
  readonly tell: ((text: string) => void) | null;
  readonly signal: AbortSignal;
}

/** Long enough that you can see each status. */
const BATCH_DELAY_MS = 300;

/** Hosts that mean all addresses, and this machine's address for them. */
const EVERY_ADDRESS: Readonly<Record<string, string>> = { "0.0.0.0": "127.0.0.1", "::": "[::1]" };

/** Resolves when the gateway has stopped. @throws RowmillError `usage` without the demo model */
export async function runGateway(command: GatewayCommand): Promise<void> {
  const { host, port, dataDir, demoModel, bounds, tell, signal } = command;
  if (!demoModel) {
    throw new RowmillError("usage", "The gateway cannot forward to a model endpoint yet.", {
      hints: ["Add --demo-model: it answers by rules and word lists."],
    });
  }
  if (signal.aborted) return;
  const { given, how, where } = readKeys(command);
  for (const warning of given.warnings) command.warn(warning);
  const settings = { host, port, dataDir, demoModel, apiKeys: given.keys, batchDelayMs: BATCH_DELAY_MS, ...bounds };
  const gateway = await startGateway(settings);
  const url = urlFor(host, gateway.url);
  if (tell === null) process.stdout.write(startText(url, oneLine(dataDir), how.map(oneLine)));
  else tell(`${listens(url, dataDir)} It accepts ${oneLine(where)}. Its demo model is not a language model.`);
  try {
    if (!signal.aborted) await once(signal, "abort");
  } finally {
    await gateway.close();
  }
  if (tell === null) process.stdout.write("The gateway has stopped.\n");
  else tell("The gateway has stopped.");
}

interface Keys {
  readonly given: GivenKeys;
  /** Lines that show how to set one. Given keys are not printed. */
  readonly how: readonly string[];
  /** The same for a log, which shows none. */
  readonly where: string;
}

function readKeys({ keys, dataDir }: GatewayCommand): Keys {
  const oneOf = (place: string) => ({
    how: [`  # and set OPENAI_API_KEY to one of the keys in ${place}`, "", "It accepts no other key."],
    where: `the keys in ${place}`,
  });
  if (keys.file !== null) return { given: keysFromFile(keys.file), ...oneOf(keys.file) };
  if (keys.variable !== null) return { given: keysFromVariable(keys.variable, KEYS_VARIABLE), ...oneOf(KEYS_VARIABLE) };
  const own = ownKeyOf(dataDir);
  const how = [
    `  export OPENAI_API_KEY=${own.keys[0]?.key ?? ""}`,
    "",
    `It accepts no other key. This one is kept in ${own.path}, and later starts use it again.`,
  ];
  return { given: own, how, where: `the API key in ${own.path}` };
}

function urlFor(host: string, url: string): string {
  const reachable = EVERY_ADDRESS[host];
  return reachable === undefined ? url : url.replace(/\/\/(?:\[::\]|0\.0\.0\.0):/, `//${reachable}:`);
}

function listens(url: string, dataDir: string): string {
  return `The gateway listens on ${url} and keeps its state in ${oneLine(dataDir)}.`;
}

function startText(url: string, dataDir: string, how: readonly string[]): string {
  return [
    listens(url, dataDir),
    "",
    "  NO LANGUAGE MODEL ANSWERS HERE. The demo model works by rules and word lists: its answers look plausible,",
    "  and the same text always gets the same answer. Use it for trials and tests, not for results.",
    "",
    "To use it:",
    "",
    `  export OPENAI_BASE_URL=${url}`,
    ...how,
    "",
    "Stop it with Ctrl-C. The next start with the same folder continues where it stopped.",
    "",
  ].join("\n");
}
