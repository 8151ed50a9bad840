/**
 * A provider's batch API that answers at once, as a process of its own: `provider-stand-in.ts OPTIONS`, which are JSON. Speaks OpenAI's
 * Files and Batches API as far as Rowmill and the floor use it, and is as cheap as can be, since it shares the cores with what is
 * measured: a file stays one buffer, and answers are written while they are read, one line a request, all with the same text.
 *
 * Says on standard output where it listens. `GET /counts` is what it was sent and what it gave. All state is in its memory.
 */
import { once } from "node:events";
import http from "node:http";
import { setTimeout as sleep } from "node:timers/promises";

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
  /** Null: an output, of `lines`. */
  readonly input: Buffer | null;
  readonly lines: Lines | null;
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

/** Where the custom ids stand in an input file. */
interface Lines {
  readonly input: Buffer;
  readonly starts: Uint32Array;
  readonly ends: Uint32Array;
  readonly bytes: number;
}

const BODY_BYTES_MAX = 300_000_000;
const REQUESTS_MAX = 1_000_000;
const FILES_MAX = 10_000;
const PIECE_BYTES = 256 * 1024;
/** A reader that takes nothing for so long has gone. */
const DRAIN_MS_MAX = 600_000;
const ID_MARK = Buffer.from('"custom_id":"');
const LINE_FEED = 0x0a;
const QUOTE = 0x22;

const options: StandInOptions = JSON.parse(process.argv[2] ?? '{"content":"{}"}');
const files = new Map<string, StoredFile>();
const batches = new Map<string, StoredBatch>();
const counts = { batches: 0, requests: 0, bytesIn: 0, bytesOut: 0 };
let lastNumber = 0;

const beforeId = Buffer.from('{"id":"batch_req_1","custom_id":"');
const afterId = Buffer.from(answerTail(options.content));

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
      return sendJson(
        response,
        200,
        batchRecord(createBatch(JSON.parse((await readBody(request)).toString()))),
      );
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
  for (let part = 0; part < 8; part++) {
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
  return store({ filename, purpose, input, lines: null });
}

function store(file: Pick<StoredFile, "filename" | "purpose" | "input" | "lines">): StoredFile {
  const stored = { id: `file-${++lastNumber}`, createdAt: seconds(), ...file };
  files.set(stored.id, stored);
  return stored;
}

function createBatch(wanted: { input_file_id?: string; metadata?: unknown }): StoredBatch {
  const input = files.get(wanted.input_file_id ?? "")?.input;
  if (!input) throw new Error(`no file ${wanted.input_file_id}`);
  const lines = linesOf(input);
  const output = store({ filename: "output.jsonl", purpose: "batch_output", input: null, lines });
  const batch = {
    id: `batch_${++lastNumber}`,
    inputFileId: wanted.input_file_id ?? "",
    outputFileId: output.id,
    createdAt: seconds(),
    requests: lines.starts.length,
    metadata: wanted.metadata ?? null,
    asked: false,
  };
  batches.set(batch.id, batch);
  counts.batches++;
  counts.requests += batch.requests;
  return batch;
}

function linesOf(input: Buffer): Lines {
  const found: number[] = [];
  let bytes = 0;
  for (let at = 0; at < input.length;) {
    const start = input.indexOf(ID_MARK, at) + ID_MARK.length;
    const end = input.indexOf(QUOTE, start);
    if (start < ID_MARK.length || end < 0 || found.length >= 2 * REQUESTS_MAX)
      throw new Error("a line without an id, or too many lines");
    found.push(start, end);
    bytes += beforeId.length + end - start + afterId.length;
    const next = input.indexOf(LINE_FEED, end);
    at = next < 0 ? input.length : next + 1;
  }
  if (options.order === "random") shuffle(found);
  const starts = Uint32Array.from({ length: found.length / 2 }, (_, index) => found[2 * index] ?? 0);
  const ends = Uint32Array.from({ length: found.length / 2 }, (_, index) => found[2 * index + 1] ?? 0);
  return { input, starts, ends, bytes };
}

