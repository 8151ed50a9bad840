/** What the OpenAI adapter makes of servers that misbehave in ways that the gateway cannot: raw HTTP, real sockets. */
import { mkdtemp, open, rm, unlink, writeFile } from "node:fs/promises";
import http from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, describe, expect, test, vi } from "vitest";
import { heapBytes } from "../../src/testing/test-runner.js";
import { createOpenAIProvider, type OpenAIOptions } from "../../src/providers/openai/adapter.js";
import { RETRIES_MAX } from "../../src/providers/openai/http/connection.js";
import { deleteFile, findInputs, readLines, uploadInput } from "../../src/providers/openai/files.js";
import {
  BATCH,
  cleanups,
  closeServers,
  createBatch,
  failureOf,
  intentOf,
  json,
  KEY,
  listen,
  providerAt,
  readInto,
  refusal,
  retrieve,
  serve,
  type Handler,
  type RawProvider,
} from "../support/raw-provider.js";

afterEach(async () => {
  vi.unstubAllEnvs();
  vi.useRealTimers();
  await closeServers();
});

/** Everything that a logger might print of an error. */
function everythingIn(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return `${error.stack} ${JSON.stringify(error, Object.getOwnPropertyNames(error))} ${everythingIn(error.cause)}`;
}

describe("an HTTP answer", () => {
  test.each<[number, string | null, string, string, string]>([
    [400, "invalid_value", "Bad endpoint", "refused", "refused"],
    [400, null, "Cannot find file file-1, or organization org-x does not have access to it.", "notFound", "notFound"],
    [400, "billing_hard_limit_reached", "Billing hard limit has been reached", "account", "account"],
    [401, "invalid_api_key", "Incorrect API key", "account", "account"],
    [403, null, "Not allowed", "account", "account"],
    [404, null, "No batch found", "notFound", "notFound"],
    [408, null, "Too slow", "ambiguous", "retryable"],
    [409, null, "Conflict", "refused", "refused"],
    [413, null, "Too large", "refused", "refused"],
    [422, null, "No", "refused", "refused"],
    [429, "rate_limit_exceeded", "Slow down", "retryable", "retryable"],
    [429, "insufficient_quota", "You exceeded your current quota", "account", "account"],
    [500, null, "Oops", "ambiguous", "retryable"],
    [502, null, "Bad gateway", "ambiguous", "retryable"],
    [503, null, "Overloaded", "ambiguous", "retryable"],
  ])("%d %s (%s) is %s for a create, sent once, and %s for a read", async (status, code, message, onCreate, onRead) => {
    const { provider, seen } = await serve((response) =>
      json(response, status, refusal(message, code), { "x-request-id": "req_7" }),
    );
    const create = await failureOf(createBatch(provider));
    expect(create).toMatchObject({ kind: onCreate, status, providerCode: code });
    expect(create.message).toContain(message);
    expect(create.message).toContain("req_7");
    expect(seen).toHaveLength(1);
    expect(await failureOf(retrieve(provider))).toMatchObject({ kind: onRead, status });
    expect(seen).toHaveLength(onRead === "retryable" ? 2 + RETRIES_MAX : 2);
  });

  test("that is no JSON keeps its words and its kind", async () => {
    const { provider } = await serve((response) =>
      response.writeHead(400, { "content-type": "text/html" }).end("<h1>proxy</h1>"),
    );
    expect(await failureOf(retrieve(provider))).toMatchObject({
      kind: "refused",
      message: expect.stringContaining("<h1>proxy</h1>"),
    });
  });

  test("that redirects is reported with advice, and neither followed nor sent again at once", async () => {
    const { provider, seen } = await serve((response) => json(response, 301, {}, { location: "/v1/elsewhere" }));
    const refused = { kind: "retryable", message: expect.stringContaining("OPENAI_BASE_URL") };
    expect(await failureOf(createBatch(provider))).toMatchObject(refused);
    expect(seen).toHaveLength(1);
    const path = fileURLToPath(import.meta.url);
    expect(await failureOf(uploadInput(provider.connection, { path, filename: "a.jsonl" }))).toMatchObject(refused);
    expect(seen).toHaveLength(2);
    expect(await failureOf(retrieve(provider))).toMatchObject(refused);
    expect(seen).toHaveLength(3);
  });

  test("that says 'see other' may have made the batch before", async () => {
    const { provider } = await serve((response) => json(response, 303, {}, { location: "/v1/batches/batch_1" }));
    expect(await failureOf(createBatch(provider))).toMatchObject({ kind: "ambiguous" });
  });

  test("that asks for a short wait is waited for, and a long wait is left to the caller", async () => {
    const short = await serve((response, _, index) =>
      index < 2 ? json(response, 429, refusal("slow"), { "retry-after-ms": "1" }) : json(response, 200, BATCH),
    );
    expect(await retrieve(short.provider)).toMatchObject({ id: "batch_1" });
    expect(short.seen).toHaveLength(3);
    const long = await serve((response) => json(response, 429, refusal("slow"), { "retry-after": "86400" }));
    expect(await failureOf(retrieve(long.provider))).toMatchObject({
      kind: "retryable",
      retryAfterMs: 300_000,
    });
    expect(long.seen).toHaveLength(1);
  });
});

