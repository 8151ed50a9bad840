/**
 * The way to a provider through a proxy, over real sockets. Through TLS: test/e2e/cli-proxy.test.ts, since a process
 * reads its authorities once.
 */
import { randomBytes } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import type http from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { readEnvironment } from "../../src/config/load/environment.js";
import type { OpenAIOptions } from "../../src/providers/openai/adapter.js";
import { uploadInput } from "../../src/providers/openai/files.js";
import { startHttpProxy, type HttpProxy } from "../support/http-proxy.js";
import {
  BATCH,
  cleanups,
  closeServers,
  createBatch,
  failureOf,
  json,
  providerAt,
  readInto,
  retrieve,
  serve,
  type Handler,
  type RawProvider,
} from "../support/raw-provider.js";

afterEach(closeServers);

const PASSWORD = "p@ss:word";

interface Reached {
  readonly provider: RawProvider;
  readonly proxy: HttpProxy;
  readonly seen: Awaited<ReturnType<typeof serve>>["seen"];
}

/** A server known as provider.test to the proxy alone. */
async function reach(
  handler: Handler,
  {
    scheme = "http",
    more = {},
    variables = {},
  }: {
    scheme?: "http" | "https";
    more?: Partial<OpenAIOptions>;
    variables?: Record<string, string>;
  } = {},
): Promise<Reached> {
  const { url, seen } = await serve(handler);
  const port = Number(new URL(url).port);
  const proxy = await startHttpProxy({ "provider.test": port, "files.test": port });
  cleanups.push(() => proxy.close());
  const address = `http://user:${encodeURIComponent(PASSWORD)}@127.0.0.1:${proxy.port}`;
  const { proxies } = readEnvironment({ HTTP_PROXY: address, https_proxy: address, ...variables }).provider;
  const options = { proxies, allowHttp: true, ...more };
  return { provider: providerAt(`${scheme}://provider.test/v1`, options), proxy, seen };
}

function everythingIn(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return `${error.stack} ${JSON.stringify(error, Object.getOwnPropertyNames(error))} ${everythingIn(error.cause)}`;
}

test("an upload through a proxy arrives byte for byte, and the proxy alone sees who may use it", async () => {
  const folder = await mkdtemp(join(tmpdir(), "rowmill-proxy-"));
  cleanups.push(() => rm(folder, { recursive: true, force: true }));
  const path = join(folder, "spool.jsonl");
  const bytes = randomBytes(4_000_000);
  await writeFile(path, bytes);
  const file = { id: "file-1", filename: "a.jsonl", bytes: bytes.length, created_at: 1 };
  const { provider, proxy, seen } = await reach((response) => json(response, 200, file));
  expect(await uploadInput(provider.connection, { path, filename: "a.jsonl" })).toMatchObject({
    id: "file-1",
  });
  const [call] = seen;
  const body = Buffer.from(call?.body ?? "", "latin1");
  const start = body.indexOf(bytes.subarray(0, 64));
  expect(body.subarray(start, start + bytes.length).equals(bytes)).toBe(true);
  expect(call?.headers["content-length"]).toBe(String(body.length));
  expect(call?.headers).not.toHaveProperty("proxy-authorization");
  expect(proxy.seen).toEqual(["POST http://provider.test/v1/files"]);
  const basic = Buffer.from(`user:${PASSWORD}`).toString("base64");
  expect(proxy.authorizations).toEqual([`Basic ${basic}`]);
});

test("a file that the provider keeps elsewhere is fetched through the proxy too, without the key", async () => {
  const { provider, proxy, seen } = await reach((response, { url }) => {
    if (url === "/elsewhere") response.end("one\ntwo\n");
    else if (url.endsWith("/content")) response.writeHead(302, { location: "http://files.test/elsewhere" }).end();
    else json(response, 200, { id: "file-1", filename: "a", bytes: 8, created_at: 1 });
  });
  const lines: string[] = [];
  await readInto(provider, lines);
  expect(lines).toEqual(["one", "two"]);
  expect(proxy.seen.at(-1)).toBe("GET http://files.test/elsewhere");
  expect(seen.at(-1)?.headers).not.toHaveProperty("authorization");
});