/** Of pairs, by a generator with a fixed seed: the same order in each run. */
function shuffle(pairs: number[]): void {
  let seed = 42;
  for (let last = pairs.length / 2 - 1; last > 0; last--) {
    seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0;
    const other = seed % (last + 1);
    for (const part of [0, 1]) {
      const [mine = 0, theirs = 0] = [pairs[2 * last + part], pairs[2 * other + part]];
      pairs[2 * last + part] = theirs;
      pairs[2 * other + part] = mine;
    }
  }
}

/** Of a create nobody expects an end; the first question afterwards finds it done. */
function askedAgain(batch: StoredBatch | undefined): StoredBatch | undefined {
  if (batch !== undefined) batch.asked = true;
  return batch;
}

async function sendContent(response: http.ServerResponse, file: StoredFile | undefined): Promise<void> {
  if (!file?.lines)
    return sendJson(response, 404, { error: { message: "no such output", type: "not_found" } });
  const { lines } = file;
  response.writeHead(200, { "content-type": "application/octet-stream", "content-length": lines.bytes });
  let piece = Buffer.allocUnsafe(Math.max(PIECE_BYTES, 2 * afterId.length));
  let filled = 0;
  for (let index = 0; index < lines.starts.length; index++) {
    const [start = 0, end = 0] = [lines.starts[index], lines.ends[index]];
    if (filled + beforeId.length + end - start + afterId.length > piece.length) {
      await write(response, piece.subarray(0, filled));
      piece = Buffer.allocUnsafe(piece.length);
      filled = 0;
    }
    filled += beforeId.copy(piece, filled);
    filled += lines.input.copy(piece, filled, start, end);
    filled += afterId.copy(piece, filled);
  }
  await write(response, piece.subarray(0, filled));
  response.end();
  counts.bytesOut += lines.bytes;
}

async function write(response: http.ServerResponse, piece: Buffer): Promise<void> {
  if (response.destroyed) throw new Error("the reader has gone");
  if (response.write(piece)) return;
  const patience = new AbortController();
  const { signal } = patience;
  const gone = once(response, "close", { signal });
  await Promise.race([
    once(response, "drain", { signal }),
    gone,
    sleep(DRAIN_MS_MAX, null, { signal }),
  ]).finally(() => {
    gone.catch(() => undefined);
    patience.abort();
  });
}

function answerTail(content: string): string {
  const message = { role: "assistant", content, refusal: null, annotations: [] };
  const usage = {
    prompt_tokens: 130,
    completion_tokens: 40,
    total_tokens: 170,
    prompt_tokens_details: { cached_tokens: 0, audio_tokens: 0 },
    completion_tokens_details: { reasoning_tokens: 0, audio_tokens: 0 },
  };
  const body = {
    id: "chatcmpl-1",
    object: "chat.completion",
    created: seconds(),
    model: "gpt-4o-mini-2024-07-18",
    choices: [{ index: 0, message, logprobs: null, finish_reason: "stop" }],
    usage,
    service_tier: "default",
    system_fingerprint: "fp_1",
  };
  const response = { status_code: 200, request_id: "req_1", body };
  return `","response":${JSON.stringify(response)},"error":null}\n`;
}

function fileRecord(file: StoredFile): object {
  const { id, filename, purpose, createdAt, input, lines } = file;
  const bytes = input?.length ?? lines?.bytes ?? 0;
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

function sendFound<T>(
  response: http.ServerResponse,
  found: T | undefined,
  record: (found: T) => object,
): void {
  if (found === undefined) sendJson(response, 404, { error: { message: "not found", type: "not_found" } });
  else sendJson(response, 200, record(found));
}

function sendJson(response: http.ServerResponse, status: number, json: object): void {
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(json));
}

function seconds(): number {
  return Math.floor(Date.now() / 1_000);
}