describe("a broken connection", () => {
  const endings: [string, Handler][] = [
    ["closed without an answer", (response) => response.destroy()],
    [
      "closed within the answer",
      (response) => {
        response.writeHead(200, { "content-type": "application/json", "content-length": "500" });
        response.write('{"id":"batch_1","st', () => response.destroy());
      },
    ],
    [
      "answering half a JSON",
      (response) => response.writeHead(200, { "content-type": "application/json" }).end('{"id":"batch_1"'),
    ],
    [
      "answering HTML with a 200",
      (response) => response.writeHead(200, { "content-type": "text/html" }).end("<html>sign in</html>"),
    ],
    [
      "answering nothing with a 200",
      (response) => response.writeHead(200, { "content-type": "application/json", "content-length": "0" }).end(),
    ],
    ["answering 204", (response) => response.writeHead(204).end()],
    ["answering another object", (response) => json(response, 200, { object: "list", data: [] })],
  ];

  test.each(endings)("%s leaves a create in doubt after one POST, and a read is tried again", async (_, handler) => {
    const { provider, seen } = await serve((response, call, index) =>
      index <= 1 ? handler(response, call, index) : json(response, 200, BATCH),
    );
    expect(await failureOf(createBatch(provider))).toMatchObject({ kind: "ambiguous" });
    expect(seen).toHaveLength(1);
    expect(await retrieve(provider)).toMatchObject({ id: "batch_1", status: "validating" });
    expect(seen).toHaveLength(3);
  });

  test("that no server accepted had certainly no effect", async () => {
    const { url } = await serve((response) => json(response, 200, BATCH));
    await cleanups.pop()?.();
    const error = await failureOf(createBatch(providerAt(url)));
    expect(error).toMatchObject({ kind: "retryable", code: "provider_unreachable" });
    expect(error.message).toContain("ECONNREFUSED");
    expect(error.message).toContain(url);
  });

  test.each<[string, Handler]>([
    ["never answers", () => {}],
    [
      "stalls within its answer",
      (response) => {
        response.writeHead(200, { "content-type": "application/json" });
        response.write('{"id":');
      },
    ],
  ])("to a server that %s is given up", async (_, handler) => {
    const { provider } = await serve(handler, { timeouts: { callMs: 200, createMs: 200, backoffMs: 1 } });
    expect(await failureOf(createBatch(provider))).toMatchObject({
      kind: "ambiguous",
      message: expect.stringContaining("200 ms"),
    });
    expect(await failureOf(retrieve(provider))).toMatchObject({ kind: "retryable" });
  });

  test("ends at once when the caller aborts it", async () => {
    const stop = new AbortController();
    const { provider, seen } = await serve(() => stop.abort());
    const inDoubt = provider.create(intentOf("file-1"), { signal: stop.signal });
    expect(await failureOf(inDoubt)).toMatchObject({
      kind: "ambiguous",
      message: expect.stringContaining("interrupted"),
    });
    const notMade = provider.create(intentOf("file-1"), { signal: stop.signal });
    expect(await failureOf(notMade)).toMatchObject({ kind: "retryable" });
    expect(await failureOf(provider.status("batch_1", { signal: stop.signal }))).toMatchObject({
      kind: "retryable",
    });
    expect(seen).toHaveLength(1);
  });
});

