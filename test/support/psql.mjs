/**
 * What the examples use of psql, for machines without it: `psql URL [-1] [-f FILE]… [-c SQL]…`, in one session,
 * stopping at the first error. As in psql, a file is sent statement by statement, and `-1` runs all of it between
 * BEGIN and COMMIT. A file may hold `\copy TABLE from 'FILE' with (…)`, on a line of its own. Rows are printed as
 * JSON, one a line.
 */
import { createReadStream, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { pipeline } from "node:stream/promises";
import { parseArgs } from "node:util";
import pg from "pg";
import { from as copyFrom } from "pg-copy-streams";

const { tokens } = parseArgs({
  tokens: true,
  allowPositionals: true,
  options: {
    "single-transaction": { type: "boolean", short: "1" },
    file: { type: "string", short: "f", multiple: true },
    command: { type: "string", short: "c", multiple: true },
  },
});
const url = tokens.find((token) => token.kind === "positional")?.value;
const isSingle = tokens.some(({ kind, name }) => kind === "option" && name === "single-transaction");
/** A statement to its semicolon; those in comments, texts, quoted names and bodies of functions do not end it. */
const STATEMENT =
  /(?:--[^\n]*|\/\*[^]*?\*\/|\bE'(?:[^'\\]|''|\\[^])*'|'(?:[^']|'')*'|"(?:[^"]|"")*"|\$(\w*)\$[^]*?\$\1\$|[^;])+;?/gi;
const client = new pg.Client({ connectionString: url });
await client.connect();
try {
  if (isSingle) await client.query("begin");
  for (const { kind, name, value } of tokens) {
    if (kind !== "option") continue;
    if (name === "command") await runSql(value);
    if (name === "file") await runFile(value);
  }
  if (isSingle) await client.query("commit");
} finally {
  await client.end();
}

async function runFile(file) {
  for (const part of readFileSync(file, "utf8").split(/^(\\copy .*)$/m)) {
    const copy = /^\\copy (?<into>.+) from '(?<source>[^']+)'(?<how>.*)$/.exec(part)?.groups;
    if (copy === undefined) {
      for (const [statement] of part.matchAll(STATEMENT)) await runSql(statement);
      continue;
    }
    const rows = createReadStream(join(dirname(file), copy.source));
    await pipeline(rows, client.query(copyFrom(`copy ${copy.into} from stdin${copy.how}`)));
  }
}

async function runSql(text) {
  for (const { rows } of [await client.query(text)].flat())
    for (const row of rows) process.stdout.write(`${JSON.stringify(row)}\n`);
}
