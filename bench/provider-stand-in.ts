/**
 * A provider's batch API that answers at once, as a process of its own: `provider-stand-in.ts OPTIONS`, which are
 * JSON. Speaks OpenAI's Files and Batches API as far as Rowmill and the floor use it, and is as cheap as can be,
 * since it shares the cores with what is measured: a file stays one buffer, and answers are written while they are
 * read, one line a request, all with the same text.
 *
 * Says on standard output where it listens. `GET /counts` is what it was sent and what it gave. All state is in its
 * memory.
 */
import { once } from "node:events";
import http from "node:http";
import { AnswerLines, askedIds, type AskedIds } from "./answer-lines.js";

export interface StandInOptions {
  /** What the model says, to every request. */
  readonly content: string;
  /** Default: in the order in which they were asked. */
  readonly order?: "asked" | "random";
}

export interface StandInCounts {
  readonly batches: number;
  readonly requests: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
}

interface StoredFile {
  readonly id: string;
  readonly filename: string;
  readonly purpose: string;
  readonly createdAt: number;
  readonly bytes: number;
  readonly content: Buffer | AskedIds;
}

interface StoredBatch {
  readonly id: string;
  readonly inputFileId: string;
  readonly outputFileId: string;
  readonly createdAt: number;
  readonly requests: number;
  readonly metadata: unknown;
  asked: boolean;
}

const BODY_BYTES_MAX = 300_000_000;
const FILES_MAX = 10_000;
const NOT_FOUND = { error: { message: "there is no such thing", type: "invalid_request_error" } };
/** Of a multipart body. */
const PARTS_MAX = 8;

const options: StandInOptions = JSON.parse(process.argv[2] ?? '{"content":"{}"}');
const files = new Map<string, StoredFile>();
const batches = new Map<string, StoredBatch>();
const counts = { batches: 0, requests: 0, bytesIn: 0, bytesOut: 0 };
let lastNumber = 0;

const answers = new AnswerLines(options.content);

