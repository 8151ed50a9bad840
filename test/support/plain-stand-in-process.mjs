/**
 * The stand-in of "plain" in a process of its own: `plain-stand-in-process.mjs OPTIONS`, which are those of
 * `startPlainStandIn` as JSON. Says on standard output where it listens; `POST /faults` and `GET /journal` are for
 * the test.
 */
import { createJiti } from "jiti";

const jiti = createJiti(import.meta.url);
const { startPlainStandIn } = await jiti.import("./plain-stand-in.ts");
const standIn = await startPlainStandIn(JSON.parse(process.argv[2] ?? "{}"));
process.stdout.write(`${JSON.stringify({ url: standIn.url })}\n`);
process.once("SIGTERM", () => {
  void standIn.close().then(() => process.exit(0));
});
