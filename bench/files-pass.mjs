/** One pass over a file, in a process of its own: `bare FILE`, `read FILE`, `convert FILE OUT` or `label FILE OUT`. */
import { createReadStream } from "node:fs";
import { createInterface } from "node:readline";
import { lookAtFile } from "../dist/files/look-at-file.js";
import { openWriter } from "../dist/files/open-writer.js";
import { readRecords } from "../dist/files/read-records.js";

const [pass, path, out] = process.argv.slice(2);

/** What any script does: its lines as texts, without their cells. */
async function bare() {
  for await (const line of createInterface({ input: createReadStream(path) })) if (line === "never") break;
}

async function read() {
  for await (const { records } of readRecords(await lookAtFile(path))) if (records.length === 0) break;
}

const convert = () => write([], false);
const label = () => write(["category", "summary"], true);

async function write(fields, errors) {
  const look = await lookAtFile(path);
  const answer = fields.map((field) => ({ field, type: "text", nullable: true, check: null }));
  const options = { answer, errors, escapeFormulas: true, overwrite: true };
  const writer = await openWriter(out, look, options);
  for await (const { records } of readRecords(look)) {
    const cells = { category: "drama", summary: "Two people meet, and part." };
    await writer.write(records.map((record) => ({ record, answer: cells, error: null })));
  }
  await writer.commit();
}

await { bare, read, convert, label }[pass]();