const server = http.createServer((request, response) => {
  serve(request, response).catch((error: unknown) => {
    if (response.headersSent) response.destroy();
    else sendJson(response, 500, { error: { message: String(error), type: "server_error" } });
  });
});
await once(server.listen(0, "127.0.0.1"), "listening");
const address = server.address();
if (address === null || typeof address === "string") throw new Error("it has no port");
process.stdout.write(`${JSON.stringify({ url: `http://127.0.0.1:${address.port}/v1` })}\n`);
process.once("SIGTERM", () => process.exit(0));
// The bench holds the other end: whatever ends it, ends this.
process.stdin.resume().once("end", () => process.exit(0));

async function serve(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
  const [path = ""] = (request.url ?? "").split("?");
  const [, , kind, id, more] = path.split("/");
  const call = `${request.method} ${kind}${id === undefined ? "" : "/id"}${more === undefined ? "" : `/${more}`}`;
  switch (call) {
    case "POST files":
      return sendJson(response, 200, fileRecord(takeUpload(request, await readBody(request))));
    case "GET files":
      return sendJson(response, 200, listOf([...files.values()].map(fileRecord)));
    case "GET files/id":
      return sendFound(response, files.get(id ?? ""), fileRecord);
    case "DELETE files/id":
      return sendJson(response, files.delete(id ?? "") ? 200 : 404, { id, object: "file", deleted: true });
    case "GET files/id/content":
      return sendContent(response, files.get(id ?? ""));
    case "POST batches":
      return sendJson(response, 200, batchRecord(createBatch(JSON.parse((await readBody(request)).toString()))));
    case "GET batches":
      return sendJson(response, 200, listOf([...batches.values()].map(batchRecord)));
    case "GET batches/id":
      return sendFound(response, askedAgain(batches.get(id ?? "")), batchRecord);
    case "GET models":
      return sendJson(response, 200, listOf([{ id: "gpt-4o-mini", object: "model", owned_by: "system" }]));
    case "GET counts":
      return sendJson(response, 200, counts);
    default:
      return sendJson(response, 404, { error: { message: `no such call: ${call}`, type: "not_found" } });
  }
}

async function readBody(request: http.IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > BODY_BYTES_MAX) throw new Error(`a body of more than ${BODY_BYTES_MAX} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks, bytes);
}

/** The file's content stays where it is in the body. */
function takeUpload(request: http.IncomingMessage, body: Buffer): StoredFile {
  const [, boundary = ""] = /boundary="?([^";]+)"?/.exec(request.headers["content-type"] ?? "") ?? [];
  if (boundary === "" || files.size >= FILES_MAX) throw new Error("no multipart body, or too many files");
  const mark = Buffer.from(`\r\n--${boundary}`);
  let input = body.subarray(0, 0);
  let filename = "";
  let purpose = "";
  let from = mark.length;
  for (let part = 0; part < PARTS_MAX; part++) {
    const contentAt = body.indexOf("\r\n\r\n", from);
    if (contentAt < 0) break;
    const head = body.toString("latin1", from, contentAt);
    const end = body.indexOf(mark, contentAt + 4);
    const content = body.subarray(contentAt + 4, end < 0 ? body.length : end);
    const name = /filename="([^"]*)"/.exec(head)?.[1];
    if (name !== undefined) [filename, input] = [name, content];
    else if (/name="purpose"/.test(head)) purpose = content.toString();
    if (end < 0) break;
    from = end + mark.length;
  }
  counts.bytesIn += input.length;
  return store({ filename, purpose, bytes: input.length, content: input });
}

function store(file: Omit<StoredFile, "id" | "createdAt">): StoredFile {
  const stored = { id: `file-${++lastNumber}`, createdAt: seconds(), ...file };
  files.set(stored.id, stored);
  return stored;
}

function createBatch(wanted: { input_file_id?: string; metadata?: unknown }): StoredBatch {
  const { input_file_id: inputFileId = "", metadata = null } = wanted;
  const input = files.get(inputFileId)?.content;
  if (!Buffer.isBuffer(input)) throw new Error(`no file ${inputFileId}`);
  const content = askedIds(input, options.order ?? "asked");
  const bytes = answers.bytesOf(content);
  const output = store({ filename: "output.jsonl", purpose: "batch_output", bytes, content });
  const id = `batch_${++lastNumber}`;
  const requests = content.starts.length;
  const batch = {
    id,
    inputFileId,
    outputFileId: output.id,
    createdAt: seconds(),
    requests,
    metadata,
    asked: false,
  };
  batches.set(id, batch);
  counts.batches++;
  counts.requests += requests;
  return batch;
}

async function sendContent(response: http.ServerResponse, file: StoredFile | undefined): Promise<void> {
  if (file === undefined || Buffer.isBuffer(file.content)) return sendJson(response, 404, NOT_FOUND);
  response.writeHead(200, { "content-type": "application/octet-stream", "content-length": file.bytes });
  await answers.send(response, file.content);
  counts.bytesOut += file.bytes;
}

/** A create ends nothing; the first question afterwards finds it done. */
function askedAgain(batch: StoredBatch | undefined): StoredBatch | undefined {
  if (batch !== undefined) batch.asked = true;
  return batch;
}

function fileRecord(file: StoredFile): object {
  const { id, filename, purpose, createdAt, bytes } = file;
  return { id, object: "file", bytes, created_at: createdAt, filename, purpose, status: "processed" };
}

function batchRecord(batch: StoredBatch): object {
  const { id, inputFileId, outputFileId, createdAt, requests, metadata, asked } = batch;
  return {
    id,
    object: "batch",
    endpoint: "/v1/chat/completions",
    errors: null,
    input_file_id: inputFileId,
    completion_window: "24h",
    status: asked ? "completed" : "validating",
    output_file_id: asked ? outputFileId : null,
    error_file_id: null,
    created_at: createdAt,
    completed_at: asked ? createdAt : null,
    request_counts: { total: requests, completed: asked ? requests : 0, failed: 0 },
    metadata,
  };
}

function listOf(data: readonly object[]): object {
  return { object: "list", data: data.toReversed(), has_more: false };
}

function sendFound<T>(response: http.ServerResponse, found: T | undefined, record: (found: T) => object): void {
  if (found === undefined) sendJson(response, 404, NOT_FOUND);
  else sendJson(response, 200, record(found));
}

function sendJson(response: http.ServerResponse, status: number, json: object): void {
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(json));
}

function seconds(): number {
  return Math.floor(Date.now() / 1_000);
}
