/** What a web hook sends to real servers, and what it makes of their replies. */
import { once } from "node:events";
import http from "node:http";
import { inspect } from "node:util";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openClient } from "../../src/connectors/webhook/client.js";
import { readOptions } from "../../src/connectors/webhook/options.js";
import { webhook } from "../../src/connectors/webhook/webhook.js";
import { ConnectorError, type Change, type Written } from "../../src/model/connector.js";
import { sendJson, startReceiver, type HookReceiver } from "../support/hook-receiver.js";

const secret = `whsec_${Buffer.alloc(32, 3).toString("base64")}`;
const nothing: Written = { written: [], stale: [], changed: [], busy: [], failed: [] };

function answer(key: string, label = "good"): Change {
  return { key, fence: "1", model: "model-1", cells: { label } };
}

describe("a web hook", () => {
  let receiver: HookReceiver;
  beforeEach(async () => {
    receiver = await startReceiver(secret);
  });
  afterEach(() => receiver.goDown());

  const write = (changes: readonly Change[], options: Partial<Parameters<typeof webhook>[0]> = {}) =>
    webhook({ url: receiver.url, secret, allowPrivate: true, ...options }).write(changes, {
      pipeline: "films",
      id: "delivery-1",
      signal: new AbortController().signal,
    });
  const failureOf = async (written: Promise<unknown>): Promise<ConnectorError> => {
    const error: unknown = await written.catch((failure: unknown) => failure);
    if (!(error instanceof ConnectorError)) throw new Error(`No ConnectorError: ${String(error)}`);
    return error;
  };

  it("sends one signed body with answers and deletions", async () => {
    await write([answer("a"), { key: "b", fence: "2", deleted: true }], { headers: { "X-Team": "films" } });
    const [request] = receiver.seen;
    expect(request?.headers).toMatchObject({
      "content-type": "application/json",
      "webhook-id": "delivery-1",
      "idempotency-key": "delivery-1",
      "x-team": "films",
    });
    expect(JSON.parse(request?.body ?? "")).toEqual({
      pipeline: "films",
      results: [
        { key: "a", fence: "1", model: "model-1", cells: { label: "good" } },
        { key: "b", fence: "2", deleted: true },
      ],
    });
  });

  it("is understood by a receiver that has only one of its secrets", async () => {
    const other = `whsec_${Buffer.alloc(24, 5).toString("base64")}`;
    expect(await write([answer("a")], { secret: [other, secret] })).toEqual({ ...nothing, written: ["a"] });
    expect(await failureOf(write([answer("a")], { secret: other }))).toMatchObject({ kind: "stop" });
  });

  it.each([200, 201, 202, 204])("takes HTTP %i as taken", async (status) => {
    receiver.answerWith((reply) => reply.writeHead(status).end());
    expect(await write([answer("a"), answer("b")])).toEqual({ ...nothing, written: ["a", "b"] });
  });

  it.each([409, 412])("takes HTTP %i as stale", async (status) => {
    receiver.answerWith((reply) => reply.writeHead(status).end());
    expect(await write([answer("a")])).toEqual({ ...nothing, stale: [{ key: "a", fence: null }] });
  });

  it.each([300, 304, 400, 401, 403, 404, 405, 410, 413, 422, 451])("stops after HTTP %i", async (status) => {
    receiver.answerWith((reply) => reply.writeHead(status).end());
    expect(await failureOf(write([answer("a")]))).toMatchObject({ kind: "stop", retryAfterMs: null });
  });

  it.each([408, 425, 429, 500, 502, 503, 504, 599])("tries again after HTTP %i", async (status) => {
    receiver.answerWith((reply) => reply.writeHead(status).end());
    expect(await failureOf(write([answer("a")]))).toMatchObject({ kind: "again", retryAfterMs: null });
  });

  it.each([
    ["7", 7_000],
    ["999999999", 3_600_000],
    ["Fri, 27 Nov 2026 12:00:30 GMT", 30_000],
    ["Sat, 27 Nov 2027 12:00:00 GMT", 3_600_000],
    ["Fri, 27 Nov 2020 12:00:00 GMT", 0],
    ["soon", null],
  ])("waits as Retry-After says, for an hour at most: %s", async (value, ms) => {
    receiver.answerWith((reply) => {
      reply.writeHead(429, { "retry-after": value, date: "Fri, 27 Nov 2026 12:00:00 GMT" }).end();
    });
    expect(await failureOf(write([answer("a")]))).toMatchObject({ kind: "again", retryAfterMs: ms });
  });

  it("follows no redirect", async () => {
    const other = await startReceiver(secret);
    receiver.answerWith((reply) => reply.writeHead(307, { location: other.url }).end());
    const error = await failureOf(write([answer("a")]));
    expect(error.kind).toBe("stop");
    expect(error.hints.join()).toContain("follows no redirect");
    expect(other.seen).toEqual([]);
    await other.goDown();
  });

  it("reads what became of each row from HTTP 207", async () => {
    receiver.answerWith((reply) =>
      sendJson(reply, 207, {
        results: [
          { key: "taken", status: 200 },
          { key: "stale", status: 409, fence: "77" },
          { key: "stale too", status: 412, fence: "not a number" },
          { key: "busy", status: 423 },
          { key: "refused", status: 422, reason: "no such label" },
          { key: "gone", status: 410 },
          { key: "down", status: 500 },
          { key: "a stranger", status: 200 },
          { key: "twice", status: 200 },
          { key: "twice", status: 400, reason: "second" },
        ],
      }),
    );
    const keys = ["taken", "stale", "stale too", "busy", "refused", "gone", "down", "left out", "twice"];
    expect(await write(keys.map((key) => answer(key)))).toEqual({
      written: ["taken"],
      stale: [
        { key: "stale", fence: "77" },
        { key: "stale too", fence: null },
      ],
      changed: [],
      busy: ["busy"],
      failed: [
        { key: "refused", reason: "no such label" },
        { key: "gone", reason: "the web hook answered status 410" },
        { key: "twice", reason: "second" },
      ],
    });
  });

  it.each(["", "ok", "null", "[1]", '{"results":{}}', '[{"key":"a"}]', `[${" ".repeat(1_100_000)}]`])(
    "stops after HTTP 207 without statuses that it can read (case %#)",
    async (body) => {
      receiver.answerWith((reply) => reply.writeHead(207).end(body));
      expect(await failureOf(write([answer("a")]))).toMatchObject({ kind: "stop" });
    },
  );

  it("sends at most 500 changes and 1 MB at once, in parts whose ids are always the same", async () => {
    const changes = [...Array.from({ length: 501 }, (_, n) => answer(`s${n}`)), answer("m", "é".repeat(490_000))];
    const first = await write(changes);
    await write(changes);
    expect(first).toEqual({ ...nothing, written: changes.map(({ key }) => key) });
    const ids = receiver.seen.map(({ headers }) => headers["webhook-id"]);
    expect(ids).toEqual(["delivery-1", "delivery-1-2", "delivery-1", "delivery-1-2"]);
    for (const { headers } of receiver.seen) expect(Number(headers["content-length"])).toBeLessThanOrEqual(1_000_000);
  });

  it("fails a row that is too large, and sends the others", async () => {
    const { written, failed } = await write([answer("a"), answer("large", "x".repeat(1_000_000)), answer("b")]);
    expect(written).toEqual(["a", "b"]);
    expect(failed).toMatchObject([
      { key: "large", reason: expect.stringMatching(/bytes; a web hook takes/) as string },
    ]);
  });

  it("reads no more of a reply than it needs", async () => {
    receiver.answerWith((reply) => {
      reply.writeHead(200);
      const more = () => {
        if (!reply.destroyed && reply.write("x".repeat(65_536))) setImmediate(more);
        else reply.once("drain", more);
      };
      more();
    });
    expect((await write([answer("a")])).written).toEqual(["a"]);
  });

  it("tries again when no one listens, when the connection breaks, and when the reply is cut", async () => {
    receiver.answerWith((reply) => reply.destroy());
    expect(await failureOf(write([answer("a")]))).toMatchObject({ kind: "again" });
    receiver.answerWith((reply) => {
      reply.writeHead(200, { "content-length": 100 }).write("cut");
      setImmediate(() => reply.destroy());
    });
    expect(await failureOf(write([answer("a")]))).toMatchObject({ kind: "again" });
    await receiver.goDown();
    const refused = await failureOf(write([answer("a")]));
    await receiver.comeBack();
    expect(refused).toMatchObject({ kind: "again" });
    expect(refused.message).toContain("ECONNREFUSED");
  });

  it("tries again when there is no reply in time, or no end of it", async () => {
    for (const begin of [() => undefined, (reply: http.ServerResponse) => reply.writeHead(200).write("…")]) {
      receiver.answerWith(begin);
      const send = await openClient(readOptions({ url: receiver.url, secret, allowPrivate: true }), 50);
      const sent = send({ id: "delivery-1", body: "{}", signal: new AbortController().signal });
      const error = await failureOf(sent);
      expect(error.message).toContain("gave no full reply within 50 ms");
      expect(error.kind).toBe("again");
    }
  });

  it("ends its call when it is stopped", async () => {
    const stop = new AbortController();
    receiver.answerWith(() => stop.abort());
    const hook = webhook({ url: receiver.url, secret, allowPrivate: true });
    const sent = hook.write([answer("a")], { pipeline: "films", id: "1", signal: stop.signal });
    expect((await failureOf(sent)).message).toContain("was stopped");
  });

  it("shows no secret, wherever the receiver repeats it", async () => {
    const server = http.createServer((request, reply) => {
      const { headers, url } = request;
      reply
        .writeHead(400)
        .end(`bad: ${[url, headers["authorization"], headers["x-key"]?.slice(7)].join(" ")} \u001b[31m`);
    });
    await once(server.listen(0, "127.0.0.1"), "listening");
    const { port } = server.address() as { port: number };
    const options = {
      url: `http://anna:hunter2222@127.0.0.1:${port}/services/T0KEN99?key=qwertz`,
      headers: { "x-key": "Bearer abc-def-ghi" },
    };
    const error = await failureOf(write([answer("a")], options));
    expect(error.message).toContain("HTTP 400: bad: /[secret]/[secret]?[secret] [secret] [secret]");
    const hook = webhook({ ...options, secret, allowPrivate: true });
    for (const shown of [inspect(error, { depth: 9 }), inspect(hook, { depth: 9 }), JSON.stringify(hook)])
      expect(shown).not.toMatch(/hunter2222|T0KEN99|qwertz|abc-def-ghi|whsec_|\u001b/);
    server.close();
  });
});