describe("secrets", () => {
  test("are in no error, whatever the server echoes", async () => {
    const echo = `Incorrect API key provided: ${KEY} (sk-proj-*******wxyz). Authorization: Bearer ${KEY}`;
    const { provider } = await serve((response) =>
      json(response, 401, refusal(echo, KEY), { "x-request-id": KEY, "www-authenticate": KEY }),
    );
    const calls = [
      () => createBatch(provider),
      () => retrieve(provider),
      () => findInputs(provider.connection, "a"),
      () => deleteFile(provider.connection, "file-1"),
    ];
    for (const call of calls) {
      const error = await failureOf(call());
      expect(error.message).toContain("OPENAI_API_KEY");
      expect(everythingIn(error)).not.toContain(KEY);
      expect(everythingIn(error)).not.toContain("wxyz");
    }
  });

  test("are not in the account, which names base URL, organization and project", () => {
    const options = {
      apiKey: KEY,
      baseURL: "https://example.test/v1/",
      organization: "org-1",
      project: "proj_1",
    };
    expect(createOpenAIProvider(options).account).toBe("https://example.test/v1|org-1|proj_1");
    expect(createOpenAIProvider({ apiKey: KEY }).account).toBe("https://api.openai.com/v1||");
    expect(createOpenAIProvider({ apiKey: KEY, baseURL: "", organization: "", project: "" }).account).toBe(
      "https://api.openai.com/v1||",
    );
  });

  test.each([
    "not a url",
    "ftp://example.test/v1",
    "https://user:secret@example.test/v1",
    "https://example.test/v1?key=secret",
  ])("cannot come in by the base URL %s", (baseURL) => {
    const make = () => createOpenAIProvider({ apiKey: KEY, baseURL });
    expect(make).toThrow(
      expect.objectContaining({ code: "config_invalid", message: expect.not.stringContaining("secret") }),
    );
  });

  test.each([
    "http://vllm:8000/v1",
    "http://127.evil.test/v1",
    "http://localhost.evil.test/v1",
    "http://gateway.localhost/v1",
    "http://localhost./v1",
    "http://[2001:db8::1]/v1",
    "http://10.0.0.1/v1",
  ])("does not go over plain http to %s, unless that is allowed", (baseURL) => {
    const error = expect.objectContaining({
      code: "config_invalid",
      hints: expect.arrayContaining([expect.stringContaining("ROWMILL_ALLOW_HTTP=1")]),
    });
    expect(() => createOpenAIProvider({ apiKey: KEY, baseURL })).toThrow(error);
    expect(createOpenAIProvider({ apiKey: KEY, baseURL, allowHttp: true }).account).toContain(baseURL);
  });

  test.each(["http://localhost:1/v1", "http://127.9.9.9/v1", "http://[::1]:1/v1", "https://vllm/v1"])(
    "goes to %s",
    (baseURL) => {
      expect(createOpenAIProvider({ apiKey: KEY, baseURL }).account).toContain(baseURL);
    },
  );

  test("stays at its address when the content of a file is redirected to another one", async () => {
    const other = await serve((response) => response.end('{"a":1}\n'));
    const { provider, seen } = await serve((response, { url }) => {
      if (url.endsWith("/content")) response.writeHead(302, { location: `${other.url}/elsewhere` }).end();
      else json(response, 200, { id: "file-1", bytes: 8 });
    });
    const lines: string[] = [];
    await readInto(provider, lines);
    expect(lines).toEqual(['{"a":1}']);
    expect(seen.at(-1)?.headers["authorization"]).toBe(`Bearer ${KEY}`);
    expect(other.seen.map(({ headers }) => headers["authorization"])).toEqual([undefined]);
  });

  test("must be given", () => {
    expect(() => createOpenAIProvider({ apiKey: " " })).toThrow(expect.objectContaining({ code: "config_invalid" }));
  });
});

