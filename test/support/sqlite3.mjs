/** `sqlite3 FILE [SQL]` as the examples use it, from the arguments or the input, since CI has no such program. */
import { readFileSync } from "node:fs";
import { createClient } from "@libsql/client";

const [file, text] = process.argv.slice(2);
const client = createClient({ url: `file:${file}`, timeout: 5_000 });
if (text === undefined) await client.executeMultiple(readFileSync(0, "utf8"));
else {
  const { rows } = await client.execute(text);
  for (const row of rows) process.stdout.write(`${Array.from(row).join("|")}\n`);
}
