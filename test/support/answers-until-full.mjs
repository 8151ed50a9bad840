/** Delivers more and more answers into the file of the argument, until the system refuses one; prints how it fails. */
import { randomBytes } from "node:crypto";
import { createJiti } from "jiti";

const { files } = await createJiti(import.meta.url).import("../../src/connectors/files/files.ts");

// The system ends a process that writes more than it may, unless it wants the error.
process.on("SIGXFSZ", () => undefined);
const ROUNDS_MAX = 200;
const { signal } = new AbortController();
const target = files(process.argv[2]);
const fields = ["label", "score", "tags", "good"].map((field) => ({
  field,
  type: "text",
  nullable: true,
  check: null,
}));
await target.prepare({ pipeline: "films", fields, key: [{ name: "id", type: "text" }], signal });
try {
  for (let round = 0; round < ROUNDS_MAX; round++) {
    const cells = { label: randomBytes(8_000).toString("base64") };
    await target.write([{ key: `row-${round}`, fence: `${round + 10}`, model: "m", cells }], {
      pipeline: "films",
      id: `${round}`,
      signal,
    });
    await target.settle({ pipeline: "films", signal });
  }
} catch (error) {
  process.stdout.write(`${error.kind}: ${error.message}\n`);
}