describe("what is sent", () => {
  test("has the organization and project that were given, and none of the environment's", async () => {
    vi.stubEnv("OPENAI_ORG_ID", "org-env");
    vi.stubEnv("OPENAI_PROJECT_ID", "proj-env");
    vi.stubEnv("OPENAI_ADMIN_KEY", "admin-env");
    const { provider, seen, url } = await serve((response) => json(response, 200, BATCH));
    await retrieve(provider);
    await retrieve(providerAt(url, { organization: "org-1", project: "proj_1" }));
    expect(
      seen.map(({ headers }) => [headers["authorization"], headers["openai-organization"], headers["openai-project"]]),
    ).toEqual([
      [`Bearer ${KEY}`, undefined, undefined],
      [`Bearer ${KEY}`, "org-1", "proj_1"],
    ]);
  });

  test("for a create is one POST with the input, the endpoint, the window and the metadata", async () => {
    const { provider, seen } = await serve((response) => json(response, 200, BATCH));
    await provider.create(intentOf("file-1"));
    expect(seen.map(({ method, url }) => [method, url])).toEqual([["POST", "/v1/batches"]]);
    expect(JSON.parse(seen[0]?.body ?? "")).toEqual({
      input_file_id: "file-1",
      endpoint: "/v1/chat/completions",
      completion_window: "24h",
      metadata: {
        rowmill_deployment: "d1",
        rowmill_batch: "b1",
        rowmill_pipeline: "films",
        rowmill_definition: "h1",
      },
    });
  });

  test("for an upload is the file with its length, name and purpose, again after a failure", async () => {
    const path = await spool("one\ntwo\n");
    const { provider, seen } = await serve((response, _, index) =>
      index === 0
        ? response.destroy()
        : json(response, 200, { id: "file-1", filename: "rowmill-a.jsonl", bytes: 8, created_at: 1 }),
    );
    expect(await uploadInput(provider.connection, { path, filename: "rowmill-a.jsonl" })).toMatchObject({
      id: "file-1",
      bytes: 8,
    });
    expect(seen).toHaveLength(2);
    for (const { headers, body } of seen) {
      expect(Number(headers["content-length"])).toBe(body.length);
      expect(headers["transfer-encoding"]).toBeUndefined();
      expect(body).toContain('name="purpose"\r\n\r\nbatch\r\n');
      expect(body).toMatch(/name="file"; filename="rowmill-a\.jsonl"\r\n[^]*?\r\n\r\none\ntwo\n\r\n/);
    }
  });

  test("does not grow the memory with the file", async () => {
    const path = await spool("");
    const megabytes = 160;
    const file = await open(path, "w");
    for (let written = 0; written < megabytes; written += 1) await file.write(Buffer.alloc(1e6, "a"));
    await file.close();
    const before = process.memoryUsage().arrayBuffers;
    let [most, nextAt] = [0, 0];
    const { url, received } = await swallow(() => {
      if (received() < nextAt) return;
      nextAt = received() + 10e6;
      // It collects: what only waits for that is not held.
      heapBytes();
      most = Math.max(most, process.memoryUsage().arrayBuffers - before);
    });
    await uploadInput(providerAt(url).connection, { path, filename: "rowmill-a.jsonl" });
    expect(received()).toBeGreaterThan(megabytes * 1e6);
    expect(most).toBeLessThan((megabytes / 2) * 1e6);
  });

  test("comes from a file that may not change meanwhile", async () => {
    const path = await spool("x".repeat(200_000));
    const { provider } = await serve((response) => void unlink(path).then(() => response.destroy()));
    const error = await failureOf(uploadInput(provider.connection, { path, filename: "a.jsonl" }));
    expect(error).toMatchObject({ code: "spool_failed" });
  });

  async function spool(text: string): Promise<string> {
    const folder = await mkdtemp(join(tmpdir(), "rowmill-spool-"));
    cleanups.push(() => rm(folder, { recursive: true, force: true }));
    const path = join(folder, "spool.jsonl");
    await writeFile(path, text);
    return path;
  }
});

/** A server that takes a body without keeping it. */
async function swallow(onPart: () => void): Promise<{ url: string; received: () => number }> {
  let bytes = 0;
  const server = http.createServer((request, response) => {
    request.on("data", (part: Buffer) => {
      bytes += part.length;
      onPart();
    });
    request.on("end", () => json(response, 200, { id: "file-1" }));
  });
  return { url: await listen(server), received: () => bytes };
}