test("this machine is asked straight, whatever the variables say; so is what NO_PROXY names", async () => {
  const { url } = await serve((response) => json(response, 200, BATCH));
  const { proxy, provider } = await reach((response) => json(response, 200, BATCH), {
    variables: { NO_PROXY: ".test" },
  });
  const address = `127.0.0.1:${proxy.port}`;
  const { proxies } = readEnvironment({ http_proxy: address, HTTPS_PROXY: address }).provider;
  expect(await retrieve(providerAt(url, { proxies }))).toMatchObject({ id: "batch_1" });
  // The name is known to the proxy alone.
  const error = await failureOf(retrieve(provider));
  expect(error.message).toMatch(/no reply from http:\/\/provider\.test\/v1 \((ENOTFOUND|EAI_AGAIN)\)$/);
  expect(proxy.seen).toEqual([]);
});

const refusals = [
  ["http", 407, "write user and password into HTTP_PROXY as http://user:password@host:port"],
  ["https", 407, "write user and password into https_proxy as http://user:password@host:port"],
  ["https", 403, "check https_proxy, or set NO_PROXY=provider.test to bypass the proxy"],
  ["https", 502, "check https_proxy, or set NO_PROXY=provider.test to bypass the proxy"],
] as const;

test.each(refusals)(
  "a proxy that lets no %s pass (%d) is named; a create was certainly not sent",
  async (scheme, status, fix) => {
    const { provider, proxy, seen } = await reach((response) => json(response, 200, BATCH), { scheme });
    proxy.mood = { answer: status };
    const error = await failureOf(createBatch(provider));
    expect(error).toMatchObject({ kind: "retryable" });
    expect(error.message).toContain(`could not create the batch: the proxy http://127.0.0.1:${proxy.port} (`);
    expect(error.message).toContain(`refused to connect to ${scheme}://provider.test/v1 (HTTP ${status}); ${fix}`);
    for (const secret of [PASSWORD, encodeURIComponent(PASSWORD), Buffer.from(`user:${PASSWORD}`).toString("base64")])
      expect(everythingIn(error)).not.toContain(secret);
    expect([proxy.seen.length, seen.length]).toEqual([1, 0]);
  },
);

test("what a proxy of plain http may have said is not put down to the provider alone", async () => {
  const { provider, proxy } = await reach((response) => json(response, 200, BATCH));
  proxy.mood = { answer: 403 };
  const error = await failureOf(retrieve(provider));
  expect(error.message).toContain(
    `the reply came through the proxy http://127.0.0.1:${proxy.port} (HTTP_PROXY), and may be the proxy's own`,
  );
});

test("a proxy that does not answer is named, and nothing was sent", async () => {
  const { provider, proxy } = await reach((response) => json(response, 200, BATCH), { scheme: "https" });
  await proxy.close();
  const error = await failureOf(createBatch(provider));
  expect(error).toMatchObject({ kind: "retryable" });
  expect(error.message).toBe(
    `could not create the batch: no reply from https://provider.test/v1 through the proxy http://127.0.0.1:${proxy.port} (https_proxy) (ECONNREFUSED); check https_proxy, or set NO_PROXY=provider.test to bypass the proxy`,
  );
});

test.each(["http", "https"] as const)(
  "a %s call through a proxy that falls silent is given up in time",
  async (scheme) => {
    // Enough to load what a way through a proxy needs.
    const more = { timeouts: { callMs: 1_000, createMs: 1_000, backoffMs: 1 } };
    const { provider, proxy } = await reach((response) => json(response, 200, BATCH), { scheme, more });
    proxy.mood = "silent";
    const error = await failureOf(createBatch(provider));
    expect(error).toMatchObject({
      kind: "ambiguous",
      message: expect.stringContaining("no full reply from OpenAI through the proxy http://"),
    });
    expect(proxy.seen).toHaveLength(1);
  },
);

test("a call through a proxy ends when its caller is interrupted, and so does a file that stalls midway", async () => {
  const stop = new AbortController();
  const hung: http.ServerResponse[] = [];
  const { provider } = await reach(
    (response, { url }) => {
      hung.push(response);
      if (url.endsWith("/content")) response.write("one\ntw");
      else if (url.endsWith("/files/file-1"))
        json(response, 200, { id: "file-1", filename: "a", bytes: 8, created_at: 1 });
      else stop.abort();
    },
    { more: { timeouts: { stallMs: 300, backoffMs: 1 } } },
  );
  const interrupted = await failureOf(provider.status("batch_1", { signal: stop.signal }));
  expect(interrupted.message).toContain("interrupted");
  const lines: string[] = [];
  expect((await failureOf(readInto(provider, lines))).message).toContain("stalled: no byte for 300 ms");
  expect(lines).toEqual(["one"]);
});
