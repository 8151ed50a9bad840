/** Delivers rounds of answers into a SQLite file with the built package, without end, until it is killed. */
import { sqlite } from "../../dist/index.js";

const { signal } = new AbortController();
const KEYS = Array.from({ length: 200 }, (_, at) => `row-${at}`);
const fields = [{ field: "label", type: "text", nullable: true, check: null }];
const target = sqlite({ url: `file:${process.env.PATH_OF_FILE}`, table: "labels" });
await target.prepare({ pipeline: "films", fields, signal });
for (let fence = Number(process.env.FENCE); ; fence++) {
  const label = `${fence} ${"x".repeat(2_000)}`;
  const changes = KEYS.map((key) => ({ key, fence: String(fence), model: "m", cells: { label } }));
  const { written } = await target.write(changes, { pipeline: "films", id: String(fence), signal });
  if (written.length === KEYS.length) process.send(fence);
}