describe("a file's content", () => {
  const lines = ['{"a":1}', '{"b":"\u2028é😀"}', '{"c":3}'];
  const whole = Buffer.from(`\ufeff${lines.join("\r\n")}\n\n`);

  /** The file's record says `bytes`; the content is answered by `send`. */
  async function serveContent(
    bytes: number,
    send: (response: http.ServerResponse) => void,
    options?: Partial<OpenAIOptions>,
  ): Promise<RawProvider> {
    const { provider } = await serve(
      (response, { url }) =>
        url.endsWith("/content") ? send(response) : json(response, 200, { id: "file-1", bytes, filename: "o.jsonl" }),
      options,
    );
    return provider;
  }

  test.each<[string, number, (response: http.ServerResponse) => void]>([
    ["in one piece", whole.length, (response) => response.end(whole)],
    [
      "in chunks of one byte",
      whole.length,
      (response) => {
        for (const byte of whole) response.write(Buffer.of(byte));
        response.end();
      },
    ],
    ["of a size that the provider does not know", 0, (response) => response.end(whole)],
    ["longer than its record says", whole.length - 9, (response) => response.end(whole)],
  ])("is read %s", async (_, bytes, send) => {
    const seen: string[] = [];
    await readInto(await serveContent(bytes, send), seen);
    expect(seen).toEqual(lines);
  });

  test("is read where a redirect leads", async () => {
    const { provider } = await serve((response, { url }) => {
      if (url === "/elsewhere") response.end(whole);
      else if (url.endsWith("/content")) response.writeHead(302, { location: "/elsewhere" }).end();
      else json(response, 200, { id: "file-1", bytes: whole.length });
    });
    const seen: string[] = [];
    await readInto(provider, seen);
    expect(seen).toEqual(lines);
  });

  test.each<[string, (response: http.ServerResponse) => void]>([
    ["ends early, as if it were whole", (response) => response.end(whole.subarray(0, 14))],
    [
      "is cut short of its announced length",
      (response) => {
        response.writeHead(200, { "content-length": String(whole.length) });
        response.write(whole.subarray(0, 14), () => response.destroy());
      },
    ],
    [
      "breaks off in the middle of a chunked body",
      (response) => {
        response.write(whole.subarray(0, 14), () => response.destroy());
      },
    ],
    ["has no body at all", (response) => response.writeHead(204).end()],
  ])("that %s gives no half line and can be read again", async (_, send) => {
    const seen: string[] = [];
    const provider = await serveContent(whole.length, send);
    expect(await failureOf(readInto(provider, seen))).toMatchObject({ kind: "retryable" });
    expect(seen.filter((line) => !lines.includes(line))).toEqual([]);
  });

  test("that stalls is given up, and the connection ended", async () => {
    let hangUp: () => void;
    const hungUp = new Promise<void>((resolve) => {
      hangUp = resolve;
    });
    const seen: string[] = [];
    const provider = await serveContent(
      whole.length,
      (response) => {
        response.on("close", () => hangUp());
        response.write(whole.subarray(0, 14));
      },
      { timeouts: { stallMs: 1_000, backoffMs: 1 } },
    );
    expect(await failureOf(readInto(provider, seen))).toMatchObject({
      kind: "retryable",
      message: expect.stringContaining("1000 ms"),
    });
    expect(seen).toEqual([lines[0]]);
    await hungUp;
  });

  test("is not given up while the reader takes its time", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    let sendRest = () => {};
    const provider = await serveContent(whole.length, (response) => {
      response.write(whole.subarray(0, 14));
      sendRest = () => response.end(whole.subarray(14));
    });
    const seen: string[] = [];
    for await (const read of readLines(provider.connection, "file-1")) {
      seen.push(...read);
      vi.advanceTimersByTime(3_600_000);
      sendRest();
    }
    expect(seen).toEqual(lines);
  });

  test("is left when the caller is interrupted", async () => {
    const stop = new AbortController();
    const provider = await serveContent(whole.length, (response) => void response.write(whole.subarray(0, 14)));
    const seen: string[] = [];
    const reading = (async () => {
      for await (const read of readLines(provider.connection, "file-1", { signal: stop.signal })) {
        seen.push(...read);
        stop.abort();
      }
    })();
    expect(await failureOf(reading)).toMatchObject({
      kind: "retryable",
      message: expect.stringContaining("interrupted"),
    });
    expect(seen).toEqual([lines[0]]);
  });
});
