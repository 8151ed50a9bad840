/**
 * A process that a test may kill: `open DIR` attaches to the embedded database, `lock DIR` takes the worker lock.
 * It prints one line of JSON when that is done, and stays until its standard input ends.
 */
import { once } from "node:events";
import { acquireWorkerLock, openEmbedded } from "../../dist/embedded/embedded.js";

const [verb = "", dataDir = ""] = process.argv.slice(2);
if (verb === "open") {
  const { url } = await openEmbedded({ dataDir });
  process.stdout.write(`${JSON.stringify({ url })}\n`);
} else {
  const lock = await acquireWorkerLock({ dataDir, command: "rowmill up" });
  process.stdout.write(`${JSON.stringify("heldBy" in lock ? lock : { locked: true })}\n`);
}
process.stdin.resume();
await once(process.stdin, "end");
process.exit(0);
