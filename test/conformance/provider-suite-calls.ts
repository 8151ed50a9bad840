/** Of the suite: how each call of an adapter ends when the server, the connection or the caller breaks it off. */
import { once } from "node:events";
import http from "node:http";
import { unlink } from "node:fs/promises";
import { afterEach, describe, expect, test } from "vitest";
import { RowmillError } from "../../src/model/errors.js";
import type { CallOptions, Provider, ProviderBatch } from "../../src/model/provider/provider.js";
import { drained, FAR_PAST, type At, type SuiteFault } from "./provider-stand-in.js";

const servers: http.Server[] = [];

async function serve(handler: http.RequestListener): Promise<string> {
  const server = http.createServer(handler);
  servers.push(server);
  await once(server.listen(0, "127.0.0.1"), "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("not a TCP server");
  return `http://127.0.0.1:${address.port}`;
}

async function closeServers(): Promise<void> {
  for (const server of servers.splice(0)) {
    const closed = once(server, "close");
    server.close();
    server.closeAllConnections();
    await closed;
  }
}

async function failureOf(promise: Promise<unknown>): Promise<RowmillError & { readonly kind?: string }> {
  const error: unknown = await promise.then(
    () => expect.fail("it did not fail"),
    (caught: unknown) => caught,
  );
  if (!(error instanceof RowmillError)) throw error;
  return error;
}

/** Everything that a logger might print of an error. */
function everythingIn(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return `${error.stack} ${JSON.stringify(error, Object.getOwnPropertyNames(error))} ${everythingIn(error.cause)}`;
}

/** Every call about a batch but the create, each to its end. */
const READS: readonly (readonly [
  string,
  (provider: Provider, batch: ProviderBatch, options?: CallOptions) => Promise<unknown>,
])[] = [
  ["status", (provider, batch, options) => provider.status(batch.id, options)],
  ["cancel", (provider, batch, options) => provider.cancel(batch.id, options)],
  ["forget", (provider, batch, options) => provider.forget({ batch, staged: null }, options)],
  ["list", (provider, _, options) => drained(provider.list(FAR_PAST, options))],
  ["results", (provider, batch, options) => drained(provider.results(batch, { requests: 1, ...options }))],
];

/** An ended batch, as this adapter gave it. */
async function endedBatch(at: At): Promise<ProviderBatch> {
  const provider = at.standIn.provider();
  const batch = await provider.create(await at.intents.make(["a"]));
  await at.standIn.until(batch.id);
  return provider.status(batch.id);
}

export function describeCalls(at: At): void {
  afterEach(closeServers);

  describe("a create", () => {
    const troubles: [string, "before" | "after", SuiteFault, number][] = [
      ["the connection was reset before it took effect", "before", { kind: "drop" }, 0],
      ["the connection was reset after it took effect", "after", { kind: "drop" }, 1],
      ["the server answered 500 before its effect", "before", { kind: "reply", status: 500, body: {} }, 0],
      ["the server answered 500 after its effect", "after", { kind: "reply", status: 500, body: {} }, 1],
      ["a proxy answered 502", "after", { kind: "reply", status: 502, body: {} }, 1],
      ["a proxy answered 504", "after", { kind: "reply", status: 504, body: {} }, 1],
      ["it took too long for the server", "after", { kind: "reply", status: 408, body: {} }, 1],
      ["the reply is no batch", "after", { kind: "reply", status: 200, body: { ok: true } }, 1],
      ["the reply is no JSON", "after", { kind: "reply", status: 200, body: "<html>" }, 1],
      ["the reply is empty", "after", { kind: "reply", status: 200, body: "" }, 1],
      ["the reply was cut short", "after", { kind: "cut", afterBytes: 20 }, 1],
      ["the reply stalls", "after", { kind: "stall", afterBytes: 20 }, 1],
    ];

    test.each(troubles)("is sent once and left in doubt when %s", async (_, when, fault, made) => {
      const provider = at.standIn.provider({ createMs: fault.kind === "stall" ? 200 : 20_000 });
      const intent = await at.intents.make(["a"], provider);
      at.standIn.break("create", when, fault, 10);
      expect(await failureOf(provider.create(intent))).toMatchObject({ kind: "ambiguous" });
      expect(await at.standIn.creates()).toBe(1);
      expect(await at.standIn.batches()).toBe(made);
    });

    test.each([
      [400, "refused"],
      [401, "account"],
      [403, "account"],
      [404, "notFound"],
      [405, "unsupported"],
      [409, "refused"],
      [413, "refused"],
      [422, "refused"],
      [425, "retryable"],
      [429, "retryable"],
      [501, "unsupported"],
    ])("that is answered with %d is sent once and is %s", async (status, kind) => {
      const provider = at.standIn.provider();
      const intent = await at.intents.make(["a"], provider);
      const body = at.standIn.words.error("No.");
      at.standIn.break("create", "before", { kind: "reply", status, body }, 10);
      const error = await failureOf(provider.create(intent));
      expect(error).toMatchObject({ kind, status });
      expect(error.message).toContain("No.");
      expect(await at.standIn.creates()).toBe(1);
    });

    test("beyond what may be queued is refused for hours, and is no fault", async ({ skip }) => {
      const { capacity } = at.standIn.words;
      if (capacity === null) return skip("the vendor has no word for a full queue");
      const provider = at.standIn.provider();
      const intent = await at.intents.make(["a"], provider);
      at.standIn.break("create", "before", capacity, 10);
      expect(await failureOf(provider.create(intent))).toMatchObject({ kind: "capacity" });
      expect(await at.standIn.creates()).toBe(1);
    });

    test("says how long the provider wants us to wait, within bounds", async () => {
      const provider = at.standIn.provider();
      const body = at.standIn.words.error("Slow down.");
      const waits: [string, number][] = [
        ["7", 7_000],
        ["86400", 300_000],
      ];
      for (const [asked, retryAfterMs] of waits) {
        const intent = await at.intents.make(["a"], provider);
        at.standIn.break("create", "before", {
          kind: "reply",
          status: 429,
          body,
          headers: { "retry-after": asked },
        });
        expect(await failureOf(provider.create(intent))).toMatchObject({ kind: "retryable", retryAfterMs });
      }
    });

    test("that no server accepted had certainly no effect", async () => {
      const origin = await serve((_, response) => response.end());
      await closeServers();
      const intent = await at.intents.make(["a"]);
      expect(await failureOf(at.standIn.provider({ origin }).create(intent))).toMatchObject({
        kind: "retryable",
      });
    });

    test("whose input cannot be read from disk is no fault of the provider", async () => {
      const provider = at.standIn.provider();
      const spool = await at.intents.spool(["a"]);
      const intent = await at.intents.make(["b"], provider);
      await unlink(spool.path);
      const sent = provider.staging === null ? provider.create({ ...intent, spool }) : provider.staging.send(spool);
      expect(await failureOf(sent)).toMatchObject({ code: "spool_failed" });
      expect(await at.standIn.creates()).toBe(0);
    });

    test("ends when the caller aborts it: without effect before it was made, in doubt afterwards", async () => {
      const stop = new AbortController();
      let calls = 0;
      const origin = await serve(() => {
        calls += 1;
        stop.abort();
      });
      const intent = await at.intents.make(["a"]);
      const provider = at.standIn.provider({ origin });
      expect(await failureOf(provider.create(intent, { signal: stop.signal }))).toMatchObject({
        kind: "ambiguous",
      });
      expect(await failureOf(provider.create(intent, { signal: stop.signal }))).toMatchObject({
        kind: "retryable",
      });
      expect(calls).toBe(1);
    });

    test("is not sent a second time to where it is redirected", async () => {
      let led = 0;
      const elsewhere = await serve((_, response) => {
        led += 1;
        response.end("{}");
      });
      for (const status of [301, 302, 303, 307, 308]) {
        const origin = await serve((request, response) => {
          request.resume().on("end", () => response.writeHead(status, { location: `${elsewhere}/x` }).end());
        });
        const error = await failureOf(at.standIn.provider({ origin }).create(await at.intents.make(["a"])));
        expect(status === 303 ? ["ambiguous"] : ["retryable", "ambiguous"]).toContain(error.kind);
      }
      expect(led).toBe(0);
    });
  });

  describe("other calls", () => {
    test.each(READS)("%s ends at once when the caller aborts it", async (_, read) => {
      const batch = await endedBatch(at);
      const stop = new AbortController();
      let calls = 0;
      const origin = await serve(() => {
        calls += 1;
        stop.abort();
      });
      const provider = at.standIn.provider({ origin });
      expect(await failureOf(read(provider, batch, { signal: stop.signal }))).toMatchObject({
        kind: "retryable",
      });
      expect(calls).toBe(1);
      expect(await failureOf(read(provider, batch, { signal: stop.signal }))).toMatchObject({
        kind: "retryable",
      });
      expect(calls).toBe(1);
    });

    test.each(READS)("%s gives up a server that never answers", async (_, read) => {
      const batch = await endedBatch(at);
      const origin = await serve(() => {});
      const provider = at.standIn.provider({ origin, callMs: 50 });
      expect(await failureOf(read(provider, batch))).toMatchObject({ kind: "retryable" });
    });

    test.each(READS)("%s does not follow a redirect with the key", async (_, read) => {
      const batch = await endedBatch(at);
      const keys: unknown[] = [];
      const elsewhere = await serve((request, response) => {
        keys.push(JSON.stringify(request.headers).includes(at.standIn.key));
        response.end("{}");
      });
      const origin = await serve((_request, response) => response.writeHead(302, { location: `${elsewhere}/x` }).end());
      await read(at.standIn.provider({ origin }), batch).catch((error: unknown) => {
        expect(error).toMatchObject({ kind: "retryable" });
      });
      expect(keys).not.toContain(true);
    });

    test("reads are sent again, a few times, when that is harmless", async () => {
      const batch = await endedBatch(at);
      const provider = at.standIn.provider();
      at.standIn.break("status", "before", { kind: "reply", status: 503, body: {} }, 2);
      expect(await provider.status(batch.id)).toMatchObject({ status: "completed" });
      at.standIn.break("list", "before", { kind: "drop" }, 2);
      await drained(provider.list(FAR_PAST));
      at.standIn.break("status", "before", { kind: "reply", status: 503, body: {} }, 100);
      expect(await failureOf(provider.status(batch.id))).toMatchObject({ kind: "retryable", status: 503 });
    });

    test("the clock is that of the last reply", async () => {
      const provider = at.standIn.provider();
      await drained(provider.list(FAR_PAST));
      expect(Math.abs((provider.clockSeconds() ?? 0) - at.standIn.nowSeconds())).toBeLessThanOrEqual(2);
      await at.standIn.advance(3_600_000);
      await drained(provider.list(FAR_PAST));
      expect(Math.abs((provider.clockSeconds() ?? 0) - at.standIn.nowSeconds())).toBeLessThanOrEqual(2);
    });
  });

  describe("the key", () => {
    test("is in no error, whatever the server echoes", async () => {
      const batch = await endedBatch(at);
      const { key } = at.standIn;
      const intent = await at.intents.make(["a"]);
      for (const status of [400, 401, 404, 500]) {
        const origin = await serve((request, response) => {
          const body = JSON.stringify(
            at.standIn.words.error(`Incorrect key: ${key}. ${JSON.stringify(request.headers)}`),
          );
          request.resume().on("end", () => {
            response.writeHead(status, { "content-type": "application/json", "x-request-id": key }).end(body);
          });
        });
        const provider = at.standIn.provider({ origin });
        const errors = [await failureOf(provider.create(intent))];
        for (const [, read] of READS) {
          const error: unknown = await read(provider, batch).then(
            () => null,
            (caught: unknown) => caught,
          );
          if (error instanceof RowmillError) errors.push(error);
        }
        for (const error of errors) expect(everythingIn(error)).not.toContain(key);
      }
    });

    test("is examined with the models, and a server that refuses it is a problem", async () => {
      const findings = await at.standIn.provider().diagnose([at.standIn.model, "no-such-model"]);
      expect(findings.filter(({ about, level }) => about === "key" && level === "ok")).toHaveLength(1);
      // Of a server that may serve what it does not list a warning is enough.
      expect(findings.filter(({ about, level }) => about === "model" && level !== "ok")).toHaveLength(1);
      let calls = 0;
      const origin = await serve((_, response) => {
        calls += 1;
        response
          .writeHead(401, { "content-type": "application/json" })
          .end(JSON.stringify(at.standIn.words.error("No.")));
      });
      const refused = await at.standIn.provider({ origin }).diagnose([at.standIn.model]);
      expect(refused).toContainEqual(expect.objectContaining({ about: "key", level: "problem" }));
      expect(calls).toBe(1);
    });
  });
}
