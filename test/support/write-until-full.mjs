/** Writes the file of the first argument into the folder of the second, in three ways; prints how each one fails. */
import { createReadStream } from "node:fs";
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { createJiti } from "jiti";

const jiti = createJiti(import.meta.url);
const { lookAtFile } = await jiti.import("../../src/files/look-at-file.ts");
const { openWriter } = await jiti.import("../../src/files/open-writer.ts");
const { readRecords } = await jiti.import("../../src/files/read-records.ts");
const { spoolPipe } = await jiti.import("../../src/files/spool-pipe.ts");

const [path, folder] = process.argv.slice(2);
// The system ends a process that writes more than it may, unless it wants the error.
process.on("SIGXFSZ", () => undefined);
const answer = [{ field: "label", type: "text", nullable: true, check: null }];

async function write(name) {
  const look = await lookAtFile(path);
  const options = { answer, errors: false, escapeFormulas: true, overwrite: false };
  const writer = await openWriter(join(folder, name), look, options);
  for await (const { records } of readRecords(look)) {
    const label = randomBytes(1000).toString("base64");
    await writer.write(records.map((record) => ({ record, answer: { label }, error: null })));
  }
  await writer.commit();
}

for (const tried of [
  () => write("out.csv"),
  () => write("out.csv.gz"),
  () => spoolPipe(createReadStream(path), folder),
]) {
  await tried().catch((error) => process.stdout.write(`${error.message}\n`));
}
