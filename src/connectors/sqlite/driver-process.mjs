/**
 * The process that the driver runs in. Its calls block, cannot be stopped, and end the process at a text that is not
 * UTF-8, so texts are read as bytes. In JavaScript, since Node runs it as it is, from the source too. It ends when its
 * parent does, and what was not committed is rolled back then.
 */
const ENCODINGS = { "UTF-16le": "utf-16le", "UTF-16be": "utf-16be" };
/** Not well-formed, so that Rowmill refuses a row with it. */
const NO_TEXT = "\uD800";

let client = null;
let transaction = null;
let decoder = null;

const calls = {
  async open({ url, authToken, busyMs, isFile }) {
    const { createClient } = await import("@libsql/client");
    client = createClient({ url, intMode: "bigint", concurrency: 2, timeout: busyMs, ...(authToken && { authToken }) });
    const [row] = rowsOf(await client.execute(isFile ? "pragma encoding" : "select 'UTF-8'"));
    decoder = new TextDecoder(ENCODINGS[row[0]] ?? "utf-8", { fatal: true, ignoreBOM: true });
  },
  async begin() {
    transaction = await client.transaction("write");
  },
  async commit() {
    await transaction.commit();
    transaction = null;
  },
  async rollback() {
    transaction?.close();
    transaction = null;
  },
  /** A statement, as rows of values. */
  async run({ sql, args }) {
    return rowsOf(await (transaction ?? client).execute({ sql, args }));
  },
  /** A statement that gives the type and the value of each cell: the texts, and one letter for each type. */
  async read({ sql, args }) {
    return rowsOf(await (transaction ?? client).execute({ sql, args })).map(cellsOf);
  },
  /** Statements of the open transaction; one that fails leaves the others, unless it ends the transaction. */
  async runEach({ statements }) {
    const errors = statements.map(() => null);
    for (let at = 0; at < statements.length;) {
      try {
        await transaction.batch(statements.slice(at));
        break;
      } catch (error) {
        if (typeof error.statementIndex !== "number") throw error;
        at += error.statementIndex;
        errors[at] = shown(error);
        at += 1;
        if (!(await isOpen())) return { errors, isOpen: false };
      }
    }
    return { errors, isOpen: true };
  },
};

async function isOpen() {
  try {
    await transaction.execute("select 1");
    return true;
  } catch {
    return false;
  }
}

function rowsOf({ rows }) {
  return rows.map((row) => Array.from(row));
}

function cellsOf(row) {
  const texts = [];
  let types = "";
  for (let at = 0; at < row.length; at += 2) {
    const [type, value] = [row[at], row[at + 1]];
    types += type[0];
    texts.push(textOf(type, value));
  }
  return [types, texts];
}

function textOf(type, value) {
  if (type === "null") return null;
  if (type === "blob") return `\\x${Buffer.from(value).toString("hex")}`;
  if (type !== "text") return String(value);
  try {
    return decoder.decode(value);
  } catch {
    return NO_TEXT;
  }
}

function shown({ message, code, rawCode, extendedCode, name }) {
  return { message: String(message), code, rawCode, extendedCode, name };
}

process.on("message", async ({ id, call, of }) => {
  let answer;
  try {
    answer = { id, value: await calls[call](of) };
  } catch (error) {
    answer = { id, error: shown(error) };
  }
  if (process.connected) process.send(answer);
});
process.on("disconnect", () => process.exit(0));
// Ctrl-C reaches all processes of a terminal: this one ends with its parent.
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => undefined);
