/**
 * `rowmill gateway`: starts the server, says how to use it, stops on the signal. The CLI owns arguments and signals.
 */
import { RowmillError } from "../model/errors.js";
import { startGateway } from "./gateway.js";

export interface GatewayCommand {
  readonly host: string;
  readonly port: number;
  readonly dataDir: string;
  readonly demoModel: boolean;
  /** Aborted when the user wants it to end. */
  readonly signal: AbortSignal;
}

/** Long enough that a person who watches sees the statuses pass. */
const BATCH_DELAY_MS = 300;

/** Resolves when the gateway has stopped. Throws `usage` without the demo model: nothing else is built yet. */
export async function runGateway({ host, port, dataDir, demoModel, signal }: GatewayCommand): Promise<void> {
  if (!demoModel) {
    throw new RowmillError("usage", "The gateway cannot forward to a model endpoint yet.", {
      hints: ["Start it with --demo-model, which answers by rules and word lists."],
    });
  }
  if (signal.aborted) return;
  const gateway = await startGateway({ host, port, dataDir, demoModel, batchDelayMs: BATCH_DELAY_MS });
  process.stdout.write(startText(gateway.url, dataDir));
  try {
    await aborted(signal);
  } finally {
    await gateway.close();
  }
  process.stdout.write("The gateway has stopped.\n");
}

function startText(url: string, dataDir: string): string {
  return [
    `The gateway listens on ${url} and keeps its state in ${dataDir}.`,
    "",
    "  NO LANGUAGE MODEL ANSWERS HERE. The demo model works by rules and word lists; its answers look plausible",
    "  and are always the same for the same text. Use it to try and to test, not for results.",
    "",
    "To use it:",
    "",
    `  OPENAI_BASE_URL=${url}`,
    "  OPENAI_API_KEY=demo",
    "",
    "Stop it with Ctrl-C; it goes on where it stood when it is started again on the same folder.",
    "",
  ].join("\n");
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
