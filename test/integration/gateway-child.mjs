/**
 * A gateway in a process of its own, to be killed or measured: `gateway-child.mjs DATA_DIR LATENCY_MS`. Says on
 * standard output where it listens and how much memory it has, and after SIGTERM how much it had at most.
 */
import { startGateway } from "../../dist/gateway/gateway.js";

const [dataDir = "", latencyMs = "0"] = process.argv.slice(2);
const gateway = await startGateway({
  dataDir,
  demoModel: true,
  batchDelayMs: 0,
  latencyMs: Number(latencyMs),
});
process.stdout.write(`${JSON.stringify({ url: gateway.url, rssBytes: process.memoryUsage().rss })}\n`);
process.once("SIGTERM", () => {
  void closeAndTell();
});

async function closeAndTell() {
  await gateway.close();
  process.stdout.write(`${JSON.stringify({ rssBytesMax: process.resourceUsage().maxRSS * 1024 })}\n`);
}
