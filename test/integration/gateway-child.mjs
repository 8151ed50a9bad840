/**
 * A gateway in a process of its own, to be killed or measured: `gateway-child.mjs DATA_DIR LATENCY_MS`. Says on
 * standard output where it listens and how much memory is in use, and after SIGTERM the most that was. What counts is
 * what is still in use after a collection of garbage: when V8 would collect by itself depends on the machine's load.
 */
import { startGateway } from "../../dist/gateway/gateway.js";

const SAMPLE_MS = 250;
const [dataDir = "", latencyMs = "0"] = process.argv.slice(2);
const gateway = await startGateway({
  dataDir,
  demoModel: true,
  batchDelayMs: 0,
  latencyMs: Number(latencyMs),
});
let usedBytesMax = usedBytes();
process.stdout.write(`${JSON.stringify({ url: gateway.url, usedBytes: usedBytesMax })}\n`);
setInterval(() => (usedBytesMax = Math.max(usedBytesMax, usedBytes())), SAMPLE_MS);
process.once("SIGTERM", () => {
  void closeAndTell();
});

async function closeAndTell() {
  await gateway.close();
  process.stdout.write(`${JSON.stringify({ usedBytesMax })}\n`, () => process.exit(0));
}

function usedBytes() {
  globalThis.gc();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}
