/**
 * The floor: what any program must do that moves these rows through a provider, and nothing else. Rows are read by
 * key in chunks, bodies are as Rowmill's, a file is uploaded, a batch created and asked for, its answers are parsed
 * and written by one statement a chunk. No ledger, no retry, no check; nothing survives its end. Plain JavaScript, so
 * that no compiler is measured with it.
 *
 * `floor.mjs OPTIONS`, which are JSON: `databaseUrl`, `providerUrl`, `batchRequests` (in one file), `system` and
 * `model`.
 */
import pg from "pg";

const CHUNK_ROWS = 5_000;
const POLLS_MAX = 1_000;
const CALL_MS_MAX = 600_000;

const responseFormat = {
  type: "json_schema",
  json_schema: {
    name: "answer",
    strict: true,
    schema: {
      type: "object",
      properties: {
        categories: { type: "array", items: { type: "string" } },
        summary: { type: "string" },
      },
      required: ["categories", "summary"],
      additionalProperties: false,
    },
  },
};

const { databaseUrl, providerUrl, batchRequests, system, model } = JSON.parse(process.argv[2] ?? "{}");
const client = new pg.Client({ connectionString: databaseUrl });
await client.connect();
let after = 0;
while (after !== null) after = await moveBatch(after);
await client.end();

/** From behind a key; gives the last key of the batch, null when there is none any more. */
async function moveBatch(from) {
  const { chunks, last } = await buildLines(from);
  if (chunks.length === 0) return null;
  const form = new FormData();
  form.set("purpose", "batch");
  form.set("file", new Blob(chunks), "input.jsonl");
  const { id: fileId } = await call("POST", "/files", form);
  const wanted = { input_file_id: fileId, endpoint: "/v1/chat/completions", completion_window: "24h" };
  const { id: batchId } = await call("POST", "/batches", JSON.stringify(wanted));
  await collect(await outputOf(batchId));
  await call("DELETE", `/files/${fileId}`);
  return last;
}

async function buildLines(from) {
  const chunks = [];
  let last = from;
  for (let left = batchRequests; left > 0; left -= CHUNK_ROWS) {
    const wanted = Math.min(left, CHUNK_ROWS);
    const { rows } = await client.query(
      "select id, title, description from public.films where id > $1 order by id limit $2",
      [last, wanted],
    );
    if (rows.length > 0) chunks.push(Buffer.from(rows.map(lineOf).join("")));
    last = rows.at(-1)?.id ?? last;
    if (rows.length < wanted) break;
  }
  return { chunks, last };
}

function lineOf({ id, title, description }) {
  const messages = [
    { role: "system", content: system },
    { role: "user", content: `${title}: ${description}` },
  ];
  const body = {
    model,
    messages,
    max_completion_tokens: 200,
    response_format: responseFormat,
    temperature: 0.1,
  };
  return `${JSON.stringify({ custom_id: id, method: "POST", url: "/v1/chat/completions", body })}\n`;
}

async function outputOf(batchId) {
  for (let polls = 0; polls < POLLS_MAX; polls++) {
    const { status, output_file_id: fileId } = await call("GET", `/batches/${batchId}`);
    if (status === "completed") return fileId;
  }
  throw new Error(`The batch was not done after ${POLLS_MAX} polls.`);
}

async function collect(fileId) {
  const signal = AbortSignal.timeout(CALL_MS_MAX);
  const response = await fetch(`${providerUrl}/files/${fileId}/content`, { signal });
  const decoder = new TextDecoder();
  let rest = "";
  let answers = [];
  for await (const bytes of response.body) {
    const lines = (rest + decoder.decode(bytes, { stream: true })).split("\n");
    rest = lines.pop();
    for (const line of lines) answers.push(answerOf(line));
    if (answers.length < CHUNK_ROWS) continue;
    await write(answers);
    answers = [];
  }
  if (answers.length > 0) await write(answers);
}

function answerOf(line) {
  const { custom_id: id, response } = JSON.parse(line);
  const { categories, summary } = JSON.parse(response.body.choices[0].message.content);
  return { id, categories, summary };
}

async function write(answers) {
  await client.query(
    `insert into public.film_labels (id, categories, summary)
      select id, categories, summary
        from json_to_recordset($1::json) as x (id bigint, categories text[], summary text)`,
    [JSON.stringify(answers)],
  );
}

async function call(method, path, body) {
  const headers = typeof body === "string" ? { "content-type": "application/json" } : {};
  const signal = AbortSignal.timeout(CALL_MS_MAX);
  const init = { method, headers, signal, ...(body === undefined ? {} : { body }) };
  const response = await fetch(providerUrl + path, init);
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
  return JSON.parse(await response.text());
}
